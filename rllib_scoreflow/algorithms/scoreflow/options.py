"""The options of ScoreFlow: default, type, bound and description of each."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rllib_scoreflow.algorithms.common.options import AlgorithmOptions, Count, Limit, Positive, Rate
from rllib_scoreflow.flow.config import VARIANTS
from rllib_scoreflow.flow.objectives import DEFAULT_OBJECTIVE

Discount = Annotated[float, Field(ge=0.0, le=1.0)]


class ScoreFlowOptions(AlgorithmOptions):
    """The defaults are the published ones for Hopper (arXiv 2604.10962)."""

    ALGORITHM: ClassVar[str] = "ScoreFlow"

    pretrained_policy: str | None = None
    """Folder of the policy to fine-tune, or of a checkpoint that holds one, or hf:ORG/NAME[@REVISION]."""
    variant: Literal[tuple(VARIANTS)] = "scoreflow"  # type: ignore[valid-type]  # the one list of their names
    """The method, a baseline or an ablation: a preset for `score`, `noise` and `chain`
    (`rllib_scoreflow.flow.config.VARIANTS`)."""
    score: dict[str, Any] = Field(default_factory=dict)
    """Overrides of `ScoreConfig`."""
    noise: dict[str, Any] = Field(default_factory=dict)
    """Overrides of `NoiseConfig`."""
    process: dict[str, Any] = Field(default_factory=dict)
    """Denoising process, by its `type` in `rllib_scoreflow.flow.processes.PROCESSES`, with its own options; `variant`,
    `score` and `noise` are options of the one of this package (`gaussian`)."""
    chain: dict[str, Any] = Field(default_factory=dict)
    """Overrides of `ChainConfig` (`denoising_steps`, `start`, clamps, scale of the log-probability); a MeanFlow has 1
    denoising step where this does not say, and of an `epsilon` the first step stays as cloned (`tuned_steps`)."""
    objective: str = DEFAULT_OBJECTIVE
    """What an update maximises, by its name in `rllib_scoreflow.flow.objectives.OBJECTIVES`: `chain` (PPO on denoising
    chains) or `fpo` (flow policy optimisation, which trains the velocity alone and needs no noise)."""
    fpo: dict[str, Any] = Field(default_factory=dict)
    """Options of `objective: fpo` (`FlowPolicyOptimizationConfig`)."""
    frozen_velocity: bool = False
    """Train drift and noise only."""
    lr: Rate = 4.5e-5
    """Peak learning rate of the velocity."""
    lr_min: Rate = 2e-5
    """Learning rate from which a warm-up starts, and to which that of the velocity falls."""
    lr_cycle_iterations: Count = 100
    """Iterations of a cycle: a warm-up, then a half cosine from the peak to the minimum. The next one follows; 0 stays
    at the peak."""
    lr_warmup_iterations: Count = 10
    """Iterations of the linear warm-up at the start of every cycle."""
    alpha_lr: Rate | None = None
    """Peak learning rate of alpha, annealed in the proportion of `lr_min` to `lr`; null: the
    velocity's."""
    sigma_lr: Rate | None = None
    """Peak learning rate of the noise network, annealed likewise; null: the velocity's."""
    critic_lr: Rate = 6.5e-4
    """Peak learning rate of the critic."""
    critic_lr_min: Rate = 3e-4
    """As `lr_min`, of the critic."""
    actor_weight_decay: Rate = 0.0
    """Of AdamW on velocity, drift and noise."""
    critic_weight_decay: Rate = 1e-5
    """Of AdamW on the critic."""
    critic_hidden_dim: Positive = 256
    """Width of the critic."""
    critic_num_layers: Positive = 3
    """Hidden layers of the critic."""
    critic_output_bias: float | None = None
    """What an untrained critic expects of every state, about; null: drawn, near 0."""
    critic_warmup_iterations: Count = 0
    """First iterations in which only the critic learns."""
    gamma: Discount = 0.99
    """Discount per chunk."""
    lambda_: Discount = 0.95
    """Trace decay of the advantages, per chunk (in a file `lambda`, too)."""
    advantages: str = "gae"
    """Advantage estimator, by its name in `rllib_scoreflow.flow.advantages.ESTIMATORS`: `gae`, or `group`, the return
    of an episode among those from the same reset seed (GRPO), without discount and without a critic."""
    group_size: Annotated[int, Field(ge=2)] | None = None
    """Neighbouring environments that share every reset seed, for `advantages: group`, which needs it; it divides
    `num_envs_per_env_runner`. Every rollout begins with a reset then, so that it should be as long as an episode."""
    clip_param: Limit = 0.01
    """PPO's clip range, on the scale of `chain.normalize_logp`; of `fpo`, on that of its errors."""
    vf_loss_coeff: Rate = 0.5
    """Weight of `0.5 * MSE` of the values."""
    entropy_coeff: float = 0.03
    """Weight of the entropy on the configured scale; without effect on `fpo`, which has none."""
    behavior_coeff: Rate = 0.0
    """Weight of the distance to the pretrained flow (0: off)."""
    target_kl: Annotated[float, Field(ge=0.0, allow_inf_nan=True)] | None = 1.0
    """An approximate KL above it ends the whole update; null: never."""
    num_epochs: Positive = 20
    """Passes over the rollout."""
    minibatch_size: Positive | None = None
    """Chunks per gradient step; null: the whole rollout."""
    microbatch_size: Positive = 1024
    """Chunks per forward pass; gradients are accumulated over a minibatch."""
    reward_scaling: bool = True
    """Divide rewards by the running standard deviation of the discounted return."""
    reward_clip: Limit | None = 10.0
    """Bound of the scaled rewards (published: 10), without effect on unscaled ones; null: unbounded."""
    schedule_iterations: Positive = 1001
    """Iterations over which `learn_decay` anneals the noise bound."""
    evaluate_before_training: bool = True
    """Where `evaluation_interval` is set, evaluate before the first update too; the first result holds it under
    `before_training`, and `rllib train` logs it as iteration 0."""
    max_episode_steps: Positive | None = None
    """Time limit in environment steps; null: the pretrained policy's, or the registered one."""
    success: Literal["last", "any"] | None = None
    """`last` counts an episode by the `success` of its last step, `any` by that of any step; null: as the pretrained
    policy was evaluated, or `last`."""
    num_torch_threads: Positive | None = None
    """Threads of a local Learner; null: all cores."""
    num_env_runners: Count = 0
    """EnvRunner processes; 0: one within the main process."""
    num_envs_per_env_runner: Positive = 40
    """Environments of an EnvRunner."""
    rollout_fragment_length: Positive = 500
    """Chunks that an iteration samples in every environment."""
    sample_timeout_s: Rate | None = 600.0
    """How long an iteration waits for an EnvRunner's rollout before it goes on with the others'; null: for ever.
    RLlib's minute is less than some simulators take."""
    metrics_num_episodes_for_smoothing: Positive = 100
    """Latest episodes over which `return_mean` and the like are taken."""
