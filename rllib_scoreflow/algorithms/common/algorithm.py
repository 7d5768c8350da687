"""What both algorithms share: exporting the policy with every checkpoint, and evaluating it in one way."""

import logging
from pathlib import Path
from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, EVALUATION_RESULTS, NUM_ENV_STEPS_SAMPLED, NUM_EPISODES

from rllib_scoreflow.algorithms.common.ray_adapter import OwnEvaluation, name_class_in_checkpoint, set_iteration
from rllib_scoreflow.algorithms.common.reported import episode_results
from rllib_scoreflow.evaluation import EvaluationResult, evaluate_policy
from rllib_scoreflow.files.manifest import is_unlisted, newest_whole, write_manifest
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.policy import FlowPolicy, PolicyMetadata
from rllib_scoreflow.policy.threads import one_thread, use_threads

POLICY_FOLDER = "policy"
NOTE = "note"
"""Key of a result's text on what went wrong in an iteration, and was overcome."""
BEFORE_TRAINING = "before_training"
"""Key of the first result's evaluation of the policy before its first update, a part of a result with its own keys."""
logger = logging.getLogger(__name__)


class PolicyAlgorithm(OwnEvaluation):
    """Base of FlowBC and ScoreFlow."""

    @override(Algorithm)
    def setup(self, config: Any) -> None:
        """Builds the Learners and, where there are any, the EnvRunners."""
        use_threads(getattr(config, "num_torch_threads", None))
        self._notes: list[str] = []
        super().setup(config)

    def policy_template(self) -> FlowPolicy:
        """A policy of the trained shape whose weights are about to be replaced."""
        raise NotImplementedError

    def policy_metadata(self) -> PolicyMetadata:
        """Origin of the policy as of now."""
        raise NotImplementedError

    def flow_policy(self) -> FlowPolicy:
        """The policy as it stands now (averaged weights after behaviour cloning), on the CPU."""
        state = self.learner_group.foreach_learner(lambda learner: learner.policy_state())
        weights = next(result.get() for result in state)
        template = self.policy_template()
        policy = FlowPolicy.blank(template.config, self.policy_metadata())
        policy.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
        return policy.eval()

    @override(Algorithm)
    def save_to_path(
        self, path: Any = None, *, state: dict[str, Any] | None = None, filesystem: Any = None, **options: Any
    ) -> str:
        """Writes RLlib's checkpoint, in its folder `policy` the artefact, and last the hashes of all files.

        Tune's checkpoints are made by it too. A relative path is one of the working folder; artefact and hashes are
        left out of a checkpoint on another file system, the artefact of one of a given `state`.
        """
        local = filesystem is None and (path is None or "://" not in str(path))
        if local and path is not None:
            path = str(expand_user(path).absolute())
        written: str = super().save_to_path(path, state=state, filesystem=filesystem, **options)
        if local:
            name_class_in_checkpoint(self, Path(written))
            if state is None:
                self.flow_policy().save(Path(written) / POLICY_FOLDER, overwrite=True)
            write_manifest(Path(written), self.iteration)
        return written

    @override(Algorithm)
    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Goes on from a checkpoint, or from the one before it if it is damaged.

        Raises:
            InputError: If no whole checkpoint is there.
        """
        if is_unlisted(Path(checkpoint_dir)):
            super().load_checkpoint(checkpoint_dir)
            return
        folder, iteration, reason = newest_whole(Path(checkpoint_dir))
        if reason is not None:
            self.note(f"{Path(checkpoint_dir).name} is damaged ({reason}); went on from {folder.name}")
        super().load_checkpoint(str(folder))
        # Tune tells the iteration of the checkpoint that it meant.
        set_iteration(self, iteration)

    @override(Algorithm)
    def evaluate(self, parallel_train_future: Any = None) -> dict[str, Any]:
        """Plays `evaluation_duration` episodes without exploration noise, as `rllib evaluate` does.

        The seeds are the same at every evaluation, so that two policies meet the same initial states.
        """
        self._call_back("on_evaluate_start")
        found = self.evaluate_flow_policy(self.flow_policy())
        result = found.to_dict() | {
            # RLlib's names.
            ENV_RUNNER_RESULTS: {
                **episode_results(found.returns, found.lengths),
                NUM_EPISODES: found.episodes,
                NUM_ENV_STEPS_SAMPLED: found.env_steps,
            }
        }
        self._call_back("on_evaluate_end", evaluation_metrics=result)
        return result

    def evaluate_flow_policy(self, policy: FlowPolicy) -> EvaluationResult:
        """Evaluates any policy with this algorithm's environment, number of episodes and seed."""
        config = self.config
        seed = int(config.seed or 0) + 10_000
        generator = torch.Generator().manual_seed(seed)
        with one_thread():
            return evaluate_policy(
                lambda observation: policy.act(observation, generator=generator),
                config.env,
                episodes=int(config.evaluation_duration),
                seed=seed,
                act_steps=policy.config.act_steps,
                horizon=policy.config.horizon,
                env_config=dict(config.env_config),
                backend=config.env_backend,
            )

    @override(Algorithm)
    def step(self) -> dict[str, Any]:
        """One iteration; evaluation results appear under plain names (`eval_return_mean`, ...) too."""
        evaluated = bool(self.config.evaluation_interval)
        before = _evaluation_results(self.evaluate()) if evaluated and self.is_about_to_begin() else None
        results: dict[str, Any] = super().step()
        if evaluated and self.is_over() and not results.get(EVALUATION_RESULTS):
            results[EVALUATION_RESULTS] = self.evaluate()
        if self._notes:
            results[NOTE] = "; ".join(self._notes)
            self._notes.clear()
        if before is not None:
            results[BEFORE_TRAINING] = before
        return results | _evaluation_results(results.get(EVALUATION_RESULTS) or {})

    def is_about_to_begin(self) -> bool:
        """Whether the policy is to be evaluated before this iteration trains it for the first time."""
        return False

    def is_over(self) -> bool:
        """Whether it is known that this iteration was the last one, after which an evaluation is due."""
        return False

    def _call_back(self, hook: str, **arguments: Any) -> None:
        make_callback(
            hook,
            callbacks_objects=self.callbacks,
            callbacks_functions=getattr(self.config, f"callbacks_{hook}"),
            kwargs={"algorithm": self, "metrics_logger": self.metrics, **arguments},
        )

    def note(self, text: str) -> None:
        """Says something in the log, and in the next result under `note`, which `rllib train` prints."""
        logger.warning("%s", text)
        self._notes.append(text)

    def log_plain(self, values: dict[str, float]) -> None:
        """Logs values at the top level of the result dictionary and of TensorBoard."""
        for name, value in values.items():
            self.metrics.log_value(name, float(value), window=1)


def _evaluation_results(evaluation: dict[str, Any]) -> dict[str, Any]:
    """An evaluation as it stands in a result: below RLlib's key and under plain names."""
    found = {EVALUATION_RESULTS: evaluation} if evaluation else {}
    for name in ("return_mean", "return_stderr", "episodes", "success_rate", "normalized_score"):
        value = evaluation.get(name)
        if value is not None:
            found[f"eval_{name}"] = value
    return found | {f"eval_episode/{name}": value for name, value in (evaluation.get("metrics") or {}).items()}
