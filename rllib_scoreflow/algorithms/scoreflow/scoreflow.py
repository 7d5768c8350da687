"""ScoreFlow: the Algorithm that fine-tunes a flow policy by PPO on its denoising chains."""

import time
from typing import Any

import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    WEIGHTS_SEQ_NO,
)
from ray.tune.result import TIMESTEPS_TOTAL

from rllib_scoreflow.algorithms.common.algorithm import PolicyAlgorithm
from rllib_scoreflow.algorithms.common.ray_adapter import sample_in_parallel
from rllib_scoreflow.algorithms.scoreflow.env_runner import SECONDS_IN_ENV, SECONDS_IN_POLICY
from rllib_scoreflow.algorithms.scoreflow.learner_shards import deal_episodes
from rllib_scoreflow.algorithms.scoreflow.rollout_statistics import (
    RolloutStatistics,
    observe_rewards,
    reward_clip_rate,
)
from rllib_scoreflow.flow.advantages import RunningRewardScaler
from rllib_scoreflow.policy import FlowPolicy, PolicyMetadata, find_policy, read_metadata
from rllib_scoreflow.versions import installed_versions

_STATE = "scoreflow"
_SECONDS_BETWEEN_TRIES = 1.0
_SIMULATOR_TRIES = 3
_LARGEST_CLAMP_RATE = 0.1  # with the published bounds of sigma it is 0


