"""The score-modulated SDE: one Gaussian transition for sampling and for the log-probability."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import nn

from rllib_scoreflow.flow.alpha import Alpha
from rllib_scoreflow.flow.noise import NoiseNetwork, annealed_sigma_max
from rllib_scoreflow.flow.processes.base import PROCESSES, DenoisingProcess, ProcessConfig, SDEConfig
from rllib_scoreflow.flow.score import closed_form_score
from rllib_scoreflow.flow.transition import ChainEvaluation, Transition

_SMALLEST_STD = 1e-6  # a learned drift that has vanished still leaves a density


class GaussianConfig(ProcessConfig):
    """The process of this package; its options are the sections `score` and `noise`."""

    type: Literal["gaussian"] = "gaussian"
    """Process, by its name in `rllib_scoreflow.flow.processes.PROCESSES`."""


@PROCESSES.register("gaussian")
class GaussianDenoising(DenoisingProcess):
    """`dx = [v + alpha(t) score] dt + g(t, o) dW` over action chunks (arXiv 2604.10962, section 4).

    Attributes:
        alpha: `alpha(t)`.
        noise: Learned sigma, or `None` where the variant has constant, coupled or no noise.
    """

    CONFIG = GaussianConfig
    SECTIONS = ("score", "noise")
    LEARNING_RATES: ClassVar[Mapping[str, str]] = {"alpha": "alpha_lr", "sigma": "sigma_lr"}

    def __init__(self, observation_dim: int, chunk_dim: int, config: SDEConfig, horizon: int = 1) -> None:
        """Creates the three networks for observations `[B, O]` and flattened chunks `[B, D]` of `horizon` steps."""
        super().__init__(observation_dim, chunk_dim, config, horizon)
        self.alpha = Alpha(config.score)
        self.noise: NoiseNetwork | None = None
        if config.noise.kind == "learn":
            self.noise = NoiseNetwork(config.velocity.time_dim, observation_dim, chunk_dim, config.noise)

    @classmethod
    def check(cls, config: SDEConfig) -> None:
        """Refuses coupled noise where there is no drift to couple it to.

        Raises:
            ValueError: With the reason.
        """
        if config.noise.kind == "coupled" and not config.score.has_drift:
            raise ValueError("noise.kind 'coupled' needs a drift: sqrt(2 alpha dt) is 0 without one")
        if config.noise.kind == "coupled" and (config.score.form == "contraction" or config.score.steps == "first"):
            raise ValueError(
                "noise.kind 'coupled' needs a drift at every step: sqrt(2 alpha dt) is 0 where there is none; "
                "leave out score.form and score.steps"
            )

    @property
    def is_stochastic(self) -> bool:
        """Whether a transition has noise, that is, whether the chain has a density."""
        return self.config.noise.kind != "none"

    @property
    def depends_on_steps(self) -> bool:
        """Whether the drift is an absolute alpha, which means something else at another number of steps."""
        return self.config.score.depends_on_steps

    def networks(self) -> dict[str, nn.Module]:
        """`velocity`, `alpha` and, where it is learned, `sigma`."""
        found: dict[str, nn.Module] = {"velocity": self.velocity, "alpha": self.alpha}
        return found if self.noise is None else {**found, "sigma": self.noise}

    def anneal(self, progress: float) -> None:
        """Sets the upper bound of the learned sigma."""
        if self.noise is not None:
            self.noise.sigma_max.fill_(annealed_sigma_max(self.config.noise, progress))

    def takes_over(self, tensor: str, previous: SDEConfig) -> bool:
        """As the base class, but for the noise's bound, and for a drift that means something else here."""
        own = self.config
        same_drift = previous.score.alpha_means_the_same(own.score) and (
            not own.score.depends_on_steps or previous.chain.denoising_steps == own.chain.denoising_steps
        )
        if tensor == "noise.sigma_max" or (tensor.startswith("alpha.") and not same_drift):
            return False
        return super().takes_over(tensor, previous)

    def diagnostics(self, evaluation: ChainEvaluation) -> dict[str, torch.Tensor]:
        """Where the SDE stands: alpha, its ratio to what preserves the marginals, and what bounds have cut.

        `alpha_ratio/step_k` is `alpha / alpha*` (method section 5): 1 preserves the flow's marginals, below it they
        widen, above it they contract.
        """
        std = evaluation.std.detach()
        alpha = evaluation.details["alpha"].detach()[0, :, 0]
        ratio = alpha / marginal_preserving_alpha(std, 1.0 / std.shape[1]).mean(dim=(0, 2))
        found = {name: evaluation.details[name] for name in ("score_clip_rate", "alpha_clamp_rate")}
        for k in range(std.shape[1]):
            found[f"alpha/step_{k}"] = alpha[k]
            found[f"alpha_ratio/step_{k}"] = ratio[k]
        return found

    def transition(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float) -> Transition:
        """The transition from `x` at `t` by one step of length `dt`.

        Args:
            x: `[B, D]`.
            t: Grid times in `[0, 1)`, `[B, 1]`.
            observation: Normalised observations, `[B, O]`.
            dt: Step length `1 / K`.
        """
        drift, instantaneous = self._velocities(x, t, observation, dt)
        alpha, clamp_rate = self.alpha.with_clamp_rate(t, dt)
        clip_rate = torch.zeros_like(clamp_rate)
        if self.config.score.strength != "none":
            score, clip_rate = closed_form_score(instantaneous, x, t, self.config.score.clip)
            drift = drift + alpha * score
        mean = x + drift * dt
        clip = self.config.chain.mean_clip
        if clip is not None:
            mean = mean.clamp(-clip, clip)
        details = {"alpha": alpha, "score_clip_rate": clip_rate, "alpha_clamp_rate": clamp_rate}
        return Transition(mean, self._std(x, t, observation, alpha, dt), details)

    def _velocities(
        self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The velocity to follow for `dt`, and the one that the score is computed from (`[B, D]` each)."""
        score = self.config.score
        # At t = 0 the score is -x_0, whatever the velocity is.
        first_step_only = score.strength == "none" or score.steps == "first" or dt >= 1.0
        velocity: torch.Tensor = self.velocity(x, t, observation, dt)
        if self.config.velocity.kind == "flow" or score.shortcut_velocity == "averaged" or first_step_only:
            return velocity, velocity
        # Not both in one pass of twice the batch: an exported graph would be tied to the batch it was traced with.
        return velocity, self.velocity(x, t, observation, 0.0)

    def _std(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        observation: torch.Tensor,
        alpha: torch.Tensor,
        dt: float,
    ) -> torch.Tensor:
        kind = self.config.noise.kind
        if kind == "none":
            return torch.zeros_like(x)
        if kind == "constant":
            return torch.full_like(x, self.config.noise.sigma_max)
        if kind == "coupled":
            return torch.sqrt(2.0 * alpha * dt).clamp_min(_SMALLEST_STD).expand_as(x)
        assert self.noise is not None
        std: torch.Tensor = self.noise(self.velocity.time_features(t, dt), observation)
        return std


def marginal_preserving_alpha(std: torch.Tensor, dt: float) -> torch.Tensor:
    """`alpha* = sigma^2 / (2 dt)`: the drift at which the flow's marginals are preserved; same shape as `std`.

    `alpha < alpha*` widens the density, `alpha > alpha*` contracts it towards the modes (Fokker-Planck of the SDE).
    """
    return std.square() / (2.0 * dt)
