"""Standard deviation of a denoising step, apart from the drift."""

import math

import torch
from torch import nn

from rllib_scoreflow.flow.sections import NoiseConfig


class NoiseNetwork(nn.Module):
    """Bounded, learned `sigma(t, o)`, or `sigma(o)` (arXiv 2505.22094, section 3; log-uniform between the bounds).

    The upper bound is a buffer, so that an annealed value travels with the weights to every EnvRunner.
    """

    sigma_max: torch.Tensor

    def __init__(self, time_dim: int, observation_dim: int, chunk_dim: int, config: NoiseConfig) -> None:
        """Creates the network on `[time embedding, observation]` (the observation alone without `config.use_time`)."""
        super().__init__()
        self.sigma_min = config.sigma_min
        self.use_time = config.use_time
        self.register_buffer("sigma_max", torch.tensor(config.sigma_max))
        layers: list[nn.Module] = []
        width = observation_dim + (time_dim if self.use_time else 0)
        for hidden in config.hidden_dims:
            layers += [nn.Linear(width, hidden), nn.Tanh()]
            width = hidden
        self.mlp = nn.Sequential(*layers, nn.Linear(width, chunk_dim))

    def forward(self, time_embedding: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
        """Sigma `[B, D]` in `[sigma_min, sigma_max]`.

        Args:
            time_embedding: Of the velocity network, `[B, time_dim]`; its gradient is cut here.
            observation: Normalised observations `[B, O]`.
        """
        inputs = torch.cat([time_embedding.detach(), observation], dim=-1) if self.use_time else observation
        raw = self.mlp(inputs).to(self.sigma_max.dtype)
        log_min = math.log(self.sigma_min)
        log_max = torch.log(self.sigma_max)
        # Half the log-variance is the log of sigma: interpolating either is the same.
        return torch.exp(log_min + (log_max - log_min) * 0.5 * (torch.tanh(raw) + 1.0))


def annealed_sigma_max(config: NoiseConfig, progress: float) -> float:
    """Upper bound of sigma at `progress` in `[0, 1]` of the training (`learn_decay`, section 4 of the method).

    Held at `sigma_max` for `hold_fraction`, then a half cosine down to
    `(1 - decay_to) * sigma_min + decay_to * sigma_max`.
    """
    if config.schedule != "learn_decay" or config.hold_fraction >= 1.0:
        return config.sigma_max
    lowest = (1.0 - config.decay_to) * config.sigma_min + config.decay_to * config.sigma_max
    fraction = (progress - config.hold_fraction) / (1.0 - config.hold_fraction)
    fraction = min(max(fraction, 0.0), 1.0)
    return lowest + (config.sigma_max - lowest) * 0.5 * (1.0 + math.cos(math.pi * fraction))
