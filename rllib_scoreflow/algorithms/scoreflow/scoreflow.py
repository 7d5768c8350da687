"""ScoreFlow: configuration and Algorithm of PPO on the denoising chains of a flow policy."""

import time
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.connectors.learner import LearnerConnectorPipeline
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, LEARNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.tune.result import TIMESTEPS_TOTAL

from rllib_scoreflow.algorithms.common.algorithm import PolicyAlgorithm
from rllib_scoreflow.algorithms.common.config import OptionsConfig
from rllib_scoreflow.algorithms.common.options import overlay_env_config
from rllib_scoreflow.algorithms.common.reported import Reported
from rllib_scoreflow.algorithms.common.rl_module import module_spec
from rllib_scoreflow.algorithms.scoreflow.advantages import check_advantages
from rllib_scoreflow.algorithms.scoreflow.connectors import Advantages, ChainColumns
from rllib_scoreflow.algorithms.scoreflow.env_runner import SECONDS_IN_ENV, SECONDS_IN_POLICY, ChunkEnvRunner
from rllib_scoreflow.algorithms.scoreflow.initial_policy import build_denoising, load_initial_policy
from rllib_scoreflow.algorithms.scoreflow.learner_shards import deal_episodes
from rllib_scoreflow.algorithms.scoreflow.objective import build_objective, dump_objective
from rllib_scoreflow.algorithms.scoreflow.options import ScoreFlowOptions
from rllib_scoreflow.algorithms.scoreflow.results import scoreflow_results
from rllib_scoreflow.algorithms.scoreflow.rollout_statistics import (
    RolloutStatistics,
    observe_rewards,
    reward_clip_rate,
)
from rllib_scoreflow.algorithms.scoreflow.rollouts import hand_out_weights, sample_rollout
from rllib_scoreflow.algorithms.scoreflow.scoreflow_learner import ScoreFlowLearner
from rllib_scoreflow.envs import require_time_limit, try_env
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.advantages import ESTIMATORS, RunningRewardScaler, needs_critic
from rllib_scoreflow.flow.processes.base import DEFAULT_PROCESS, VELOCITY
from rllib_scoreflow.interface import check_fits
from rllib_scoreflow.plugins import import_plugins
from rllib_scoreflow.policy import FlowPolicy, PolicyMetadata, find_policy, read_metadata
from rllib_scoreflow.versions import installed_versions

_STATE = "scoreflow"
_LARGEST_CLAMP_RATE = 0.1  # with the published bounds of sigma it is 0


