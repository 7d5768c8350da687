"""Losses of flow-matching pretraining and of the PPO fine-tuning of a chain policy."""

import torch

from rllib_scoreflow.flow.fields import VelocityField
from rllib_scoreflow.flow.path import path_of

SHORTCUT_DELTA = 1e-5
"""What is left of the noise at `t = 1` on a shortcut model's path."""
SHORTCUT_LEVELS = 7
"""Step lengths `1, 1/2, ..., 1/64` at which a shortcut model is made consistent."""


def flow_matching_error(
    velocity: VelocityField,
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
        velocity: The velocity field.
        observation: Normalised observations `[B, O]`.
        chunk: Expert action chunks `a [B, D]` in `[-1, 1]`.
        noise: `z ~ N(0, I)`, `[B, D]`.
        t: Times in `[0, 1)`, `[B, 1]`.
        delta: What is left of the noise at `t = 1`: the target is `a - (1 - delta) z`. A shortcut model, which is
            matched at step length 0, takes `SHORTCUT_DELTA` (arXiv 2410.12557).
    """
    predicted: torch.Tensor = velocity(linear_path(noise, chunk, t, delta), t, observation)
    return (predicted - (chunk - (1.0 - delta) * noise)).square().mean(dim=-1)


def noise_prediction_error(
    network: VelocityField,
    observation: torch.Tensor,
    chunk: torch.Tensor,
    noise: torch.Tensor,
    t: torch.Tensor,
) -> torch.Tensor:
    """Error of a network that predicts the noise on the cosine path: `mean_D (eps(x_t, t, o) - z)^2`, `[B]`.

    The loss is its mean over the batch (DDPM, arXiv 2006.11239; DPPO, arXiv 2409.00588). Times are continuous here and
    discrete levels there; the levels are among them, and the network can be sampled with any number of steps.

    Args:
        network: Of kind `epsilon`.
        observation: Normalised observations `[B, O]`.
        chunk: Expert action chunks `[B, D]` in `[-1, 1]`.
        noise: `z ~ N(0, I)`, `[B, D]`.
        t: Times in `[0, 1)`, `[B, 1]`.
    """
    path = path_of(network.config)
    predicted: torch.Tensor = network(path.a(t) * chunk + path.b(t) * noise, t, observation)
    return (predicted - path.target(chunk, noise)).square().mean(dim=-1)


def linear_path(noise: torch.Tensor, chunk: torch.Tensor, t: torch.Tensor, delta: float = 0.0) -> torch.Tensor:
    """`x_t = (1 - (1 - delta) t) z + t a`, `[B, D]`: from noise `z [B, D]` to chunks `a [B, D]`, `t [B, 1]`."""
    return (1.0 - (1.0 - delta) * t) * noise + t * chunk


def self_consistency_error(
    velocity: VelocityField,
    observation: torch.Tensor,
    chunk: torch.Tensor,
    noise: torch.Tensor,
    t: torch.Tensor,
    *,
    level: torch.Tensor,
) -> torch.Tensor:
    """One step of a shortcut model against two steps of half its length, without gradient: per sample, `[B]`.

    The step length is `d = 2^-level`; the time is moved to the grid `0, d, ..., 1 - d` (arXiv 2410.12557).

    Args:
        velocity: The shortcut model.
        observation: Normalised observations `[B, O]`.
        chunk: Expert action chunks `a [B, D]` in `[-1, 1]`.
        noise: `z ~ N(0, I)`, `[B, D]`.
        t: Times in `[0, 1)`, `[B, 1]`.
        level: Integers from 0 to `SHORTCUT_LEVELS - 1` as float32, `[B, 1]`.
    """
    size = torch.exp2(-level)
    half = 0.5 * size
    t = torch.floor(t / size) * size
    x_t = linear_path(noise, chunk, t, SHORTCUT_DELTA)
    # The finest halves are taken as instantaneous: that is what flow matching teaches, at step length 0.
    half_input = torch.where(level < SHORTCUT_LEVELS - 1, half, torch.zeros_like(half))
    with torch.no_grad():
        first = velocity(x_t, t, observation, half_input)
        second = velocity(x_t + half * first, t + half, observation, half_input)
    error: torch.Tensor = velocity(x_t, t, observation, size) - 0.5 * (first + second)
    return error.square().mean(dim=-1)


def clipped_surrogate_loss(ratio: torch.Tensor, advantages: torch.Tensor, clip_range: float) -> torch.Tensor:
    """PPO's clipped surrogate, to be minimised, per sample `[B]` (ratios and advantages `[B]`)."""
    clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    return -torch.minimum(ratio * advantages, clipped * advantages)
