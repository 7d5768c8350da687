"""`alpha(t)`, which the score is multiplied by in the drift."""

import math

import torch
from torch import nn

from rllib_scoreflow.flow.sections import LARGEST_ALPHA, ScoreConfig

_SMALLEST_OUTPUT = 1e-6  # softplus reaches 0 at minus infinity only


class Alpha(nn.Module):
    """`alpha(t) = (1 - t)^p * f(t) * scale`, clamped at `2 * scale` (arXiv 2604.10962, section 4, where p = 1).

    Or, in the form of a contraction, `alpha = (1 - t) (1 - t - dt) f(t) / dt` with `f = 1 - contraction`, clamped at 2,
    after which a step of length `dt` keeps that share of the estimated noise (`ScoreConfig`).

    The factor `(1 - t)` cancels the divergence of the score at `t = 1`; without it (`decay=False`) the drift grows
    like `1 / (1 - t)`, the ablation in which training collapses. A higher power `p` leaves the drift to the early
    steps, which it makes forget the random start, and the last ones to the flow.
    """

    def __init__(self, config: ScoreConfig) -> None:
        """Creates the schedule; `linear` and `mlp` have parameters, `none` and `constant` have none."""
        super().__init__()
        self.config = config
        self.network: nn.Module | None = None
        if config.strength == "mlp":
            self.network = nn.Sequential(nn.Linear(1, 16), nn.SiLU(), nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 1))
        elif config.strength == "linear":
            self.network = nn.Sequential(nn.Linear(1, 1))
        if self.network is not None:
            last = list(self.network.children())[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            value = config.value if config.form == "alpha" else 1.0 - config.value
            start = max(value, _SMALLEST_OUTPUT)
            nn.init.constant_(last.bias, start + math.log(-math.expm1(-start)))  # softplus of it is the start

    def forward(self, t: torch.Tensor, dt: float | None = None) -> torch.Tensor:
        """Alpha `[B, 1]`, not negative, at times `t [B, 1]`; a contraction needs the length `dt` of a step."""
        return self.with_clamp_rate(t, dt)[0]

    def with_clamp_rate(self, t: torch.Tensor, dt: float | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Alpha, and the share of the times at which the clamp has cut it (a scalar tensor, no gradient)."""
        config = self.config
        if config.strength == "none":
            return torch.zeros_like(t), torch.zeros((), device=t.device)
        if self.network is None:
            f = torch.full_like(t, config.value if config.form == "alpha" else 1.0 - config.value)
        else:
            # In float32: what a gradient step moves it by is less than bfloat16 can tell apart.
            with torch.autocast(t.device.type, enabled=False):
                f = nn.functional.softplus(self.network(t))
        if config.steps == "first":
            f = f * (t == 0.0)
        if config.form == "contraction":
            assert dt is not None, "a contraction is that of a step"
            left = 1.0 - t - dt  # of the noise, in a step of the flow
            # Rounding must not leave a drift to the last step, where nothing is left.
            unit = (1.0 - t) / dt * torch.where(left > 0.5 * dt, left, torch.zeros_like(left))
            return f.clamp(max=LARGEST_ALPHA) * unit, _share_above(f, LARGEST_ALPHA)
        if config.decay:
            f = (1.0 - t) ** config.decay_power * f
        alpha, bound = f * config.scale, LARGEST_ALPHA * config.scale
        return alpha.clamp(max=bound), _share_above(alpha, bound)


def _share_above(values: torch.Tensor, bound: float) -> torch.Tensor:
    return (values.detach() > bound).float().mean()
