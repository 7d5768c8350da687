"""All transitions along given chains as one diagonal Gaussian: the density of a chain, once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.distributions import Independent, Normal, kl_divergence

from rllib_scoreflow.flow.transition import ChainEvaluation

LOG_2PI = math.log(2.0 * math.pi)


@dataclass(frozen=True)
class ChainScale:
    """Which points of a chain are drawn, and the scale on which their density is used.

    Attributes:
        drawn: Points of the chain that random transitions lead to, at least one.
        steps: Numbers of those transitions among the denoising steps, as many.
        draws_start: Whether the first point is drawn too, from `N(0, I)`.
        divisor: What log-probability and entropy are divided by.
        clamp: Bound `c` of the divided log-probability, `[-c, c]`; None: unbounded.
        draws_one: Whether only one of these points is drawn, of every chain another one.
    """

    drawn: slice
    steps: range
    draws_start: bool
    divisor: float
    clamp: float | None
    draws_one: bool = False


class ChainGaussian:
    """Distribution `N(mean, diag(std^2))` of the points of a chain, each given the one before it in a given chain.

    A transition depends on the point that it leaves alone, so that the density of the given chain under it is the
    density of that chain under the process (arXiv 2505.22094, section 3). Of any other chain it is that of the draws
    that lead from the given chain's points to the other's.

    Attributes:
        mean: `[B, P, D]` for chains of `P` points; a point that is not drawn is the given chain's own.
        std: `[B, P, D]`; 0 where a point is not drawn.
        scale: Which points are drawn, and the scale of the density.
    """

    def __init__(self, mean: torch.Tensor, std: torch.Tensor, scale: ChainScale) -> None:
        """Takes means and standard deviations `[B, P, D]`."""
        self.mean = mean
        self.std = std
        self.scale = scale

    @classmethod
    def of_one_step(
        cls, chain: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, point: torch.Tensor, scale: ChainScale
    ) -> "ChainGaussian":
        """From the transitions `[B, 1, D]` that lead to one point of each chain `[B, P, D]`, number `point [B]`."""
        start = chain[:, :1] * (0.0 if scale.draws_start else 1.0)
        spread = torch.full_like(start, 1.0 if scale.draws_start else 0.0)
        index = point.view(-1, 1, 1).expand_as(mean)
        return cls(
            torch.cat([start, chain[:, 1:]], dim=1).scatter(1, index, mean),
            torch.cat([spread, torch.zeros_like(chain[:, 1:])], dim=1).scatter(1, index, std),
            scale,
        )

    @classmethod
    def of_steps(cls, chain: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, scale: ChainScale) -> "ChainGaussian":
        """From the transitions `[B, n, D]` that lead to the drawn points of chains `[B, P, D]`."""
        start = chain[:, :1]
        head = [torch.zeros_like(start) if scale.draws_start else start, chain[:, 1 : scale.drawn.start]]
        spread = [torch.ones_like(start) if scale.draws_start else torch.zeros_like(start)]
        tail = chain[:, scale.drawn.stop :]
        return cls(
            torch.cat([*head, mean, tail], dim=1),
            torch.cat([*spread, torch.zeros_like(head[1]), std, torch.zeros_like(tail)], dim=1),
            scale,
        )

    def raw_logp(self, chain: torch.Tensor) -> torch.Tensor:
        """Sum of the log-densities of all drawn points of chains `[B, P, D]`, in nats, `[B]`."""
        if self.scale.draws_start and self.scale.drawn.start == 1 and not self.scale.draws_one:
            # The start and the points behind it are drawn: one density in place of two.
            drawn = slice(0, self.scale.drawn.stop)
            whole: torch.Tensor = _gaussian(self.mean[:, drawn], self.std[:, drawn]).log_prob(  # type: ignore[no-untyped-call]
                chain[:, drawn]
            )
            return whole
        logp: torch.Tensor = self._steps.log_prob(self._of_drawn(chain))  # type: ignore[no-untyped-call]
        if not self.scale.draws_start:
            return logp
        start: torch.Tensor = self._start.log_prob(chain[:, 0])  # type: ignore[no-untyped-call]
        return logp + start

    def logp(self, chain: torch.Tensor) -> torch.Tensor:
        """Log-probability of chains `[B, P, D]` on the configured scale, `[B]`."""
        return self._clamp(self.raw_logp(chain) / self.scale.divisor)[0]

    def entropy(self) -> torch.Tensor:
        """Entropy of all drawn points on the configured scale, `[B]`."""
        entropy: torch.Tensor = self._steps.entropy()  # type: ignore[no-untyped-call]
        if self.scale.draws_start:
            entropy = entropy + 0.5 * self.mean.shape[2] * (1.0 + LOG_2PI)
        return entropy / self.scale.divisor

    def kl(self, other: "ChainGaussian") -> torch.Tensor:
        """`KL(self || other)` in nats, `[B]`, of the transitions along the same chains."""
        return kl_divergence(self._steps, other._steps)

    def evaluate(self, chain: torch.Tensor, details: Mapping[str, torch.Tensor]) -> ChainEvaluation:
        """Everything that an update asks of the given chains `[B, P, D]`; `details` are those of the transitions."""
        raw_logp = self.raw_logp(chain)
        logp, clamp_rate = self._clamp(raw_logp / self.scale.divisor)
        return ChainEvaluation(
            logp=logp,
            raw_logp=raw_logp,
            logp_divisor=self.scale.divisor,
            entropy=self.entropy(),
            steps=self.scale.steps,
            random_step=self._drawn_place + self.scale.steps.start if self.scale.draws_one else None,
            mean=self._of_drawn(self.mean),
            std=self._of_drawn(self.std),
            details=details,
            logp_clamp_rate=clamp_rate,
        )

    @property
    def _steps(self) -> Independent[Normal]:
        return _gaussian(self._of_drawn(self.mean), self._of_drawn(self.std))

    @cached_property
    def _drawn_place(self) -> torch.Tensor:
        """Which of the points that may be drawn is the one with a spread, int64 `[B]`."""
        return (self.std[:, self.scale.drawn] > 0.0).any(dim=-1).int().argmax(dim=1)

    def _of_drawn(self, points: torch.Tensor) -> torch.Tensor:
        """Of points `[B, P, D]` those that are drawn, `[B, n, D]`."""
        may_be_drawn = points[:, self.scale.drawn]
        if not self.scale.draws_one:
            return may_be_drawn
        index = self._drawn_place.view(-1, 1, 1).expand(-1, 1, points.shape[2])
        return may_be_drawn.gather(1, index)

    @property
    def _start(self) -> Independent[Normal]:
        return _gaussian(self.mean[:, 0], self.std[:, 0])

    def _clamp(self, logp: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        clamp = self.scale.clamp
        if clamp is None:
            return logp, torch.zeros((), device=logp.device)
        rate = (logp.detach().abs() > clamp).float().mean()
        return logp.clamp(-clamp, clamp), rate


def _gaussian(mean: torch.Tensor, std: torch.Tensor) -> Independent[Normal]:
    """A diagonal Gaussian over everything but the batch."""
    return Independent(Normal(mean, std, validate_args=False), mean.dim() - 1, validate_args=False)
