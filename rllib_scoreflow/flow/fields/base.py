"""What a velocity field is, and how a configuration chooses one."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import AfterValidator, Field
from torch import nn

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.kinds import KINDS, VelocityKind
from rllib_scoreflow.flow.section import Section, parse_tagged
from rllib_scoreflow.registry import Registry


def _known_kind(name: str) -> str:
    KINDS.choose(name)
    return name


class FieldConfig(Section):
    """What every field's configuration says; a field adds its own options.

    Of which function the field is, and how it is cloned, is its kind (`rllib_scoreflow.flow.kinds`).
    """

    type: str
    """Architecture, by its name in `rllib_scoreflow.flow.fields.FIELDS`."""
    kind: Annotated[str, AfterValidator(_known_kind)] = "flow"
    """What the network is: `flow` is the instantaneous velocity; `shortcut` (arXiv 2410.12557) and `meanflow`
    (arXiv 2505.13447) are functions of the step length, too; `epsilon` predicts the noise on the cosine path
    (arXiv 2409.00588)."""
    noise_levels: int = Field(default=20, ge=2)
    """Levels of the published cosine schedule whose last one `epsilon` begins with."""
    time_dim: int = Field(default=16, ge=2, multiple_of=2)
    """Width of the features of the time."""

    @property
    def takes_step_size(self) -> bool:
        """Whether the velocity depends on the step length that it is followed for."""
        return KINDS.choose(self.kind).takes_step_size

    def make_kind(self) -> VelocityKind:
        """How a field of this kind is cloned."""
        return KINDS.choose(self.kind).of(self)


class VelocityField(nn.Module):
    """A velocity field `v(x, t, o)` over action chunks, or `u(x, t, d, o)` where its kind takes the step length.

    A subclass implements `velocity` and is registered in `FIELDS`. Everything else, the process, the losses and the
    export, calls `forward` on flattened chunks.

    Attributes:
        config: Its configuration.
        chunk_shape: `(H, A)`: steps of a chunk, numbers of an action.
    """

    CONFIG: ClassVar[type[FieldConfig]]

    def __init__(self, observation_dim: int, chunk_shape: tuple[int, int], config: FieldConfig) -> None:
        """Takes the sizes of observations `[B, observation_dim]` and chunks `[B, H, A]`."""
        super().__init__()
        self.config = config
        self.observation_dim = observation_dim
        self.chunk_shape = chunk_shape

    def velocity(
        self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, step_size: float | torch.Tensor
    ) -> torch.Tensor:
        """Velocity `[B, H, A]` at chunks `x [B, H, A]`, times `t [B, 1]`, observations `[B, O]`; see `forward`."""
        raise NotImplementedError

    def time_features(self, t: torch.Tensor, step_size: float | torch.Tensor) -> torch.Tensor:
        """Features `[B, time_dim]` of times `t [B, 1]`, which the noise network reads without gradient.

        Where the kind takes the step length (one, or `[B, 1]`), the second half is of it.
        """
        width = self.config.time_dim
        if not self.config.takes_step_size:
            return sinusoids(t, width)
        size = width // 4 * 2
        if size == 0:
            raise InputError(
                f"Option 'velocity.time_dim' is {width}, too narrow for time and step length; give 4 or more."
            )
        return torch.cat([sinusoids(t, width - size), sinusoids(as_column(step_size, t), size)], dim=-1)

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, step_size: float | torch.Tensor = 0.0
    ) -> torch.Tensor:
        """Velocity `[B, D]` at points `x [B, D]`, times `t [B, 1]`, observations `[B, O]`; `D = H * A`.

        `step_size`, a number or `[B, 1]`, is the step that the velocity is to be followed for; a plain flow's velocity
        does not depend on it, and that of another kind is the instantaneous one at 0. Float32 also where the network's
        passes are not (`flow.precision`).
        """
        return self.velocity(x.reshape(-1, *self.chunk_shape), t, observation, step_size).flatten(1).to(x.dtype)


FIELDS: Registry[type[VelocityField]] = Registry("velocity field", "velocity.type")
"""Velocity fields by the name that `velocity: {type: ...}` gives them."""

DEFAULT_TYPE = "mlp"


def sinusoids(t: torch.Tensor, width: int) -> torch.Tensor:
    """Sines and cosines `[B, width]` of times `t [B, 1]`, from a quarter turn to several turns over `[0, 1]`."""
    frequencies = 0.5 * torch.pi * 2.0 ** torch.linspace(0.0, 4.0, width // 2, device=t.device)
    angles = t * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def as_column(step_size: float | torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Step lengths `[B, 1]` beside times `t [B, 1]`."""
    return step_size if isinstance(step_size, torch.Tensor) else torch.full_like(t, step_size)


def field_class(values: Mapping[str, Any]) -> type[VelocityField]:
    """The field that the key `type` of a configuration names, the default one without it.

    Raises:
        InputError: No such field is registered.
    """
    return FIELDS.choose(values.get("type", DEFAULT_TYPE))


def parse_field(values: Mapping[str, Any] | FieldConfig) -> FieldConfig:
    """Builds the configuration of a field, such as a saved policy's.

    Raises:
        ValueError: No such field is registered (`InputError`), or an unknown key or a wrong value.
    """
    return parse_tagged(values, FieldConfig, field_class)


def make_field(observation_dim: int, chunk_shape: tuple[int, int], config: FieldConfig) -> VelocityField:
    """A fresh field for observations `[B, observation_dim]` and chunks of `chunk_shape`."""
    return FIELDS.choose(config.type)(observation_dim, chunk_shape, config)
