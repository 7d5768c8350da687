"""`alpha(t)`, which the score is multiplied by in the drift."""

import math

import torch
from torch import nn

from rllib_scoreflow.flow.kernel import Step
from rllib_scoreflow.flow.precision import full_precision
from rllib_scoreflow.flow.sections import LARGEST_ALPHA, ScoreConfig

_SMALLEST_OUTPUT = 1e-6  # softplus reaches 0 at minus infinity only


class Alpha(nn.Module):
    """`alpha(t) = b(t)^p * f(t) * scale`, clamped at `2 * scale` (arXiv 2604.10962, section 4, where p = 1).

    Or, in the form of a contraction, `alpha = b(t) b(t + dt) f(t) / dt` with `f = 1 - contraction`, clamped at 2, after
    which a step of length `dt` keeps that share of the estimated noise (`ScoreConfig`). On the linear path
    `b = 1 - t`.

    The factor `b(t)` cancels the divergence of the score at `t = 1`; without it (`decay=False`) the drift grows
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

    def forward(self, step: Step) -> torch.Tensor:
        """Alpha `[B, 1]` of a step, not negative."""
        return self.with_clamp_rate(step)[0]

    def with_clamp_rate(self, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
        """Alpha, and the share of the times at which the clamp has cut it (a scalar tensor, no gradient)."""
        config, t = self.config, step.t
        if config.strength == "none":
            return torch.zeros_like(t), torch.zeros((), device=t.device)
        if self.network is None:
            f = torch.full_like(t, config.value if config.form == "alpha" else 1.0 - config.value)
        else:
            # In float32: what a gradient step moves it by is less than bfloat16 can tell apart.
            with full_precision(t.device):
                f = nn.functional.softplus(self.network(t))
        if config.steps == "first":
            f = f * (t == 0.0)
        if config.form == "contraction":
            return f.clamp(max=LARGEST_ALPHA) * step.b / step.dt * step.c, _share_above(f, LARGEST_ALPHA)
        if config.decay:
            f = step.b**config.decay_power * f
        alpha, bound = f * config.scale, LARGEST_ALPHA * config.scale
        return alpha.clamp(max=bound), _share_above(alpha, bound)


def _share_above(values: torch.Tensor, bound: float) -> torch.Tensor:
    return (values.detach() > bound).float().mean()
