"""What both algorithms share: exporting the policy with every checkpoint, and evaluating it in one way."""

from pathlib import Path
from typing import Any

import torch
from ray.rllib.utils.metrics import EVALUATION_RESULTS

from rllib_scoreflow.algorithms.ray_adapter import OwnEvaluation
from rllib_scoreflow.evaluation import EvaluationResult, evaluate_policy
from rllib_scoreflow.policy import FlowPolicy, PolicyMetadata
from rllib_scoreflow.policy.threads import one_thread

POLICY_FOLDER = "policy"


class PolicyAlgorithm(OwnEvaluation):
    """Base of FlowBC and ScoreFlow."""

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

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes RLlib's checkpoint and, in its folder `policy`, the artefact."""
        super().save_checkpoint(checkpoint_dir)
        self.flow_policy().save(Path(checkpoint_dir) / POLICY_FOLDER, overwrite=True)

    def evaluate(self, parallel_train_future: Any = None) -> dict[str, Any]:
        """Plays `evaluation_duration` episodes without exploration noise, as `rllib evaluate` does.

        The seeds are the same at every evaluation, so that two policies meet the same initial states.
        """
        result = self.evaluate_flow_policy(self.flow_policy())
        return result.to_dict()

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

    def step(self) -> dict[str, Any]:
        """One iteration; evaluation results appear under plain names (`eval_return_mean`, ...) too."""
        results: dict[str, Any] = super().step()
        evaluation = results.get(EVALUATION_RESULTS) or {}
        for name in ("return_mean", "return_stderr", "episodes", "success_rate", "normalized_score"):
            value = evaluation.get(name)
            if value is not None:
                results[f"eval_{name}"] = value
        results.update({f"eval_episode/{name}": value for name, value in (evaluation.get("metrics") or {}).items()})
        return results

    def log_plain(self, values: dict[str, float]) -> None:
        """Logs values at the top level of the result dictionary and of TensorBoard."""
        for name, value in values.items():
            self.metrics.log_value(name, float(value), window=1)
