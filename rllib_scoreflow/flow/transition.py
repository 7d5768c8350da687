"""What one denoising step and a whole chain of them are, to everybody who asks a denoising process."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Transition:
    """One Gaussian step `x_{k+1} ~ N(mean, diag(std^2))`.

    Attributes:
        mean: `[B, D]`.
        std: `[B, D]`, per step (not multiplied by `sqrt(dt)`); zeros where the process has no noise.
        details: What the process wants to see again in its `diagnostics`, by name: a tensor `[B, ...]` or a scalar.
    """

    mean: torch.Tensor
    std: torch.Tensor
    details: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ChainEvaluation:
    """The `n` random transitions of stored chains, from one batched network pass.

    Attributes:
        logp: Log-probability on the configured scale, `[B]`.
        raw_logp: Sum over all steps and dimensions in nats, initial draw included, `[B]`.
        logp_divisor: What `raw_logp` is divided by: `(n + 1) * D`, or 1.
        entropy: On the configured scale, `[B]`.
        steps: Numbers `k` of the random steps.
        random_step: Where one step is random per decision (`n` is then 1), its number, int64 `[B]`; else None.
        mean: `[B, n, D]`.
        std: `[B, n, D]`.
        details: Of the transitions, by name: `[B, n, ...]`, or a scalar.
        logp_clamp_rate: Share of chains whose log-probability was clamped, scalar.
    """

    logp: torch.Tensor
    raw_logp: torch.Tensor
    logp_divisor: float
    entropy: torch.Tensor
    steps: range
    random_step: torch.Tensor | None
    mean: torch.Tensor
    std: torch.Tensor
    details: Mapping[str, torch.Tensor]
    logp_clamp_rate: torch.Tensor


MaskedSum = tuple[torch.Tensor, torch.Tensor]
"""A sum over some of the evaluated chains and their number, both scalars: their mean is taken over a whole update."""


def masked_sum(values: torch.Tensor, mask: torch.Tensor) -> MaskedSum:
    """Sum and number of the values `[B]` where `mask [B]` is true."""
    return torch.where(mask, values, torch.zeros_like(values)).sum(), mask.sum()
