"""What a velocity field is, and how a configuration chooses one."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from rllib_scoreflow.flow.section import Section
from rllib_scoreflow.registry import Registry


class FieldConfig(Section):
    """What every field's configuration says; a field adds its own options.

    `kind` says what the field is a function of: `"flow"` is the instantaneous velocity `v(x, t, o)`, `"shortcut"` takes
    the step length that it is followed for as well (arXiv 2410.12557); `"epsilon"` predicts the noise on DDPM's cosine
    path in place of a velocity on the linear one (arXiv 2409.00588; `rllib_scoreflow.flow.path`).
    """

    type: str
    """Architecture, by its name in `rllib_scoreflow.flow.fields.FIELDS`."""
    kind: Literal["flow", "shortcut", "epsilon"] = "flow"
    """What the network is: a velocity; with `shortcut` a function of the step length, too; with `epsilon` a prediction
    of the noise on the cosine path."""
    noise_levels: int = Field(default=20, ge=2)
    """Levels of the published cosine schedule whose last one `epsilon` begins with."""
    time_dim: int = Field(default=16, ge=2, multiple_of=2)
    """Width of the features of the time."""


class VelocityField(nn.Module):
    """A velocity field `v(x, t, o)` over action chunks, or `s(x, t, d, o)` of a shortcut model.

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
        """Features `[B, time_dim]` of times `t [B, 1]`, which the noise network reads without gradient."""
        return sinusoids(t, self.config.time_dim)

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, step_size: float | torch.Tensor = 0.0
    ) -> torch.Tensor:
        """Velocity `[B, D]` at points `x [B, D]`, times `t [B, 1]`, observations `[B, O]`; `D = H * A`.

        `step_size`, a number or `[B, 1]`, is the step that the velocity is to be followed for; a plain flow's velocity
        does not depend on it, and 0 is the instantaneous velocity of a shortcut model. Float32 also where the network's
        passes are not (`flow.precision`).
        """
        return self.velocity(x.reshape(-1, *self.chunk_shape), t, observation, step_size).flatten(1).float()


FIELDS: Registry[type[VelocityField]] = Registry("velocity field", "velocity.type")
"""Velocity fields by the name that `velocity: {type: ...}` gives them."""

DEFAULT_TYPE = "mlp"


def sinusoids(t: torch.Tensor, width: int) -> torch.Tensor:
    """Sines and cosines `[B, width]` of times `t [B, 1]`, from a quarter turn to several turns over `[0, 1]`."""
    frequencies = 0.5 * torch.pi * 2.0 ** torch.linspace(0.0, 4.0, width // 2, device=t.device)
    angles = t * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


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
    if isinstance(values, FieldConfig):
        return values
    if not isinstance(values, Mapping):
        raise ValueError("it must be a mapping of options")
    return field_class(values).CONFIG.model_validate(dict(values))


def make_field(observation_dim: int, chunk_shape: tuple[int, int], config: FieldConfig) -> VelocityField:
    """A fresh field for observations `[B, observation_dim]` and chunks of `chunk_shape`."""
    return FIELDS.choose(config.type)(observation_dim, chunk_shape, config)