class ScoreFlow(PolicyAlgorithm):
    """PPO on denoising chains; one iteration is one rollout and one update."""

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> Any:
        """The default configuration."""
        from rllib_scoreflow.algorithms.scoreflow.scoreflow_config import ScoreFlowConfig

        return ScoreFlowConfig()

    @override(Algorithm)
    def setup(self, config: Any) -> None:
        """Builds EnvRunners and Learners and hands them the pretrained weights."""
        super().setup(config)
        self.statistics = RolloutStatistics(self.config.metrics_num_episodes_for_smoothing)
        self.reward_scaler = RunningRewardScaler(self.config.gamma)
        self._clamping_is_noted = False
        self._gradient_steps = 0
        self._template: FlowPolicy = self.config.initial_policy()
        self._note_other_steps()
        weights = {name: value.numpy() for name, value in self._template.state_dict().items()}
        for result in self.learner_group.foreach_learner(lambda learner: learner.load_policy_state(weights)):
            result.get()
        self._sync_weights()

    def policy_template(self) -> FlowPolicy:
        """The pretrained policy with this run's drift and noise."""
        return self._template

    def policy_metadata(self) -> PolicyMetadata:
        """Origin: the pretrained policy's dataset, this run's environment and steps."""
        config = self.config
        metadata: PolicyMetadata = self._template.metadata.model_copy(
            update={
                "variant": config.trained_variant,
                "env_id": str(config.env),
                "env_config": dict(config.env_config),
                "env_steps": self.statistics.env_steps,
                "versions": installed_versions(),
            }
        )
        return metadata

    @override(Algorithm)
    def training_step(self) -> None:
        """Samples chains, scales rewards, updates the Learners, hands the new weights to the EnvRunners."""
        before = self.statistics.env_steps
        started = time.perf_counter()
        episodes, runner_results = self._sample()
        rollout_seconds = time.perf_counter() - started
        self.metrics.aggregate(runner_results, key=ENV_RUNNER_RESULTS)
        rollout = self.statistics.observe(episodes)
        new_steps = self.statistics.env_steps - before
        reward_scale, clip_rate = 1.0, 0.0
        if self.config.reward_scaling:
            reward_scale = observe_rewards(episodes, self.reward_scaler)
            clip_rate = reward_clip_rate(episodes, reward_scale, self.config.reward_clip)
        started = time.perf_counter()
        results = self.learner_group.update(
            training_data=deal_episodes(episodes, self.config.num_learners), reward_scale=reward_scale
        )
        rollout |= {
            "rollout_seconds": rollout_seconds,
            "update_seconds": time.perf_counter() - started,
            "env_steps_this_iteration": float(new_steps),
            "env_steps_per_second": new_steps / rollout_seconds,
            "reward_scale": reward_scale,
            "reward_clip_rate": clip_rate,
        }
        self.metrics.aggregate(results, key=LEARNER_RESULTS)
        self._sync_weights()
        self._log_iteration(rollout)

    def is_about_to_begin(self) -> bool:
        """Whether nothing has been sampled yet, so that an evaluation is the curve's point at step 0."""
        return bool(self.config.evaluate_before_training) and self.statistics.env_steps == 0

    @override(Algorithm)
    def restore_env_runners(self, env_runner_group: Any) -> list[int]:
        """Brings lost EnvRunners back, as RLlib does, and says so."""
        restored: list[int] = super().restore_env_runners(env_runner_group)
        if restored:
            self.note(f"EnvRunner {', '.join(map(str, restored))} is back")
        return restored

    def _sample(self) -> tuple[list[Any], list[Any]]:
        """One rollout of the EnvRunners that deliver one; waits for lost ones if it is none of them.

        Raises:
            InputError: If an environment breaks gymnasium's contract.
            SimulatorError: If the simulators of all EnvRunners have failed in several tries in a row.
            RuntimeError: If no EnvRunner has delivered a rollout for `sample_timeout_s` after the first try.
        """
        timeout, expected = float(self.config.sample_timeout_s), max(1, self.config.num_env_runners)
        deadline, tries = None, 0
        while True:
            episodes, results, failures = sample_in_parallel(self)
            for failure in failures:
                self.note(f"{failure}; this rollout of its EnvRunner is lost")
            tries = tries + 1 if len(failures) == expected else 0
            if tries == _SIMULATOR_TRIES:
                raise failures[-1]
            missing = expected - len(results) - len(failures)
            if missing > 0:
                self.note(
                    f"{missing} of {expected} EnvRunners gave no rollout (lost, failed, or slower than "
                    f"sample_timeout_s = {timeout:g})"
                )
            if episodes:
                return episodes, results
            deadline = deadline or time.monotonic() + timeout
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"No EnvRunner has delivered a rollout for {timeout:g} s; see the EnvRunners' errors above, or "
                    "raise sample_timeout_s if a rollout takes longer."
                )
            time.sleep(_SECONDS_BETWEEN_TRIES)
            self.restore_env_runners(self.env_runner_group)

    @override(Algorithm)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's state plus counters and reward scaling."""
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        state[_STATE] = {
            "statistics": self.statistics.get_state(),
            "reward_scaler": self.reward_scaler.get_state(),
            "gradient_steps": self._gradient_steps,
        }
        return state

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a state of `get_state`; environments start anew."""
        super().set_state(state)
        if _STATE in state:
            self.statistics.set_state(state[_STATE]["statistics"])
            self.reward_scaler.set_state(state[_STATE]["reward_scaler"])
            self.reward_scaler.ongoing = {}
            self._gradient_steps = int(state[_STATE].get("gradient_steps", 0))
        self._sync_weights()

    @override(Algorithm)
    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Restores a checkpoint folder; options, such as the noise bounds, stay those of this config."""
        super().restore_from_path(path, *args, **kwargs)
        for result in self.learner_group.foreach_learner(lambda learner: learner.anneal()):
            result.get()
        self._sync_weights()

    def _sync_weights(self) -> None:
        """Hands the Learners' weights to every EnvRunner and waits until they have them.

        RLlib's `sync_weights()` drops the message to an EnvRunner that still has one in flight, as at the start of a
        run, and the chains would come from another policy than the one that is updated.
        """
        state = self.learner_group.get_state(
            components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=True
        )[COMPONENT_LEARNER]
        weights = {key: state[key] for key in (COMPONENT_RL_MODULE, WEIGHTS_SEQ_NO) if key in state}
        group = self.env_runner_group
        if group.local_env_runner is not None:
            group.local_env_runner.set_state(weights)
        if group.num_remote_workers() > 0:
            group.foreach_env_runner(
                "set_state",
                kwargs={"state": ray.put(weights)},
                local_env_runner=False,
                timeout_seconds=self.config.sample_timeout_s,
            )

    def _log_iteration(self, rollout: dict[str, float]) -> None:
        learner = (LEARNER_RESULTS, DEFAULT_MODULE_ID)
        values = {
            name: value
            for name, value in self.metrics.peek(learner).items()
            if isinstance(value, (int, float)) and "ratio_error" not in name
        }
        self._note_clamping(values.get("logprob_clamp_rate", 0.0))
        # At the top, and in a `stop`, all so far, as in FlowBC; those of this update are the Learner's result.
        self._gradient_steps += int(values.get("gradient_steps", 0))
        values["gradient_steps"] = self._gradient_steps
        for name, value in self.statistics.recent_results().items():
            self.metrics.log_value((ENV_RUNNER_RESULTS, name), value, window=1)
        self.log_plain(
            {
                # The names of RLlib and of Tune for `env_steps`.
                NUM_ENV_STEPS_SAMPLED_LIFETIME: float(self.statistics.env_steps),
                TIMESTEPS_TOTAL: float(self.statistics.env_steps),
                **rollout,
                **values,
                "seconds_in_env": self.metrics.peek((ENV_RUNNER_RESULTS, SECONDS_IN_ENV)),
                "seconds_in_policy": self.metrics.peek((ENV_RUNNER_RESULTS, SECONDS_IN_POLICY)),
            }
        )

    def _note_other_steps(self) -> None:
        """Says where a clone was judged with other denoising steps than it is fine-tuned with by default."""
        folder = find_policy(self.config.pretrained_policy)
        if folder is None or "denoising_steps" in self.config.chain:
            return
        judged = read_metadata(folder).config.sde.chain.denoising_steps
        tuned = self._template.config.sde.chain.denoising_steps
        if judged != tuned:
            self.note(
                f"the pretrained policy acts with {judged} denoising steps and is fine-tuned with {tuned}; to choose, "
                f"set chain: {{denoising_steps: {judged}}}, or clone with denoising_steps: {tuned}"
            )

    def _note_clamping(self, rate: float) -> None:
        """Says once that a clamped log-probability has no gradient; it is so where sigma is below about 0.05."""
        if rate > _LARGEST_CLAMP_RATE and not self._clamping_is_noted:
            self._clamping_is_noted = True
            self.note(
                f"{rate:.0%} of the log-probabilities are clamped and teach the policy nothing; "
                "with noise as small as this set chain: {logp_clamp: null}"
            )
