"""Sections of a policy's configuration: image encoder, score drift, noise and denoising chain.

The classes are the single place of their defaults: YAML sections, Python keyword arguments and the saved policy
artefact are all read into them, and unknown keys or wrong types are refused. The defaults are the published values
for D4RL locomotion (arXiv 2604.10962 and 2505.22094).
"""

from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, model_validator

from rllib_scoreflow.flow.section import MAX_LAYERS, Section
from rllib_scoreflow.flow.start import Start

MAX_DENOISING_STEPS = 10_000  # see MAX_LAYERS
STORED = {"stored": True}
"""Validation context of a section that an artefact holds: it means what it meant when it was written."""
LARGEST_ALPHA = 2.0
"""Where alpha is clamped, in units of `scale` (arXiv 2604.10962); of a contraction, `contraction >= -1`."""


class VisionConfig(Section):
    """Architecture of the image encoder: a small vision transformer with a spatial embedding.

    A camera image becomes `embed_dim` channels on a grid of patches (a convolution of `patch_size` with
    `patch_stride`, then one of 3 with stride 2), `num_layers` transformer layers mix the patches, and the spatial
    embedding summarises them, beside the state vector, in `feature_dim` numbers per camera.
    """

    embed_dim: int = Field(default=128, ge=1)
    """Channels of the grid of patches."""
    num_layers: int = Field(default=1, ge=1, le=MAX_LAYERS)
    """Transformer layers."""
    num_heads: int = Field(default=4, ge=1)
    """Attention heads; they divide `embed_dim`."""
    patch_size: int = Field(default=8, ge=1)
    """Pixels of a patch's side."""
    patch_stride: int = Field(default=4, ge=1)
    """Pixels from one patch to the next."""
    feature_dim: int = Field(default=128, ge=1)
    """Numbers that a camera image is summarised in."""
    augment_pad: int = Field(default=4, ge=0)
    """Largest random shift in pixels during behaviour cloning; 0: none."""

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "VisionConfig":
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim ({self.embed_dim}) must be a multiple of num_heads ({self.num_heads})")
        return self


