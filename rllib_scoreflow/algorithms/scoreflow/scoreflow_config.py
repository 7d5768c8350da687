"""Configuration of ScoreFlow; the one place of its defaults."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationError
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.connectors.learner import LearnerConnectorPipeline
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_scoreflow.algorithms.common.env_option import check_env_option
from rllib_scoreflow.algorithms.common.options import build_section, check_options, overlay_env_config
from rllib_scoreflow.algorithms.common.reported import Reported
from rllib_scoreflow.algorithms.common.rl_module import module_spec
from rllib_scoreflow.algorithms.common.rllib_option_check import check_rllib_options
from rllib_scoreflow.algorithms.scoreflow.connectors import Advantages, ChainColumns
from rllib_scoreflow.algorithms.scoreflow.env_runner import ChunkEnvRunner
from rllib_scoreflow.algorithms.scoreflow.results import scoreflow_results
from rllib_scoreflow.algorithms.scoreflow.scoreflow_learner import ScoreFlowLearner
from rllib_scoreflow.envs import require_time_limit, try_env
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.advantages import ESTIMATORS
from rllib_scoreflow.flow.config import VARIANTS, ChainConfig, NoiseConfig, ScoreConfig, SDEConfig
from rllib_scoreflow.flow.processes import process_class
from rllib_scoreflow.flow.processes.base import DEFAULT_PROCESS
from rllib_scoreflow.interface import check_fits
from rllib_scoreflow.plugins import import_plugins
from rllib_scoreflow.policy import FlowPolicy, find_policy

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0.0)]
Discount = Annotated[float, Field(ge=0.0, le=1.0)]


class ScoreFlowConfig(AlgorithmConfig):
    """Configuration of ScoreFlow; the defaults are the published ones for Hopper (arXiv 2604.10962).

    One RLlib step is one chunk of `act_steps` environment steps; `gamma` and `lambda_` are per chunk. An iteration
    samples `rollout_fragment_length` chunks in each of `num_envs_per_env_runner` environments of every EnvRunner.

    Attributes:
        pretrained_policy: Folder of the policy to fine-tune, or of a checkpoint that holds one.
        variant: Name in `rllib_scoreflow.flow.config.VARIANTS`; a preset for `score` and `noise`.
        score: Overrides of `ScoreConfig`.
        noise: Overrides of `NoiseConfig`.
        process: Denoising process, by its `type` in `rllib_scoreflow.flow.processes.PROCESSES`, with its own options;
            `variant`, `score` and `noise` are options of the one of this package (`gaussian`).
        chain: Overrides of `ChainConfig` (`denoising_steps`, `start`, clamps, scale of the log-probability).
        frozen_velocity: Train drift and noise only.
        lr: Peak learning rate of the velocity (with `lr_min`, `lr_cycle_iterations`, `lr_warmup_iterations`).
        alpha_lr: Peak learning rate of the drift strength, annealed in the proportion of `lr_min` to `lr`; None: the
            velocity's.
        sigma_lr: Peak learning rate of the noise network, annealed likewise; None: the velocity's.
        critic_lr: Peak learning rate of the critic (with `critic_lr_min`).
        actor_weight_decay: Of AdamW on velocity, drift and noise.
        critic_weight_decay: Of AdamW on the critic.
        critic_hidden_dim: Width of the critic (with `critic_num_layers`).
        critic_output_bias: What an untrained critic expects of every state, about; None: drawn, near 0.
        critic_warmup_iterations: First iterations in which only the critic learns.
        lambda_: Trace decay of the advantages, per chunk.
        advantages: Advantage estimator, by its name in `rllib_scoreflow.flow.advantages.ESTIMATORS`.
        plugins: Modules of your own that register estimators, velocity fields, denoising processes or environments;
            every process imports them.
        clip_param: PPO's clip range, on the scale of `chain.normalize_logp`.
        vf_loss_coeff: Weight of `0.5 * MSE` of the values.
        entropy_coeff: Weight of the entropy on the configured scale.
        behavior_coeff: Weight of the distance to the pretrained flow (0: off).
        target_kl: An approximate KL above it ends the whole update; None: never.
        num_epochs: Passes over the rollout.
        minibatch_size: Chunks per gradient step; None: the whole rollout.
        microbatch_size: Chunks per forward pass; gradients are accumulated over a minibatch.
        reward_scaling: Divide rewards by the running std of the discounted return.
        reward_clip: Bound of the scaled rewards (published: 10), without effect on unscaled ones; None: unbounded.
        schedule_iterations: Iterations over which `learn_decay` anneals the noise bound.
        evaluate_before_training: Where `evaluation_interval` is set, evaluate before the first update too; the first
            result holds it under `before_training`, and `rllib train` logs it as iteration 0.
        env_backend: Vector environment: `auto`, `envpool` or `gymnasium`.
        max_episode_steps: Time limit in environment steps; None: the pretrained policy's, or the registered one.
        success: `last` counts an episode by the `success` of its last step, `any` by that of any step; None: as the
            pretrained policy was evaluated, or `last`.
        num_torch_threads: Threads of a local Learner; None: all cores.

    `grad_clip` bounds the norm of every network's gradient (`grad_clip_by: network`); `global_norm`, `norm` (of every
    tensor) and `value` are as RLlib's. Options of RLlib that would have no effect are refused with the reason
    (`rllib_scoreflow.algorithms.common.rllib_options` lists them all). RLlib's `sample_timeout_s` (600 here) is how
    long an iteration waits for an EnvRunner's rollout before it goes on with the others'.
    """

    OPTIONS: ClassVar[dict[str, Any]] = {
        "pretrained_policy": str | None,
        "variant": Literal[tuple(VARIANTS)],
        "score": dict[str, Any],
        "noise": dict[str, Any],
        "process": dict[str, Any],
        "chain": dict[str, Any],
        "frozen_velocity": bool,
        "lr": Rate,
        "lr_min": Rate,
        "lr_cycle_iterations": Count,
        "lr_warmup_iterations": Count,
        "alpha_lr": Rate | None,
        "sigma_lr": Rate | None,
        "critic_lr": Rate,
        "critic_lr_min": Rate,
        "actor_weight_decay": Rate,
        "critic_weight_decay": Rate,
        "critic_hidden_dim": Positive,
        "critic_num_layers": Positive,
        "critic_output_bias": float | None,
        "critic_warmup_iterations": Count,
        "gamma": Discount,
        "lambda_": Discount,
        "advantages": str,
        "plugins": list[str],
        "clip_param": Annotated[float, Field(gt=0.0)],
        "vf_loss_coeff": Rate,
        "entropy_coeff": float,
        "behavior_coeff": Rate,
        "target_kl": Rate | None,
        "grad_clip": Annotated[float, Field(gt=0.0)] | None,
        "num_epochs": Positive,
        "minibatch_size": Positive | None,
        "microbatch_size": Positive,
        "reward_scaling": bool,
        "reward_clip": Annotated[float, Field(gt=0.0)] | None,
        "schedule_iterations": Positive,
        "evaluate_before_training": bool,
        "env_backend": Literal["auto", "envpool", "gymnasium"],
        "max_episode_steps": Positive | None,
        "success": Literal["last", "any"] | None,
        "num_torch_threads": Positive | None,
        "num_envs_per_env_runner": Positive,
        "rollout_fragment_length": Positive,
    }

    env_config: dict[str, Any]

    def __init__(self, algo_class: type | None = None) -> None:
        """Sets the defaults."""
        from rllib_scoreflow.algorithms.scoreflow.scoreflow import ScoreFlow

        super().__init__(algo_class=algo_class or ScoreFlow)
        self.framework_str = "torch"
        self.env_runner_cls = ChunkEnvRunner
        self.add_default_connectors_to_learner_pipeline = False
        self.pretrained_policy: str | None = None
        self.variant = "scoreflow"
        self.score: dict[str, Any] = {}
        self.noise: dict[str, Any] = {}
        self.process: dict[str, Any] = {}
        self.chain: dict[str, Any] = {}
        self.frozen_velocity = False
        self.lr = 4.5e-5
        self.lr_min = 2e-5
        self.lr_cycle_iterations = 100
        self.lr_warmup_iterations = 10
        self.alpha_lr: float | None = None
        self.sigma_lr: float | None = None
        self.critic_lr = 6.5e-4
        self.critic_lr_min = 3e-4
        self.actor_weight_decay = 0.0
        self.critic_weight_decay = 1e-5
        self.critic_hidden_dim = 256
        self.critic_num_layers = 3
        self.critic_output_bias: float | None = None
        self.critic_warmup_iterations = 0
        self.gamma = 0.99
        self.lambda_ = 0.95
        self.advantages = "gae"
        self.plugins: list[str] = []
        self.clip_param = 0.01
        self.vf_loss_coeff = 0.5
        self.entropy_coeff = 0.03
        self.behavior_coeff = 0.0
        self.target_kl: float | None = 1.0
        self.grad_clip: float | None = None
        self.grad_clip_by = "network"
        self.num_epochs = 20
        self.minibatch_size: int | None = None
        self.microbatch_size = 1024
        self.reward_scaling = True
        self.reward_clip: float | None = 10.0
        self.schedule_iterations = 1001
        self.evaluate_before_training = True
        self.env_backend = "auto"
        self.max_episode_steps: int | None = None
        self.success: str | None = None
        self.num_torch_threads: int | None = None
        self.num_env_runners = 0
        self.num_envs_per_env_runner = 40
        self.rollout_fragment_length = 500
        self.evaluation_duration = 20
        # RLlib's minute is less than some simulators take for a rollout.
        self.sample_timeout_s = 600.0
        self._resolved_module_spec: RLModuleSpec | None = None

    @override(AlgorithmConfig)
    def training(self, **kwargs: Any) -> "ScoreFlowConfig":
        """Sets training options: those of `OPTIONS`, and RLlib's own."""
        own = {key: kwargs.pop(key) for key in list(kwargs) if key in self.OPTIONS}
        super().training(**kwargs)
        for key, value in own.items():
            if value is not NotProvided:
                setattr(self, key, value)
        return self

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
        if not policy.sde.is_stochastic:
            raise InputError(
                f"Variant '{self.trained_variant}' has no noise, hence nothing to optimise; choose 'noise.kind'."
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
        check_options(self, self.OPTIONS)
        check_rllib_options(
            self,
            ScoreFlowConfig(),
            classes={"learner_class": ScoreFlowLearner, "env_runner_cls": ChunkEnvRunner},
            # A checkpoint of an earlier version holds what validate() had set.
            derived=vars(self) if "class" in vars(self) else {},
        )
        check_env_option(self.env)
        import_plugins(self.plugins)
        ESTIMATORS.choose(self.advantages)
        if not self.reward_scaling and self.reward_clip not in (None, 10.0):
            raise InputError(
                f"Option 'reward_clip' ({self.reward_clip:g}) bounds scaled rewards, and 'reward_scaling' is off; "
                "leave one of them out."
            )
        self._denoising()

    def reported_results(self) -> Reported:
        """The results that a run with these options reports."""
        return scoreflow_results(self, self._denoising())

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
        """The pretrained policy with this config's drift, noise and chain.

        Raises:
            InputError: If there is no policy at `pretrained_policy`, a section has a bad entry, or the policy lacks the
                learned start that `chain` asks for.
        """
        sde = self._denoising()
        assert self.pretrained_policy is not None
        folder = find_policy(self.pretrained_policy)
        if folder is None:
            raise InputError(
                f"'{Path(self.pretrained_policy)}' (option 'pretrained_policy') is neither a policy folder "
                "nor a checkpoint that holds one; run FlowBC first."
            )
        with torch.random.fork_rng(devices=[]):
            # New drift and noise networks depend on the seed, and on nothing that was drawn before.
            torch.manual_seed(int(self.seed or 0))
            pretrained = FlowPolicy.load(folder)
            if sde.chain.start == "learned" and pretrained.config.sde.chain.start != "learned":
                raise InputError(
                    f"Option 'chain.start' is 'learned', and '{folder}' has no learned start; search one with rllib "
                    "evaluate RUN --search-start N, and fine-tune the policy that it stores."
                )
            return pretrained.with_dynamics(sde.score, sde.noise, sde.chain, self.trained_variant, sde.process)

    @property
    def trained_variant(self) -> str:
        """What a policy of this run is called: the variant, or the name of a process of the user's own."""
        name = self.process.get("type", DEFAULT_PROCESS)
        return self.variant if name == DEFAULT_PROCESS else str(name)

    def _denoising(self) -> SDEConfig:
        """The sections of this run; the velocity is the pretrained policy's, and here any."""
        process = process_class(self.process)
        for name in ("score", "noise"):
            if getattr(self, name) and name not in process.SECTIONS:
                raise InputError(
                    f"Option '{name}' has no effect on the denoising process {self.process['type']!r}; leave it out."
                )
        preset = VARIANTS[self.variant]
        score = build_section("score", ScoreConfig, {**preset["score"], **self.score})
        noise = build_section("noise", NoiseConfig, {**preset["noise"], **self.noise})
        chain = build_section("chain", ChainConfig, self.chain)
        chosen = build_section("process", process.CONFIG, self.process)
        try:
            return SDEConfig(process=chosen, score=score, noise=noise, chain=chain)
        except ValidationError as error:
            reason = error.errors()[0]["ctx"]["error"]
            raise InputError(
                f"Options 'score' and 'noise' do not fit each other in variant '{self.variant}': {reason}."
            ) from error

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
            },
            behavior_coeff=self.behavior_coeff,
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