class ScoreFlowConfig(OptionsConfig):
    """Configuration of ScoreFlow; the defaults are the published ones for Hopper (arXiv 2604.10962).

    One RLlib step is one chunk of `act_steps` environment steps; `gamma` and `lambda_` are per chunk. An iteration
    samples `rollout_fragment_length` chunks in each of `num_envs_per_env_runner` environments of every EnvRunner.

    The options are those of `ScoreFlowOptions`, and RLlib's own; those of RLlib that would have no effect are refused
    with the reason (`rllib_scoreflow.algorithms.common.rllib_options` lists them all).
    """

    OPTIONS: ClassVar[type[ScoreFlowOptions]] = ScoreFlowOptions

    env_config: dict[str, Any]

    def __init__(self, algo_class: type | None = None) -> None:
        """Sets the defaults."""
        super().__init__(algo_class=algo_class or ScoreFlow)
        self.env_runner_cls = ChunkEnvRunner
        self.add_default_connectors_to_learner_pipeline = False
        self._resolved_module_spec: RLModuleSpec | None = None

    @override(AlgorithmConfig)
    def validate(self) -> None:
        """Checks every option, the pretrained policy, and the policy against the environment.

        Raises:
            InputError: On the first thing that is wrong.
        """
        if self.pretrained_policy is None:
            raise InputError(
                "ScoreFlow needs the option 'pretrained_policy': the policy folder of a FlowBC run "
                "(in an experiment file: 'weights_from: NAME' of an earlier experiment)."
            )
        self.validate_options()
        policy = self.initial_policy()
        if self.env is None:
            raise InputError("ScoreFlow needs an environment: set 'env'.")
        build_objective(self).check(policy.sde, self.trained_variant)
        if self.frozen_velocity and not _learns_beside_the_velocity(policy):
            raise InputError(
                f"Option 'frozen_velocity' leaves nothing to train in variant '{self.trained_variant}'; leave it out, "
                "or choose a variant that learns its drift or its noise."
            )
        recorded = policy.metadata.env_config if policy.metadata.env_id == self.env else {}
        self.env_config = overlay_env_config(recorded, self)
        dims = try_env(self.env, self.env_config)
        if self.evaluation_interval:
            require_time_limit(str(self.env), dims.max_episode_steps)
        check_fits(policy.interface(f"the policy '{self.pretrained_policy}'"), dims)
        self._resolved_module_spec = self._module_spec_of(policy)
        super().validate()

    def validate_options(self) -> None:
        """Checks every option by itself, RLlib's too, before there is a policy.

        Raises:
            InputError: On the first one that is wrong or would have no effect.
        """
        classes = {"learner_class": ScoreFlowLearner, "env_runner_cls": ChunkEnvRunner}
        self.check_single_options(ScoreFlowConfig(), classes)
        import_plugins(self.plugins)
        check_advantages(self)
        if not self.reward_scaling and self.reward_clip not in (None, 10.0):
            raise InputError(
                f"Option 'reward_clip' ({self.reward_clip:g}) bounds scaled rewards, and 'reward_scaling' is off; "
                "leave one of them out."
            )
        build_objective(self)
        build_denoising(self)

    def reported_results(self) -> Reported:
        """The results that a run with these options reports."""
        return scoreflow_results(self, build_denoising(self))

    @property
    @override(AlgorithmConfig)
    def train_batch_size_per_learner(self) -> int:
        """Chunks of a Learner's share of the rollout; setting it is refused by `validate()`."""
        rows = int(self.rollout_fragment_length) * self.num_envs_per_env_runner * max(1, self.num_env_runners)
        share: int = rows // max(1, self.num_learners)
        return share

    @train_batch_size_per_learner.setter
    def train_batch_size_per_learner(self, value: int | None) -> None:
        AlgorithmConfig.train_batch_size_per_learner.fset(self, value)

    def initial_policy(self) -> FlowPolicy:
        """The pretrained policy with this config's drift, noise and chain; see `load_initial_policy`."""
        return load_initial_policy(self)

    @property
    def trained_variant(self) -> str:
        """What a policy of this run is called: the variant, or the name of a process of the user's own."""
        name = self.process.get("type", DEFAULT_PROCESS)
        return self.variant if name == DEFAULT_PROCESS else str(name)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[ScoreFlowLearner]:
        """The Learner unless `training(learner_class=...)` names another."""
        return ScoreFlowLearner

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """The module with policy and critic, shaped as the pretrained policy.

        After `validate()` it is a part of the config, so that EnvRunners on other nodes need not reach the file.
        """
        return self._resolved_module_spec or self._module_spec_of(self.initial_policy())

    def _module_spec_of(self, policy: FlowPolicy) -> RLModuleSpec:
        return module_spec(
            policy,
            critic={
                "hidden_dim": self.critic_hidden_dim,
                "num_layers": self.critic_num_layers,
                "output_bias": self.critic_output_bias,
            }
            if needs_critic(ESTIMATORS.choose(self.advantages))
            else None,
            behavior_coeff=self.behavior_coeff,
            precision=self.precision,
            objective=dump_objective(self),
        )

    def _build_learner_connector(self, *_: Any) -> LearnerConnectorPipeline:
        """What checkpoints of an earlier version name; `build_learner_connector()` is what is called."""
        return self.build_learner_connector(None, None)

    @override(AlgorithmConfig)
    def build_learner_connector(
        self, input_observation_space: Any, input_action_space: Any, device: Any = None
    ) -> LearnerConnectorPipeline:
        """Columns of the episodes' chains, then the advantages of the chosen estimator."""
        estimator = ESTIMATORS.choose(self.advantages)(gamma=self.gamma, lambda_=self.lambda_)
        clip = self.reward_clip if self.reward_scaling else None
        return LearnerConnectorPipeline(
            input_observation_space=input_observation_space,
            input_action_space=input_action_space,
            connectors=[ChainColumns(), Advantages(estimator, reward_clip=clip)],
        )


class ScoreFlow(PolicyAlgorithm):
    """PPO on denoising chains; one iteration is one rollout and one update."""

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> ScoreFlowConfig:
        """The default configuration."""
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
        self._note_untrained_steps()
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

    # Checkpoints that Tune has written with an earlier version name these two.
    def _sample(self) -> tuple[list[Any], list[Any]]:
        return sample_rollout(self)

    def _sync_weights(self) -> None:
        hand_out_weights(self)

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

    def _note_untrained_steps(self) -> None:
        """Says which steps stay as cloned though nobody has asked for it."""
        sde = self._template.config.sde
        tuned, steps = sde.chain.tuned_steps, sde.chain.denoising_steps
        if tuned is not None and build_denoising(self.config).chain.tuned_steps is None:
            self.note(
                f"the last {tuned} of {steps} denoising steps are fine-tuned: at first a velocity of kind "
                f"'{sde.velocity.kind}' knows nothing of the action; to choose, set chain: {{tuned_steps: {tuned}}}"
            )

    def _note_clamping(self, rate: float) -> None:
        """Says once that a clamped log-probability has no gradient; it is so where sigma is below about 0.05."""
        if rate > _LARGEST_CLAMP_RATE and not self._clamping_is_noted:
            self._clamping_is_noted = True
            self.note(
                f"{rate:.0%} of the log-probabilities are clamped and teach the policy nothing; "
                "with noise as small as this set chain: {logp_clamp: null}"
            )


def _learns_beside_the_velocity(policy: FlowPolicy) -> bool:
    networks = policy.sde.networks()
    return any(True for name, network in networks.items() if name != VELOCITY for _ in network.parameters())