class ScoreConfig(Section):
    """The drift `alpha(t) * score` along the closed-form score.

    On the cosine path `b(t)` stands for `1 - t` in what follows (`rllib_scoreflow.flow.path`).

    `form="alpha"`, the published one: `alpha(t) = (1 - t) ** decay_power * f(t) * scale`, clamped at `2 * scale`;
    `decay=False` drops the power of `(1 - t)`. `f` starts at `value`. What such a drift does depends on the number
    of steps `K`, and a policy that has one is sampled with the `K` it was trained with.

    `form="contraction"` says what a step keeps of the noise, which means the same at every `K`. With the estimates
    `D = x + (1 - t) v` of the data and `N = x - t v` of the noise, a step of the flow ends at `(t + dt) D + c N`,
    `c = 1 - t - dt`. The drift makes it `(t + dt) D + w N` with `w = c * contraction(t)`: 1 leaves the flow, 0 forgets
    the noise. As an alpha it is `alpha = (1 - t) * c * (1 - contraction(t)) / dt`, 0 at the last step, where
    `c = 0`. The contraction starts at `value`, which must be given; a learned one is kept from -1 on. `scale`, `decay`
    and `decay_power` belong to the other form.

    `strength` says what `f` is: `"none"` is `alpha = 0`; `"constant"` has nothing to learn; `"linear"` and `"mlp"`
    learn `f`, or in its place `1 - contraction`. `steps="first"` gives the first step (`t = 0`) alone a drift. A
    contraction of 0 there cancels the random start, as `alpha(0) = K - 1` does for one `K`: the velocity is
    `E[x_1] - x_0`, the score `-x_0`.

    The score of a shortcut model or a MeanFlow is computed from its `"instantaneous"` velocity, for which the closed
    form holds, or from the `"averaged"` one, with which an update costs about half and the score is too weak.
    """

    form: Literal["alpha", "contraction"] = "alpha"
    """What is given and learned: `alpha(t)` itself, or what a step keeps of the noise."""
    strength: Literal["none", "constant", "linear", "mlp"] = "mlp"
    """`none`: no drift; `constant`: nothing to learn; `linear`, `mlp`: learned, over time."""
    value: float = Field(default=0.127, ge=0.0)
    """Where it starts: `f(t)` of alpha, or the contraction, which must be given."""
    scale: float = Field(default=1.0, gt=0.0)
    """Factor of alpha, which is clamped at twice this."""
    decay: bool = True
    """Whether alpha falls with `(1 - t) ** decay_power`."""
    decay_power: float = Field(default=1.0, ge=1.0)
    """Its power."""
    steps: Literal["all", "first"] = "all"
    """The denoising steps that have a drift: all, or the first alone."""
    clip: float | None = Field(default=10.0, gt=0.0)
    """Bound of every score component; null: unbounded."""
    shortcut_velocity: Literal["instantaneous", "averaged"] = "instantaneous"
    """What the score of a kind that takes the step length is computed from: its velocity at step length 0, or that over
    the step."""

    @model_validator(mode="before")
    @classmethod
    def _stored_score_is_the_one_it_was_trained_with(cls, values: Any, info: ValidationInfo) -> Any:
        if info.context == STORED and isinstance(values, dict):
            return {"shortcut_velocity": "averaged", **values}
        return values

    @model_validator(mode="after")
    def _drift_can_be_reached(self, info: ValidationInfo) -> "ScoreConfig":
        if self.form == "contraction":
            self._check_contraction()
        elif self.strength != "none" and self.value > LARGEST_ALPHA and info.context != STORED:
            alpha = self.value * self.scale
            raise ValueError(
                f"alpha(0) = value * scale = {alpha:g} cannot be reached, because alpha is clamped at 2 * scale = "
                f"{LARGEST_ALPHA * self.scale:g}; raise scale, as in value: 1.5, scale: {alpha / 1.5:g}"
            )
        return self

    def _check_contraction(self) -> None:
        foreign = sorted({"scale", "decay", "decay_power"} & _changed_fields(self))
        if foreign:
            raise ValueError(f"{foreign[0]} belongs to form 'alpha'; leave it out with form 'contraction'")
        if "value" not in self.model_fields_set:
            raise ValueError("form 'contraction' needs value: what a step keeps of the noise, 0 (nothing) to 1 (all)")
        if self.value > 1.0:
            raise ValueError(f"value ({self.value:g}) is what a step keeps of the noise; give a number from 0 to 1")

    @property
    def has_drift(self) -> bool:
        """Whether there is a drift at all, or one that may be learned."""
        neutral = 0.0 if self.form == "alpha" else 1.0
        return self.strength in ("linear", "mlp") or (self.strength == "constant" and self.value != neutral)

    @property
    def depends_on_steps(self) -> bool:
        """Whether the drift means something else at another number of denoising steps."""
        return self.form == "alpha" and self.has_drift

    def alpha_means_the_same(self, other: "ScoreConfig") -> bool:
        """Whether an alpha that was learned under this section can go on under `other`."""
        names = ("form", "strength", "scale", "decay", "decay_power", "steps")
        return all(getattr(self, name) == getattr(other, name) for name in names)


def _changed_fields(section: BaseModel) -> set[str]:
    """Names of the fields that differ from their defaults."""
    return {name for name, field in type(section).model_fields.items() if getattr(section, name) != field.default}


