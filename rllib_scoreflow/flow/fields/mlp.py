"""Velocity network: a residual MLP with a sinusoidal time embedding."""

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from rllib_scoreflow.flow.fields.base import FIELDS, FieldConfig, VelocityField, as_column
from rllib_scoreflow.flow.fields.layers import Mish, OutputLayer
from rllib_scoreflow.flow.precision import full_precision
from rllib_scoreflow.flow.section import MAX_LAYERS

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "mish": Mish, "tanh": nn.Tanh}


def activation_behind(name: str) -> nn.Module:
    """An activation of what nobody else reads, such as a linear layer's output: in its place where that is possible."""
    return nn.ReLU(inplace=True) if name == "relu" else _ACTIVATIONS[name]()


class TimeEmbedding(nn.Module):
    """Sinusoidal features of times, followed by a two-layer MLP: `[B, num_times]` -> `[B, time_dim]`."""

    frequencies: torch.Tensor

    def __init__(self, time_dim: int, num_times: int = 1) -> None:
        """Creates the embedding; `time_dim` must be even."""
        super().__init__()
        half = time_dim // 2
        # From a quarter turn to several turns over [0, 1]: smooth between the grid points of any K.
        exponents = torch.linspace(0.0, 4.0, half)
        self.register_buffer("frequencies", 0.5 * math.pi * 2.0**exponents, persistent=False)
        width = 2 * half * num_times
        self.mlp = nn.Sequential(nn.Linear(width, 2 * time_dim), nn.Mish(), nn.Linear(2 * time_dim, time_dim))

    def forward(self, times: torch.Tensor) -> torch.Tensor:
        """Embeds times `[B, num_times]` (float32) as `[B, time_dim]`."""
        angles = (times.unsqueeze(-1) * self.frequencies).flatten(1)
        # Layers this small are faster in float32 than with what it takes to round for them.
        with full_precision(times.device):
            embedded: torch.Tensor = self.mlp(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return embedded


class ResidualBlock(nn.Module):
    """Two linear layers with activations in front and a skip connection: `[B, D]` -> `[B, D]`."""

    def __init__(self, dim: int, activation: str) -> None:
        """Creates a block of width `dim`."""
        super().__init__()
        layers = _ACTIVATIONS[activation](), nn.Linear(dim, dim), activation_behind(activation), nn.Linear(dim, dim)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns `x + f(x)`, shape `[B, D]`."""
        out: torch.Tensor = x + self.layers(x)
        return out


def residual_mlp(
    input_dim: int,
    output_dim: int,
    hidden_dim: int,
    num_layers: int,
    activation: str,
    *,
    output_bias: float | None = None,
) -> nn.Sequential:
    """Residual MLP of `num_layers` hidden layers of width `hidden_dim`: `[B, input_dim]` -> `[B, output_dim]`.

    One input layer, then residual blocks of two layers each (a plain layer where the count is even). `output_bias` sets
    the bias of the last layer, which is otherwise drawn near 0.
    """
    layers: list[nn.Module] = [nn.Linear(input_dim, hidden_dim)]
    if num_layers % 2 == 0:
        layers += [activation_behind(activation), nn.Linear(hidden_dim, hidden_dim)]
    layers += [ResidualBlock(hidden_dim, activation) for _ in range((num_layers - 1) // 2)]
    output = OutputLayer(hidden_dim, output_dim)
    if output_bias is not None:
        nn.init.constant_(output.bias, output_bias)
    return nn.Sequential(*layers, activation_behind(activation), output)


def plain_mlp(input_dim: int, widths: tuple[int, ...], activation: str) -> nn.Sequential:
    """MLP `[B, input_dim]` -> `[B, widths[-1]]` with activations between its layers."""
    layers: list[nn.Module] = []
    for width_in, width_out in zip((input_dim, *widths[:-1]), widths, strict=True):
        layers += [nn.Linear(width_in, width_out), activation_behind(activation)]
    return nn.Sequential(*layers[:-1])


class VelocityConfig(FieldConfig):
    """Architecture of the residual MLP, the published velocity field.

    With `fusion="add"` the compressed observation is added to the time embedding and must be as wide, with `"concat"`
    it stands beside it.
    """

    type: Literal["mlp"] = "mlp"
    """Architecture, by its name in `rllib_scoreflow.flow.fields.FIELDS`."""
    hidden_dim: int = Field(default=512, ge=1)
    """Width."""
    num_layers: int = Field(default=3, ge=1, le=MAX_LAYERS)
    """Hidden layers."""
    activation: Literal["relu", "mish", "tanh"] = "relu"
    """Between the layers."""
    condition_dims: tuple[int, ...] = Field(default=(), max_length=MAX_LAYERS)
    """Widths of an MLP that compresses the observation first; none: as it is."""
    fusion: Literal["concat", "add"] = "concat"
    """How observation and time embedding come together."""

    @model_validator(mode="after")
    def _added_condition_is_as_wide(self) -> "VelocityConfig":
        if self.fusion == "add" and (not self.condition_dims or self.condition_dims[-1] != self.time_dim):
            raise ValueError(f"fusion 'add' needs condition_dims that end in time_dim ({self.time_dim})")
        return self


@FIELDS.register("mlp")
class VelocityNetwork(VelocityField):
    """A residual MLP on the flattened chunk, the time embedding and the observation.

    Attributes:
        time_embedding: Shared with the noise network, which reads it without gradient.
        condition: Compresses the observation, or None.
    """

    CONFIG = VelocityConfig
    config: VelocityConfig

    def __init__(self, observation_dim: int, chunk_shape: tuple[int, int], config: VelocityConfig) -> None:
        """Creates the network for observations `[B, observation_dim]` and chunks of `chunk_shape`."""
        super().__init__(observation_dim, chunk_shape, config)
        chunk_dim = chunk_shape[0] * chunk_shape[1]
        self.time_embedding = TimeEmbedding(config.time_dim, 2 if config.takes_step_size else 1)
        self.condition: nn.Sequential | None = None
        width = observation_dim
        if config.condition_dims:
            self.condition = plain_mlp(observation_dim, config.condition_dims, config.activation)
            width = config.condition_dims[-1]
        self.trunk = residual_mlp(
            chunk_dim + config.time_dim + (0 if config.fusion == "add" else width),
            chunk_dim,
            config.hidden_dim,
            config.num_layers,
            config.activation,
        )

    def time_features(self, t: torch.Tensor, step_size: float | torch.Tensor) -> torch.Tensor:
        """Embedding `[B, time_dim]` of times `t [B, 1]`, and of step lengths (one, or `[B, 1]`) where it has any."""
        times = torch.cat([t, as_column(step_size, t)], dim=-1) if self.config.takes_step_size else t
        embedded: torch.Tensor = self.time_embedding(times)
        return embedded

    def velocity(
        self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, step_size: float | torch.Tensor
    ) -> torch.Tensor:
        """Velocity `[B, H, A]` at chunks `x [B, H, A]`."""
        embedded = self.time_features(t, step_size)
        condition = observation if self.condition is None else self.condition(observation)
        flat = x.flatten(1)
        parts = [flat, embedded + condition] if self.config.fusion == "add" else [flat, embedded, condition]
        velocity: torch.Tensor = self.trunk(torch.cat(parts, dim=-1))
        return velocity.view_as(x)
