"""The score-modulated SDE: one Gaussian transition for sampling and for the log-probability."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.alpha import DriftStrength
from rllib_scoreflow.flow.config import SDEConfig
from rllib_scoreflow.flow.fields import make_field
from rllib_scoreflow.flow.noise import NoiseNetwork
from rllib_scoreflow.flow.score import closed_form_score

LOG_2PI = math.log(2.0 * math.pi)
_SMALLEST_STD = 1e-6  # a learned drift that has vanished still leaves a density


@dataclass(frozen=True)
class Transition:
    """One Euler-Maruyama step `x_{k+1} ~ N(mean, diag(std^2))`.

    Attributes:
        mean: `[B, D]`.
        std: `[B, D]`, per step (not multiplied by `sqrt(dt)`); zeros where the variant has no noise.
        alpha: Drift strength, `[B, 1]`.
        score_clip_rate: Share of score components that the clip bound cut, scalar; 0 without a drift.
        alpha_clamp_rate: Share of the drift strengths that their clamp cut, scalar.
    """

    mean: torch.Tensor
    std: torch.Tensor
    alpha: torch.Tensor
    score_clip_rate: torch.Tensor
    alpha_clamp_rate: torch.Tensor


class ScoreSDE(nn.Module):
    """`dx = [v + alpha(t) score] dt + g(t, o) dW` over action chunks (arXiv 2604.10962, section 4).

    Attributes:
        velocity: `v(x, t, o)`, pretrained by flow matching (a shortcut model takes the step `dt` as well).
        strength: `alpha(t)`.
        noise: Learned sigma, or `None` where the variant has constant, coupled or no noise.
    """

    def __init__(self, observation_dim: int, chunk_dim: int, config: SDEConfig, horizon: int = 1) -> None:
        """Creates the three networks for observations `[B, O]` and flattened chunks `[B, D]` of `horizon` steps."""
        super().__init__()
        self.config = config
        self.chunk_dim = chunk_dim
        self.velocity = make_field(observation_dim, (horizon, chunk_dim // horizon), config.velocity)
        self.strength = DriftStrength(config.score)
        self.noise: NoiseNetwork | None = None
        if config.noise.kind == "learn":
            self.noise = NoiseNetwork(config.velocity.time_dim, observation_dim, chunk_dim, config.noise)

    @property
    def is_stochastic(self) -> bool:
        """Whether a transition has noise, that is, whether the chain has a density."""
        return self.config.noise.kind != "none"

    def transition(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float) -> Transition:
        """The transition from `x` at `t` by one step of length `dt`.

        Args:
            x: `[B, D]`.
            t: Grid times in `[0, 1)`, `[B, 1]`.
            observation: Normalised observations, `[B, O]`.
            dt: Step length `1 / K`.
        """
        drift, instantaneous = self._velocities(x, t, observation, dt)
        alpha, clamp_rate = self.strength.with_clamp_rate(t, dt)
        clip_rate = torch.zeros_like(clamp_rate)
        if self.config.score.strength != "none":
            score, clip_rate = closed_form_score(instantaneous, x, t, self.config.score.clip)
            drift = drift + alpha * score
        mean = x + drift * dt
        clip = self.config.chain.mean_clip
        if clip is not None:
            mean = mean.clamp(-clip, clip)
        return Transition(mean, self._std(x, t, observation, alpha, dt), alpha, clip_rate, clamp_rate)

    def flow_step(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float) -> torch.Tensor:
        """One Euler step of the plain flow `dx = v dt`: no score, no noise; `[B, D]`."""
        x = x + self.velocity(x, t, observation, dt) * dt
        clip = self.config.chain.mean_clip
        return x if clip is None else x.clamp(-clip, clip)

    def check_steps(self, denoising_steps: int, policy: str = "this policy") -> None:
        """Refuses to follow a drift with another number of steps than it was made for.

        Args:
            denoising_steps: Number of steps `K`.
            policy: What the message calls the policy.

        Raises:
            InputError: If the drift is an absolute strength and `denoising_steps` is not the chain's own number.
        """
        own = self.config.chain.denoising_steps
        if denoising_steps != own and self.config.score.depends_on_steps:
            raise InputError(
                f"The drift of {policy} was trained with {own} denoising steps and means something else with "
                f"{denoising_steps}: keep {own}, follow the plain flow (--variant flow, in Python mode='flow'), or "
                "fine-tune with 'score: {form: contraction, value: ...}', which is the same at every number."
            )

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
