"""Paths from noise to data, `x_t = a(t) D + b(t) N`, and what a network's output says about both ends.

`t = 0` is noise, `t = 1` data; `N ~ N(0, I)`. Everything after cloning works on the estimates `D^ = E[D | x_t, o]` and
`N^ = E[N | x_t, o]` alone, whatever the path is and whatever the network predicts.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch

_OFFSET = 0.008  # of the cosine schedule (Nichol and Dhariwal, arXiv 2102.09672)
_LARGEST_BETA = 0.999


class Path(Protocol):
    """A path, and what a network that was cloned on it predicts."""

    def a(self, t: torch.Tensor) -> torch.Tensor:
        """Share of the data at times `t` in `[0, 1]`, same shape."""
        ...

    def b(self, t: torch.Tensor) -> torch.Tensor:
        """Share of the noise at times `t` in `[0, 1]`, same shape."""
        ...

    def target(self, data: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """What the network is taught for `data [B, D]` and `noise [B, D]`, `[B, D]`."""
        ...

    def estimates(
        self, output: torch.Tensor, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, clip: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The estimates `D^` and `N^` of data and noise, `[B, D]` each.

        Args:
            output: Of the network at `x`, `[B, D]`.
            x: Points, `[B, D]`.
            a: Share of the data there, `[B, 1]`.
            b: Share of the noise there, above 0, `[B, 1]`.
            clip: Bound on `D^` where the path has one (`N^` follows it); `None`: unbounded.
        """
        ...

    def bound_mean(self, mean: torch.Tensor, clip: float | None) -> torch.Tensor:
        """Mean of a step, `[B, D]`, within `[-clip, clip]` where the path has such a bound (`None`: unbounded)."""
        ...


@dataclass(frozen=True)
class LinearPath:
    """`a = t`, `b = 1 - t`, and a network that predicts the velocity `v = D - N` (arXiv 2209.03003, 2210.02747)."""

    def a(self, t: torch.Tensor) -> torch.Tensor:
        """`t`."""
        return t

    def b(self, t: torch.Tensor) -> torch.Tensor:
        """`1 - t`."""
        return 1.0 - t

    def target(self, data: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """`D - N`."""
        return data - noise

    def estimates(
        self, output: torch.Tensor, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, clip: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`D^ = x + (1 - t) v` and `N^ = x - t v`; unbounded: on this path it is the mean that is bounded."""
        return x + b * output, x - a * output

    def bound_mean(self, mean: torch.Tensor, clip: float | None) -> torch.Tensor:
        """As ReinFlow does (arXiv 2505.22094)."""
        return mean if clip is None else mean.clamp(-clip, clip)


@dataclass(frozen=True)
class CosinePath:
    """`a^2 + b^2 = 1` by the cosine schedule, and a network that predicts the noise (DPPO, arXiv 2409.00588).

    With `u = 1 - t`, `a^2 = cos^2(pi/2 (u + 0.008) / 1.008) / cos^2(pi/2 0.008 / 1.008)`, which is that of DDPM at its
    discrete levels `u = i / levels` (arXiv 2102.09672). The last of these has `beta` capped at 0.999, so that a little
    of the data is left in pure noise; that little is the least `a` here.

    Attributes:
        levels: Noise levels of the discrete schedule whose cap is taken.
    """

    levels: int = 20

    def a(self, t: torch.Tensor) -> torch.Tensor:
        """The root of DDPM's cumulative alpha."""
        return (torch.cos(self._angle(t)) / math.cos(self._first)).clamp_min(self._least)

    def b(self, t: torch.Tensor) -> torch.Tensor:
        """`sqrt(1 - a^2)`, exact near the data too."""
        angle, rise = self._angle(t), (1.0 - t) * self._slope
        square = torch.sin(rise) * torch.sin(angle + self._first)  # cos^2(first) - cos^2(angle)
        return (square.clamp_min(0.0).sqrt() / math.cos(self._first)).clamp_max(math.sqrt(1.0 - self._least**2))

    def target(self, data: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """`N`."""
        return noise

    def estimates(
        self, output: torch.Tensor, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, clip: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`D^ = (x - b N^) / a`; where `clip` bounds it `N^ = (x - a D^) / b`, as DPPO does."""
        data = (x - b * output) / a
        if clip is None:
            return data, output
        data = data.clamp(-clip, clip)
        return data, (x - a * data) / b

    def bound_mean(self, mean: torch.Tensor, clip: float | None) -> torch.Tensor:
        """Unbounded: early means are as wide as the noise."""
        return mean

    def _angle(self, t: torch.Tensor) -> torch.Tensor:
        return (1.0 - t + _OFFSET) * self._slope

    @property
    def _slope(self) -> float:
        return 0.5 * math.pi / (1.0 + _OFFSET)

    @property
    def _first(self) -> float:
        return self._slope * _OFFSET

    @property
    def _least(self) -> float:
        before = self._slope * (1.0 - 1.0 / self.levels + _OFFSET)
        return math.cos(before) / math.cos(self._first) * math.sqrt(1.0 - _LARGEST_BETA)


LINEAR = LinearPath()


def path_of(field: Any) -> Path:
    """The path that a network of this configuration, a `FieldConfig`, is cloned on: that of its kind."""
    path: Path = field.make_kind().path
    return path
