"""Score-drift strength `alpha(t)`."""

import math

import torch
from torch import nn

from rllib_scoreflow.flow.config import ScoreConfig

_SMALLEST_GAIN = 1e-6  # softplus reaches 0 at minus infinity only


class DriftStrength(nn.Module):
    """`alpha(t) = (1 - t)^p * gain(t) * scale`, clamped at `2 * scale` (arXiv 2604.10962, section 4, where p = 1).

    The factor `(1 - t)` cancels the divergence of the score at `t = 1`; without it (`decay=False`) the drift grows
    like `1 / (1 - t)`, the ablation in which training collapses. A higher power `p` leaves the drift to the early
    steps, which it makes forget the random start, and the last ones to the flow.
    """

    def __init__(self, config: ScoreConfig) -> None:
        """Creates the schedule; `linear` and `mlp` have parameters, `none` and `constant` have none."""
        super().__init__()
        self.config = config
        self.gain: nn.Module | None = None
        if config.strength == "mlp":
            self.gain = nn.Sequential(nn.Linear(1, 16), nn.SiLU(), nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 1))
        elif config.strength == "linear":
            self.gain = nn.Sequential(nn.Linear(1, 1))
        if self.gain is not None:
            last = list(self.gain.children())[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            gain = max(config.value, _SMALLEST_GAIN)
            nn.init.constant_(last.bias, gain + math.log(-math.expm1(-gain)))  # softplus of it is the gain

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """Strength `[B, 1]`, not negative, at times `t [B, 1]`."""
        scale = self.config.scale
        if self.config.strength == "none":
            return torch.zeros_like(t)
        if self.gain is None:
            gain = torch.full_like(t, self.config.value)
        else:
            gain = nn.functional.softplus(self.gain(t))
        if self.config.decay:
            gain = (1.0 - t) ** self.config.decay_power * gain
        return (gain * scale).clamp(max=2.0 * scale)
