"""Metrics of an update: where the SDE, the ratio and the critic stand."""

import torch

from rllib_scoreflow.flow.distribution import ChainEvaluation
from rllib_scoreflow.flow.sde import marginal_preserving_alpha


class MeanOverRows:
    """Means over all rows of an update, kept as sums on the device (no synchronisation per step).

    Attributes:
        sums: Sum over rows by metric.
        first: Mean of the first addition by metric, that is, before the first optimiser step.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.sums: dict[str, torch.Tensor] = {}
        self.rows: dict[str, int] = {}
        self.first: dict[str, torch.Tensor] = {}

    def add(self, values: dict[str, torch.Tensor], rows: int) -> None:
        """Adds per-row values `[rows]`, or scalars that stand for `rows` rows."""
        for name, value in values.items():
            detached = value.detach()
            total = detached.sum() if detached.dim() else detached * rows
            self.first.setdefault(name, total / rows)
            self.sums[name] = self.sums[name] + total if name in self.sums else total
            self.rows[name] = self.rows.get(name, 0) + rows

    def merge(self, other: "MeanOverRows") -> None:
        """Adds the sums of another collection."""
        for name, total in other.sums.items():
            self.sums[name] = self.sums[name] + total if name in self.sums else total
            self.rows[name] = self.rows.get(name, 0) + other.rows[name]
        for name, value in other.first.items():
            self.first.setdefault(name, value)

    def means(self) -> dict[str, float]:
        """Mean per metric."""
        return {name: float(total) / self.rows[name] for name, total in self.sums.items()}


def chain_diagnostics(evaluation: ChainEvaluation, old_logp: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scalars that say where the SDE stands.

    `alpha_ratio/step_k` is `alpha / alpha*` (method section 5): 1 preserves the flow's marginals, below it they widen,
    above it they contract. `kl_chain` is the approximate KL in nats of the whole chain.

    Args:
        evaluation: Of `B` chains with `K` steps.
        old_logp: Log-probability at sampling time, on the configured scale, `[B]`.
    """
    std = evaluation.std.detach()
    steps = std.shape[1]
    dt = 1.0 / steps
    alpha = evaluation.alpha.detach()
    ratio = alpha / marginal_preserving_alpha(std, dt).mean(dim=(0, 2))
    log_ratio = (evaluation.logp - old_logp).detach() * evaluation.logp_divisor
    metrics = {
        "kl_chain": log_ratio.exp() - 1.0 - log_ratio,
        "score_clip_rate": evaluation.score_clip_rate,
        "logprob_clamp_rate": evaluation.logp_clamp_rate,
        "sigma_min": std.amin(),
        "sigma_mean": std.mean(),
        "sigma_max": std.amax(),
    }
    for k in range(steps):
        metrics[f"alpha/step_{k}"] = alpha[k]
        metrics[f"alpha_ratio/step_{k}"] = ratio[k]
    return metrics


def explained_variance(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    """`1 - var(target - prediction) / var(target)` of values `[B]`; at most 1, 0 for a constant prediction."""
    variance = float(targets.var(unbiased=False))
    if variance == 0.0:
        return 0.0
    return 1.0 - float((targets - predictions).var(unbiased=False)) / variance


def sum_over_learners(value: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor over all Learners; the tensor itself with one Learner."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return value
    reduced = value.detach().clone()
    torch.distributed.all_reduce(reduced)
    return reduced
