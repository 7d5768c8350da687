"""Losses of flow-matching pretraining and of the PPO fine-tuning of a chain policy."""

from typing import Protocol

import torch


class Velocity(Protocol):
    """Velocity `[B, D]` at points `x [B, D]`, times `t [B, 1]` and observations `[B, O]`, for steps of `step_size`."""

    def __call__(
        self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, step_size: float | torch.Tensor = 0.0
    ) -> torch.Tensor:
        """See `rllib_scoreflow.flow.fields.VelocityField.forward`."""
        ...


def flow_matching_error(
    velocity: Velocity,
    observation: torch.Tensor,
    chunk: torch.Tensor,
    noise: torch.Tensor,
    t: torch.Tensor,
    *,
    delta: float = 0.0,
) -> torch.Tensor:
    """Conditional flow matching on the linear path: `mean_D (v(x_t, t, o) - (a - z))^2` per sample, `[B]`.

    The loss is its mean over the batch (method section 2; Lipman et al., arXiv 2210.02747).

    Args:
        velocity: The velocity field; where it takes a step length, the one at 0 is matched.
        observation: Normalised observations `[B, O]`.
        chunk: Expert action chunks `a [B, D]` in `[-1, 1]`.
        noise: `z ~ N(0, I)`, `[B, D]`.
        t: Times in `[0, 1)`, `[B, 1]`.
        delta: What is left of the noise at `t = 1`: the target is `a - (1 - delta) z`.
    """
    predicted = velocity(linear_path(noise, chunk, t, delta), t, observation)
    return (predicted - (chunk - (1.0 - delta) * noise)).square().mean(dim=-1)


def linear_path(noise: torch.Tensor, chunk: torch.Tensor, t: torch.Tensor, delta: float = 0.0) -> torch.Tensor:
    """`x_t = (1 - (1 - delta) t) z + t a`, `[B, D]`: from noise `z [B, D]` to chunks `a [B, D]`, `t [B, 1]`."""
    return (1.0 - (1.0 - delta) * t) * noise + t * chunk


def clipped_surrogate_loss(ratio: torch.Tensor, advantages: torch.Tensor, clip_range: float) -> torch.Tensor:
    """PPO's clipped surrogate, to be minimised, per sample `[B]` (ratios and advantages `[B]`, or that broadcast)."""
    clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def trust_region_loss(ratio: torch.Tensor, advantages: torch.Tensor, clip_range: float) -> torch.Tensor:
    """Simple policy optimisation's surrogate, to be minimised, shaped as `clipped_surrogate_loss` (arXiv 2401.16025).

    `-(r A - |A| (r - 1)^2 / (2 clip_range))`: its best ratio is `1 +- clip_range`, and from beyond it the gradient
    leads back, while that of a clipped surrogate is 0.
    """
    penalty = advantages.abs() * (ratio - 1.0).square() / (2.0 * clip_range)
    return penalty - ratio * advantages
