"""Metrics of an update: where the denoising process, the ratio and the critic stand."""

import torch

from rllib_scoreflow.algorithms.common.exchange import sum_over_learners
from rllib_scoreflow.flow.config import SDEConfig, VelocityConfig
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.processes import make_process
from rllib_scoreflow.flow.transition import MaskedSum


class MeanOverRows:
    """Means over all rows of an update, kept as sums on the device (no synchronisation per step).

    Attributes:
        sums: By metric, the sum over rows and the number of rows, `[2]`.
        first: The same of the first addition or merge, that is, before the first optimiser step.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.sums: dict[str, torch.Tensor] = {}
        self.first: dict[str, torch.Tensor] = {}

    def add(self, values: dict[str, torch.Tensor | MaskedSum], rows: int) -> None:
        """Adds per-row values `[rows]`, scalars that stand for `rows` rows, or sums over some rows and their number."""
        for name, value in values.items():
            if isinstance(value, tuple):
                total, count = value
                self._add(name, torch.stack([total.detach(), count.to(total.dtype)]))
                continue
            detached = value.detach()
            total = detached.sum() if detached.dim() else detached * rows
            self._add(name, torch.stack([total, torch.full_like(total, rows)]))

    def merge(self, other: "MeanOverRows", *, counts: bool = True) -> None:
        """Adds the sums of another collection; only its names if its rows do not count.

        All Learners must know the same metrics when they exchange them, whoever had rows.
        """
        for name, pair in other.sums.items():
            self._add(name, pair if counts else torch.zeros_like(pair))

    def means(self) -> dict[str, float]:
        """Mean per metric over the rows of all Learners."""
        return _means(self.sums)

    def first_means(self) -> dict[str, float]:
        """Mean per metric of what every Learner added first."""
        return _means(self.first)

    def _add(self, name: str, pair: torch.Tensor) -> None:
        self.first.setdefault(name, pair)
        self.sums[name] = self.sums[name] + pair if name in self.sums else pair


def _means(sums: dict[str, torch.Tensor]) -> dict[str, float]:
    if not sums:
        return {}
    totals = sum_over_learners(torch.stack(list(sums.values())).double())
    # Of a small update no chain may have had its random step at a given number.
    return {name: total / count for name, (total, count) in zip(sums, totals.tolist(), strict=True) if count}


def process_names(config: SDEConfig) -> tuple[set[str], set[str]]:
    """Names of the trained networks, and of the diagnostics, of a process that does not exist yet.

    A tiny one is built and asked: a declaration of its own could go stale.
    """
    small = config.model_copy(update={"velocity": VelocityConfig(hidden_dim=1, num_layers=1)})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        process = make_process(1, 1, small)
        networks = {name for name, network in process.networks().items() if any(True for _ in network.parameters())}
        if not process.is_stochastic:
            return networks, set()
        steps = config.chain.denoising_steps
        chains = ChainDistribution(process, torch.zeros(1, 1))
        evaluation = chains.evaluate(torch.zeros(1, steps + 1, 1), chains.draw_step())
        return networks, set(process.diagnostics(evaluation))


def explained_variance(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    """`1 - var(target - prediction) / var(target)` of all Learners' values.

    Args:
        predictions: This Learner's, `[B]`.
        targets: `[B]`.

    Returns:
        At most 1; 0 where the targets are all the same.
    """
    variance = _variance(targets)
    return 0.0 if variance == 0.0 else 1.0 - _variance(targets - predictions) / variance


def _variance(values: torch.Tensor) -> float:
    values = values.double()
    count = sum_over_learners(torch.full_like(values[0], len(values)))
    mean = sum_over_learners(values.sum()) / count
    return float(sum_over_learners((values - mean).square().sum()) / count)
