"""A prediction of the noise on DDPM's cosine path, in place of a velocity."""

from typing import Any, ClassVar, Self

import torch

from rllib_scoreflow.flow.kinds.base import KINDS, VelocityKind
from rllib_scoreflow.flow.losses import Velocity
from rllib_scoreflow.flow.path import CosinePath


@KINDS.register("epsilon")
class Epsilon(VelocityKind):
    """The noise `eps(x, t, o)` on the cosine path (DDPM, arXiv 2006.11239; DPPO, arXiv 2409.00588).

    Where a chain starts next to nothing of the data is left (`a = 0.0025` with 20 levels), so that the estimate of the
    data, `(x - b eps) / a`, is the network's error times 400. The least change of the weights throws it from one of its
    bounds to the other, and the mean of a short chain's first step with it: PPO's ratio is that step's noise
    (docs/method.md, section 4). DPPO trains the last 10 of 20 steps; here all but the first are trained by default.
    """

    untuned_steps: ClassVar[int] = 1

    def __init__(self, levels: int = 20) -> None:
        """Takes the levels of the published schedule (`FieldConfig.noise_levels`)."""
        self.path = CosinePath(levels)

    @classmethod
    def of(cls, field: Any) -> Self:
        """The kind of a field with this configuration, a `FieldConfig`."""
        return cls(field.noise_levels)

    def matching_error(
        self,
        velocity: Velocity,
        observation: torch.Tensor,
        chunk: torch.Tensor,
        noise: torch.Tensor,
        t: torch.Tensor,
    ) -> torch.Tensor:
        """`mean_D (eps(x_t, t, o) - z)^2`, `[B]`, at `x_t = a(t) chunk + b(t) z`.

        Times are continuous here and discrete levels there; the levels are among them, and the network can be sampled
        with any number of steps.
        """
        predicted = velocity(self.path.a(t) * chunk + self.path.b(t) * noise, t, observation)
        return (predicted - self.path.target(chunk, noise)).square().mean(dim=-1)
