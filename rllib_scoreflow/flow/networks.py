"""Velocity network: a residual MLP with a sinusoidal time embedding."""

import math

import torch
from torch import nn

from rllib_scoreflow.flow.config import VelocityConfig

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "mish": nn.Mish, "tanh": nn.Tanh}


class TimeEmbedding(nn.Module):
    """Sinusoidal features of `t`, followed by a two-layer MLP: `[B, 1]` -> `[B, time_dim]`."""

    frequencies: torch.Tensor

    def __init__(self, time_dim: int) -> None:
        """Creates the embedding; `time_dim` must be even."""
        super().__init__()
        half = time_dim // 2
        # From a quarter turn to several turns over [0, 1]: smooth between the grid points of any K.
        exponents = torch.linspace(0.0, 4.0, half)
        self.register_buffer("frequencies", 0.5 * math.pi * 2.0**exponents, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * half, 2 * time_dim), nn.Mish(), nn.Linear(2 * time_dim, time_dim))

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """Embeds times `[B, 1]` (float32) as `[B, time_dim]`."""
        angles = t * self.frequencies
        embedded: torch.Tensor = self.mlp(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return embedded


class ResidualBlock(nn.Module):
    """Two linear layers with activations in front and a skip connection: `[B, D]` -> `[B, D]`."""

    def __init__(self, dim: int, activation: str) -> None:
        """Creates a block of width `dim`."""
        super().__init__()
        act = _ACTIVATIONS[activation]
        self.layers = nn.Sequential(act(), nn.Linear(dim, dim), act(), nn.Linear(dim, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns `x + f(x)`, shape `[B, D]`."""
        out: torch.Tensor = x + self.layers(x)
        return out


def residual_mlp(input_dim: int, output_dim: int, hidden_dim: int, num_layers: int, activation: str) -> nn.Sequential:
    """Residual MLP of `num_layers` hidden layers of width `hidden_dim`: `[B, input_dim]` -> `[B, output_dim]`.

    One input layer, then residual blocks of two layers each (a plain layer where the count is even).
    """
    act = _ACTIVATIONS[activation]
    layers: list[nn.Module] = [nn.Linear(input_dim, hidden_dim)]
    if num_layers % 2 == 0:
        layers += [act(), nn.Linear(hidden_dim, hidden_dim)]
    layers += [ResidualBlock(hidden_dim, activation) for _ in range((num_layers - 1) // 2)]
    return nn.Sequential(*layers, act(), nn.Linear(hidden_dim, output_dim))


class VelocityNetwork(nn.Module):
    """Velocity field `v(x, t, o)` of a flow over action chunks.

    Attributes:
        time_embedding: Shared with the noise network, which reads it without gradient.
    """

    def __init__(self, observation_dim: int, chunk_dim: int, config: VelocityConfig) -> None:
        """Creates the network for observations `[B, observation_dim]` and chunks `[B, chunk_dim]`."""
        super().__init__()
        self.time_embedding = TimeEmbedding(config.time_dim)
        self.trunk = residual_mlp(
            chunk_dim + config.time_dim + observation_dim,
            chunk_dim,
            config.hidden_dim,
            config.num_layers,
            config.activation,
        )

    def forward(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
        """Velocity `[B, D]` at points `x [B, D]`, times `t [B, 1]`, observations `[B, O]`."""
        velocity: torch.Tensor = self.trunk(torch.cat([x, self.time_embedding(t), observation], dim=-1))
        return velocity