class NoiseConfig(Section):
    """Standard deviation of one denoising step.

    `kind="learn"`: a network of time and observation (with `use_time=False` of the observation alone), bounded by
    `[sigma_min, sigma_max]`; `"constant"`: `sigma_max` everywhere; `"coupled"`: `sqrt(2 alpha(t) dt)`, which preserves
    the marginals of an exact flow; `"none"`: the deterministic flow. The others are published together with a drift of
    their own, so that `score` has none, and without exploration they follow the plain flow: `"flow_sde"` and `"cps"`
    with `noise_level`, `"ddim"` with `eta` (1: DDPM) and at least `sigma_min` (`rllib_scoreflow.flow.kernel`).

    `schedule="learn_decay"` holds `sigma_max` for
    `hold_fraction` of the training and then anneals it by a half cosine to
    `(1 - decay_to) * sigma_min + decay_to * sigma_max`; `"learn"` keeps the bounds.
    """

    kind: Literal["none", "constant", "learn", "coupled", "flow_sde", "cps", "ddim"] = "learn"
    """`learn`: a network of time and observation; `constant`: `sigma_max`; `coupled`: `sqrt(2 alpha(t) dt)`; `none`:
    the deterministic flow; `flow_sde`, `cps` and `ddim`: published together with a drift of their own."""
    schedule: Literal["learn", "learn_decay"] = "learn_decay"
    """Whether the upper bound of a learned sigma is annealed over `schedule_iterations`."""
    sigma_min: float = Field(default=0.10, gt=0.0)
    """Lower bound of a learned sigma."""
    sigma_max: float = Field(default=0.24, gt=0.0)
    """Its upper bound, or the constant."""
    hidden_dims: tuple[int, ...] = Field(default=(64, 64), max_length=MAX_LAYERS)
    """Widths of the noise network."""
    use_time: bool = True
    """Whether it sees the time, or the observation alone."""
    noise_level: float = Field(default=0.5, gt=0.0)
    """Of `flow_sde` and `cps`. The default is RLinf's for both, on robot policies of 4 to 10 steps (arXiv 2510.25889);
    on images Flow-GRPO has 0.7, and 0.8 with `cps`."""
    eta: float = Field(default=1.0, ge=0.0, le=1.0)
    """Of `ddim`: 1 is DDPM, 0 has no noise but `sigma_min`."""
    hold_fraction: float = Field(default=0.35, ge=0.0, le=1.0)
    """Share of the training before the annealing."""
    decay_to: float = Field(default=0.7, ge=0.0, le=1.0)
    """Where the upper bound ends, from 0, `sigma_min`, to 1, `sigma_max`."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "NoiseConfig":
        if self.sigma_min > self.sigma_max:
            raise ValueError(f"sigma_min ({self.sigma_min}) must not exceed sigma_max ({self.sigma_max})")
        owners = {"noise_level": ("flow_sde", "cps"), "eta": ("ddim",)}
        for name in sorted(owners.keys() & _changed_fields(self)):
            if self.kind not in owners[name]:
                raise ValueError(
                    f"{name} belongs to kind {' and '.join(owners[name])}; leave it out with '{self.kind}'"
                )
        if self.kind == "cps" and self.noise_level > 1.0:
            raise ValueError(f"noise_level ({self.noise_level:g}) of kind 'cps' is at most 1, where all noise is new")
        return self


class ChainConfig(Section):
    """The denoising chain and the scale on which its log-probability is used.

    `mean_clip` belongs to the linear path, and `data_clip` to the cosine path, whose early means are as wide as the
    noise. Steps that are not drawn follow their means. With `tuned_steps` the first steps are those of the process as
    it was before fine-tuning, which is kept beside it. `normalize_logp` is the scale that the published clip range and
    entropy coefficient presuppose, `n` being the number of random steps; `logp_clamp` bounds the result to `[-c, c]`.

    `start` is where a chain starts: `"normal"` draws it from `N(0, I)`, `"zero"` is 0, and `"learned"` is one vector
    that the policy holds (a "golden ticket", from `rllib evaluate --search-start`). A start that is not drawn has no
    density, so that log-probability and entropy are those of the transitions alone. What they are divided by stays
    `(n + 1) * H * A`: the ratio, in which the start cancels anyway, and with it the clip range, mean the same.
    """

    denoising_steps: int = Field(default=4, ge=1, le=MAX_DENOISING_STEPS)
    """Steps `K` from noise to a chunk."""
    mean_clip: float | None = Field(default=1.0, gt=0.0)
    """Bound of every transition mean on the linear path; null: unbounded."""
    data_clip: float | None = Field(default=1.0, gt=0.0)
    """Bound of every estimate of the data on the cosine path; null: unbounded."""
    draw_clip: float | None = Field(default=3.0, gt=0.0)
    """Bound of a draw, in standard deviations around the mean; null: unbounded."""
    random_steps: Literal["all", "one", "last"] = "all"
    """Which steps are drawn and scored: with `last` there is noise on the action alone; with `one` a step is drawn per
    decision, so that an update passes one row of the networks per decision in place of `K`."""
    tuned_steps: int | None = Field(default=None, ge=1)
    """How many steps, the last ones, are fine-tuned; null: all. Of an `epsilon` it is all but the first where this is
    not given (`rllib_scoreflow.flow.kinds.Epsilon`)."""
    normalize_logp: bool = True
    """Whether log-probability and entropy are divided by `(n + 1) * H * A`, as the published clip range presupposes."""
    logp_clamp: float | None = Field(default=1.0, gt=0.0)
    """Bound of the log-probability on that scale; null: unbounded."""
    start: Start = "normal"
    """Where a chain starts: a normal draw, 0, or the one vector that the policy holds."""

    @model_validator(mode="after")
    def _tunes_no_more_than_there_is(self) -> "ChainConfig":
        if self.tuned_steps is not None and self.tuned_steps > self.denoising_steps:
            raise ValueError(
                f"tuned_steps ({self.tuned_steps}) must not exceed denoising_steps ({self.denoising_steps})"
            )
        return self
