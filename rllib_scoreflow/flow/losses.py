"""Losses of flow-matching pretraining and of the PPO fine-tuning of a chain policy."""

import torch

from rllib_scoreflow.flow.networks import VelocityNetwork


def flow_matching_error(
    velocity: VelocityNetwork,
    observation: torch.Tensor,
    chunk: torch.Tensor,
    noise: torch.Tensor,
    t: torch.Tensor,
) -> torch.Tensor:
    """Conditional flow matching on the linear path: `mean_D (v(x_t, t, o) - (a - z))^2` per sample, `[B]`.

    The loss is its mean over the batch (method section 2; Lipman et al., arXiv 2210.02747).

    Args:
        velocity: The velocity field.
        observation: Normalised observations `[B, O]`.
        chunk: Expert action chunks `a [B, D]` in `[-1, 1]`.
        noise: `z ~ N(0, I)`, `[B, D]`.
        t: Times in `[0, 1)`, `[B, 1]`.
    """
    x_t = (1.0 - t) * noise + t * chunk
    predicted: torch.Tensor = velocity(x_t, t, observation)
    return (predicted - (chunk - noise)).square().mean(dim=-1)


def clipped_surrogate_loss(ratio: torch.Tensor, advantages: torch.Tensor, clip_range: float) -> torch.Tensor:
    """PPO's clipped surrogate, to be minimised, per sample `[B]` (ratios and advantages `[B]`)."""
    clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    return -torch.minimum(ratio * advantages, clipped * advantages)
