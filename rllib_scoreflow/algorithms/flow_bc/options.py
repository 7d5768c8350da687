"""The options of FlowBC: default, type, bound and description of each."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from rllib_scoreflow.algorithms.common.options import AlgorithmOptions, Count, Fraction, Positive, Rate


class FlowBCOptions(AlgorithmOptions):
    """The defaults are the published ones for Hopper."""

    ALGORITHM: ClassVar[str] = "FlowBC"

    dataset: str | None = None
    """`hopper-small` (shipped), a D4RL or Robomimic id, `minari:ID`, `lerobot:ORG/NAME`, or the path of a file or of a
    LeRobotDataset's folder."""
    filter_key: str | None = None
    """Robomimic's subset of demonstrations, such as `train`, or a task of a LeRobotDataset; null: all."""
    observation_keys: list[str] | None = None
    """Arrays that make up the state, in this order; null: the dataset's default."""
    cameras: list[str] | None = None
    """Cameras whose images the policy sees; null: none."""
    constant_observations: Literal["error", "allow"] = "error"
    """`allow` accepts observation dimensions that never change."""
    validation_fraction: Fraction = 0.02
    """Share of the episodes held out for the validation loss."""
    horizon: Positive = 4
    """Steps of an action chunk."""
    act_steps: Positive = 4
    """Steps of a chunk that are executed before the next prediction."""
    denoising_steps: Positive | None = None
    """Steps `K` with which the cloned policy acts; null: those of fine-tuning, 4 (published for cloning: 20) and for
    `kind: meanflow` 1, so that what is judged is what is fine-tuned."""
    chain: dict[str, Any] = Field(default_factory=dict)
    """`start` (`normal` or `zero`) and `mean_clip` of `ChainConfig`, with which the cloned policy acts; training does
    not depend on them."""
    velocity: dict[str, Any] = Field(default_factory=dict)
    """The velocity field: `type` names one of `rllib_scoreflow.flow.fields.FIELDS` (default `mlp`), the other keys
    override its configuration (`VelocityConfig`). `kind: shortcut` makes it a shortcut model, which is consistent over
    steps of any length; `kind: meanflow` makes it the average velocity over a step (MeanFlow), for policies of one."""
    consistency_fraction: Fraction = 0.25
    """Share of each batch that teaches a shortcut model or a MeanFlow its steps, the rest the instantaneous velocity;
    published for both is 0.25."""
    vision: dict[str, Any] = Field(default_factory=dict)
    """Overrides of `VisionConfig`, for policies with cameras."""
    weight_decay: Rate = 1e-6
    """Of AdamW."""
    lr: Rate = 1e-3
    """Peak learning rate."""
    lr_min: Rate = 1e-4
    """Learning rate from which the warm-up starts, and to which it falls."""
    lr_cycle_iterations: Count | None = None
    """Epochs of a cycle: a warm-up, then a half cosine to `lr_min`; 0 stays at the peak. null: the whole training,
    where `planned_stop` tells its length, else 3000 as published, which leaves the rate nearly constant."""
    planned_stop: dict[str, float] | None = None
    """Results and their values that will end the training, such as `{gradient_steps: 20000}`; `rllib train` hands down
    the experiment's `stop`. The last epoch is cut off at that very step, and the policy is evaluated at the end, if it
    is evaluated at all."""
    lr_warmup_iterations: Count = 1
    """Epochs of the linear warm-up at the start of every cycle."""
    train_batch_size_per_learner: Positive = 128
    """Chunks of a minibatch."""
    ema_decay: Fraction = 0.995
    """Decay per gradient step of the moving average, which is what is exported. Published is 0.995 once every 10
    steps, the same as 0.9995 here, from epoch 20 on. On Hopper, kitchen and Lift, cloned for as long as in
    `tuned_examples`, that differed by less than its error; after shorter trainings it was behind, since its average is
    still that of a younger policy."""
    ema_warmup_steps: Count = 1000
    """Gradient steps in which the average just follows."""
    early_stopping_patience: Positive | None = None
    """Epochs without a better validation loss after which training ends; null: never."""
    streaming: bool = False
    """Read the chunks through Ray Data instead of from memory."""
    max_episode_steps: Positive | None = None
    """Time limit in environment steps; null: that of the dataset's environment, or the registered one. It goes with
    the policy, as `success` does."""
    success: Literal["last", "any"] | None = None
    """`last` counts an evaluated episode by the `success` of its last step, `any` by that of any step; null: as the
    dataset says, or `last`."""
    num_torch_threads: Positive | None = 1
    """Threads of a local Learner; null: all cores (small batches gain nothing from more than one)."""
