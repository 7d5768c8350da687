"""What a kind of velocity field is: of what it is a function, and how cloning teaches it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch

from rllib_scoreflow.flow.losses import Velocity, flow_matching_error
from rllib_scoreflow.flow.path import LINEAR, Path
from rllib_scoreflow.registry import Registry

NOISE = "flow_noise"
"""Column of the source draws `z`, float32 `[B, D]`."""
TIME = "flow_time"
"""Column of the times `t`, float32 `[B, 1]`."""
STEP = "flow_step"
"""Column of the step lengths `d` of the first rows, float32 `[B', 1]`, `B' <= B`."""

Draw = Callable[[int], torch.Tensor]


def draw_all(draw: Draw, rows: int) -> torch.Tensor:
    """All that is drawn, for one Learner or for all alike."""
    return draw(rows)


@dataclass(frozen=True)
class Draws:
    """A source of random rows.

    Attributes:
        generator: Of the numbers.
        device: Of the tensors.
        share: From a draw, which makes as many rows as it is asked for, and a number of rows to this many; several
            Learners keep their share of what one would draw.
    """

    generator: torch.Generator
    device: torch.device
    share: Callable[[Draw, int], torch.Tensor] = draw_all

    def normal(self, rows: int, width: int) -> torch.Tensor:
        """Standard normal numbers, float32 `[rows, width]`."""
        return self.share(lambda n: torch.randn((n, width), generator=self.generator, device=self.device), rows)

    def uniform(self, rows: int, width: int) -> torch.Tensor:
        """Numbers from `[0, 1)`, float32 `[rows, width]`."""
        return self.share(lambda n: torch.rand((n, width), generator=self.generator, device=self.device), rows)

    def integers(self, below: int, rows: int, width: int) -> torch.Tensor:
        """Whole numbers from 0 to `below - 1`, int64 `[rows, width]`."""
        size = (below,)
        return self.share(
            lambda n: torch.randint(*size, (n, width), generator=self.generator, device=self.device), rows
        )


class VelocityKind:
    """A kind of velocity field; a subclass is registered in `KINDS`.

    The default is the instantaneous velocity `v(x, t, o)` on the linear path, taught by flow matching. One that
    `takes_step_size` is a function `u(x, t, d, o)` of the step length `d` that it is followed for as well; its
    velocity at `d = 0` is the instantaneous one, which the score is computed from. Of each batch the first rows teach
    it its steps (`draw`, `step_error`), the others the instantaneous velocity.

    Attributes:
        path: The path from noise to data, and what a network's output says about both.
    """

    path: Path = LINEAR

    takes_step_size: ClassVar[bool] = False
    denoising_steps: ClassVar[int | None] = None
    """Steps `K` that a policy of this kind acts with where nobody says; None: as many as any other."""
    untuned_steps: ClassVar[int] = 0
    """How many steps, the first ones, PPO on chains leaves as they were cloned where nobody says."""
    delta: ClassVar[float] = 0.0
    """What is left of the noise at `t = 1` on the path."""

    @classmethod
    def of(cls, field: Any) -> Self:
        """The kind of a field with this configuration, a `FieldConfig`."""
        return cls()

    def draw_points(self, draws: Draws, rows: int, chunk_dim: int) -> dict[str, torch.Tensor]:
        """Noise and uniform times `[rows, ...]`, by column, for the error of the instantaneous velocity."""
        return {NOISE: draws.normal(rows, chunk_dim), TIME: draws.uniform(rows, 1)}

    def draw(self, draws: Draws, rows: int, chunk_dim: int, fraction: float) -> dict[str, torch.Tensor]:
        """Draws of a training batch by column: those of `draw_points`, and `STEP` for the first rows.

        Args:
            draws: Source of the numbers.
            rows: `B`, of this Learner.
            chunk_dim: `D`.
            fraction: Share of the rows that teach steps.
        """
        return self.draw_points(draws, rows, chunk_dim)

    def error(
        self,
        velocity: Velocity,
        observation: torch.Tensor,
        chunk: torch.Tensor,
        draws: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:
        """Squared error per sample, `[B]`: of the steps in the first rows, of the instantaneous velocity in the others.

        Args:
            velocity: A field of this kind.
            observation: Normalised observations `[B, O]`.
            chunk: Expert action chunks `a [B, D]` in `[-1, 1]`.
            draws: Of `draw`, or of `draw_points`.
        """
        columns, steps = (observation, chunk, draws[NOISE], draws[TIME]), draws.get(STEP)
        if steps is None:
            return self.matching_error(velocity, *columns)
        count = len(steps)
        stepped = self.step_error(velocity, *(column[:count] for column in columns), step=steps)
        rest = (column[count:] for column in columns)
        return torch.cat([stepped, self.matching_error(velocity, *rest)])

    def matching_error(
        self,
        velocity: Velocity,
        observation: torch.Tensor,
        chunk: torch.Tensor,
        noise: torch.Tensor,
        t: torch.Tensor,
    ) -> torch.Tensor:
        """Squared error `[B]` of the instantaneous velocity at times `t [B, 1]`."""
        return flow_matching_error(velocity, observation, chunk, noise, t, delta=self.delta)

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
        """Squared error `[B]` of the velocity over steps `d [B, 1]` from times `t [B, 1]`."""
        raise NotImplementedError


KINDS: Registry[type[VelocityKind]] = Registry("kind of velocity field", "velocity.kind")
"""Kinds by the name that `velocity: {kind: ...}` gives them."""
