"""The shortcut model: one step is made equal to two of half its length."""

from typing import ClassVar

import torch

from rllib_scoreflow.flow.kinds.base import KINDS, STEP, Draws, VelocityKind
from rllib_scoreflow.flow.losses import Velocity, linear_path

DELTA = 1e-5
LEVELS = 7
"""Step lengths `1, 1/2, ..., 1/64` at which the model is made consistent."""


@KINDS.register("shortcut")
class Shortcut(VelocityKind):
    """The velocity `s(x, t, d, o)` to follow for a step of length `d`, by self-consistency (arXiv 2410.12557)."""

    takes_step_size: ClassVar[bool] = True
    delta: ClassVar[float] = DELTA

    def draw(self, draws: Draws, rows: int, chunk_dim: int, fraction: float) -> dict[str, torch.Tensor]:
        """As the base class, with steps `d = 2^-level`, levels from 0 to `LEVELS - 1` alike."""
        points = self.draw_points(draws, rows, chunk_dim)
        levels = draws.integers(LEVELS, round(fraction * rows), 1).float()
        return {**points, STEP: torch.exp2(-levels)}

    def step_error(
        self,
        velocity: Velocity,
        observation: torch.Tensor,
        chunk: torch.Tensor,
        noise: torch.Tensor,
        t: torch.Tensor,
        *,
        step: torch.Tensor,
    ) -> torch.Tensor:
        """One step against two of half its length, without gradient; `t` is moved to the grid `0, d, ..., 1 - d`."""
        half = 0.5 * step
        t = torch.floor(t / step) * step
        x_t = linear_path(noise, chunk, t, self.delta)
        # The finest halves are taken as instantaneous: that is what flow matching teaches, at step length 0.
        half_input = torch.where(step > 0.5 ** (LEVELS - 1), half, torch.zeros_like(half))
        with torch.no_grad():
            first = velocity(x_t, t, observation, half_input)
            second = velocity(x_t + half * first, t + half, observation, half_input)
        error: torch.Tensor = velocity(x_t, t, observation, step) - 0.5 * (first + second)
        return error.square().mean(dim=-1)
