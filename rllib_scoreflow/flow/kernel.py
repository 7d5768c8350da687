"""One step of every method of the family: `x_s = a(s) D^ + w N^ + sigma z` (`z ~ N(0, I)`).

A method is a path (`rllib_scoreflow.flow.path`), a choice of `w` and `sigma`, and of the steps that are random. With
`c = b(s)`, `w = c` and `sigma = 0` is the flow (Euler's step on the linear path, DDIM on the cosine one). The marginals
of the path are kept if and only if `w^2 + sigma^2 = c^2`, as far as the posterior of the data is a point. A drift
`alpha(t) * score` is `w = c - alpha dt / b(t)`, for the score is `-N^ / b(t)`.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from rllib_scoreflow.flow.path import Path
from rllib_scoreflow.flow.sections import NoiseConfig

_ROUNDING = 0.01  # of a step: more than float32 rounds at any number of steps


@dataclass(frozen=True)
class Step:
    """A step from `t` to `s = t + dt`, and the path's coefficients at both ends.

    Attributes:
        t: Grid times, `[B, 1]`.
        dt: Length `1 / K`.
        a: `a(t)`, `[B, 1]`.
        b: `b(t)`, `[B, 1]`.
        a_next: `a(s)`, `[B, 1]`.
        c: `b(s)`, `[B, 1]`; exactly 0 at the last step.
    """

    t: torch.Tensor
    dt: float
    a: torch.Tensor
    b: torch.Tensor
    a_next: torch.Tensor
    c: torch.Tensor

    @classmethod
    def on(cls, path: Path, t: torch.Tensor, dt: float) -> "Step":
        """The step on a path; rounding leaves no noise at the end of the last one."""
        s = 1.0 - torch.nn.functional.threshold(1.0 - t - dt, _ROUNDING * dt, 0.0)
        return cls(t, dt, path.a(t), path.b(t), path.a(s), path.b(s))

    def mean(self, data: torch.Tensor, noise: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """`a(s) D^ + w N^`, `[B, D]`."""
        return self.a_next * data + w * noise


class Coupling(Protocol):
    """A published choice of `w` and `sigma` together, each `[B, 1]`."""

    def w(self, step: Step) -> torch.Tensor:
        """Coefficient of the noise estimate."""
        ...

    def sigma(self, step: Step) -> torch.Tensor:
        """Standard deviation of the fresh noise."""
        ...


@dataclass(frozen=True)
class FlowSDE:
    """Flow-GRPO's SDE, flow_sde of piRL (arXiv 2505.05470): `sigma = s sqrt(dt)`, `w = c - s^2 dt / (2 b)`.

    `s = level sqrt(b / a)`, where `a` is that of the second grid point at the first step, which begins at `a = 0`.
    """

    level: float

    def w(self, step: Step) -> torch.Tensor:
        """`c - s^2 dt / (2 b)`."""
        return step.c - self._diffusion(step) * step.dt / (2.0 * step.b)

    def sigma(self, step: Step) -> torch.Tensor:
        """`s sqrt(dt)`."""
        return (self._diffusion(step) * step.dt).sqrt()

    def _diffusion(self, step: Step) -> torch.Tensor:
        """`s^2`."""
        a = torch.where(step.t == 0.0, step.a_next, step.a)
        return self.level**2 * step.b / a


@dataclass(frozen=True)
class CPS:
    """Coefficients-preserving sampling (arXiv 2509.05952): `w = c cos(pi level / 2)`, `sigma = c sin(pi level / 2)`."""

    level: float

    def w(self, step: Step) -> torch.Tensor:
        """`c cos(pi level / 2)`."""
        return step.c * math.cos(0.5 * math.pi * self.level)

    def sigma(self, step: Step) -> torch.Tensor:
        """`c sin(pi level / 2)`, 0 at the last step."""
        return step.c * math.sin(0.5 * math.pi * self.level)


@dataclass(frozen=True)
class DDIM:
    """DDIM (arXiv 2010.02502), with `eta = 1` DDPM, and DPPO's least sigma (arXiv 2409.00588).

    `w = sqrt(c^2 - eta^2 p^2)` with the deviation `p` of DDPM's posterior, and `sigma = max(eta p, least)`: the bound
    explores where the posterior is narrow, and the mean does not see it.
    """

    eta: float
    least: float

    def w(self, step: Step) -> torch.Tensor:
        """`sqrt(c^2 - eta^2 p^2)`."""
        return (step.c.square() - self.eta**2 * _posterior_variance(step)).clamp_min(0.0).sqrt()

    def sigma(self, step: Step) -> torch.Tensor:
        """`max(eta p, least)`."""
        return (self.eta * _posterior_variance(step).sqrt()).clamp_min(self.least)


def _posterior_variance(step: Step) -> torch.Tensor:
    """Variance of `x_s` given `x_t` and the data, where noise is added in a Markov chain; `[B, 1]`."""
    added = step.b.square() - (step.a / step.a_next * step.c).square()
    return (step.c / step.b).square() * added.clamp_min(0.0)


def coupling_of(config: NoiseConfig) -> Coupling | None:
    """The published coupling that a `noise.kind` names, or None where `w` and `sigma` are chosen apart."""
    if config.kind == "flow_sde":
        return FlowSDE(config.noise_level)
    if config.kind == "cps":
        return CPS(config.noise_level)
    if config.kind == "ddim":
        return DDIM(config.eta, config.sigma_min)
    return None
