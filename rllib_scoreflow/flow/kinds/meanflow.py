"""MeanFlow: the average velocity over a step, taught by the identity that it obeys."""

from typing import ClassVar

import torch

from rllib_scoreflow.flow.kinds.base import KINDS, STEP, TIME, Draws, VelocityKind
from rllib_scoreflow.flow.losses import Velocity, linear_path
from rllib_scoreflow.flow.precision import full_precision


@KINDS.register("meanflow")
class MeanFlow(VelocityKind):
    """The average velocity `u(x, t, d, o)` over a step of length `d`, for policies of one step (arXiv 2505.13447).

    With `d u = x(t + d) - x(t)` along the flow, the derivative by `t` for a fixed end gives the MeanFlow identity
    `u = v + d (v . grad_x u + du/dt - du/dd)` (equation 6 with data at `t = 1`).

    The paper, on images, draws the ends of a step from a logit-normal distribution (mean -0.4, deviation 1) and divides
    every error by its own size. One step starts at pure noise, where that distribution has next to no mass, and in the
    few dimensions of a chunk such a weight teaches a mode in place of the mean, which the score needs. So both ends are
    uniform here and all errors weigh alike, two of the paper's own ablations (table 1).
    """

    takes_step_size: ClassVar[bool] = True
    denoising_steps: ClassVar[int | None] = 1

    def draw(self, draws: Draws, rows: int, chunk_dim: int, fraction: float) -> dict[str, torch.Tensor]:
        """As the base class, with steps between two uniform times; the share of steps published is 0.25."""
        drawn = self.draw_points(draws, rows, chunk_dim)
        count = round(fraction * rows)
        one, other = drawn[TIME][:count], draws.uniform(count, 1)
        start, end = torch.minimum(one, other), torch.maximum(one, other)
        return {**drawn, TIME: torch.cat([start, drawn[TIME][count:]]), STEP: end - start}

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
        """The average velocity against the right side of the identity, without gradient, for `v = a - z`."""
        x_t, straight = linear_path(noise, chunk, t), chunk - noise
        # Forward mode: one pass, and no second derivatives; in float32, as published, whatever the other passes are.
        with torch.no_grad(), full_precision(t.device):
            change: torch.Tensor = torch.func.jvp(
                lambda x, start, length: velocity(x, start, observation, length),
                (x_t, t, step),
                (straight, torch.ones_like(t), -torch.ones_like(step)),
            )[1]
        error = velocity(x_t, t, observation, step) - (straight + step * change)
        return error.square().mean(dim=-1)
