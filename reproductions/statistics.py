"""Statistics over runs: robust means with bootstrap intervals, paired tests against a baseline, Holm's correction.

All by libraries: `rliable` (arXiv 2108.13264) for interquartile means, stratified bootstrap intervals and the
probability of improvement, scipy for the paired permutation test, statsmodels for the correction.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rliable import library, metrics
from scipy import stats
from statsmodels.stats.multitest import multipletests

_RESAMPLES = 2_000
_LEVEL = 0.95
_SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A method against the baseline, paired by task and seed.

    Attributes:
        difference: Mean of the paired differences, with a bootstrap interval.
        improvement: Probability that a run of the method is better than one of the baseline (not paired).
        p: Two-sided, of the exact paired permutation test.
        p_holm: The same after Holm's correction over the methods.
        pairs: Number of pairs.
    """

    difference: Estimate
    improvement: Estimate
    p: float
    p_holm: float
    pairs: int

    @property
    def smallest_p(self) -> float:
        """What the test gives at best with so few pairs."""
        return 2.0 / 2**self.pairs


def interquartile_means(scores: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Interquartile mean of every method, with a bootstrap interval stratified by task.

    Args:
        scores: method -> [runs, tasks].
    """
    return _intervals(dict(scores), lambda values: np.array([metrics.aggregate_iqm(values)]))


def compare(scores: Mapping[str, np.ndarray], baseline: str) -> dict[str, Comparison]:
    """Every other method against the baseline.

    Args:
        scores: method -> [seeds, tasks], the same seeds in the same order for all; the differences are paired.
        baseline: name of the method that the others are compared with.

    Raises:
        ValueError: a method has other seeds than the baseline, or there are fewer than two.
    """
    base = scores[baseline]
    others = {name: values for name, values in scores.items() if name != baseline}
    for name, values in others.items():
        if values.shape != base.shape or base.shape[0] < 2:
            raise ValueError(f"{name} has scores {values.shape} and {baseline} {base.shape}; they must be paired.")
    if not others:
        return {}
    p_values = [_permutation_p((values - base).ravel()) for values in others.values()]
    corrected = multipletests(p_values, method="holm")[1]
    return {
        name: Comparison(_difference(values - base), _improvement(name, values, base), p, float(holm), base.size)
        for (name, values), p, holm in zip(others.items(), p_values, corrected, strict=True)
    }


def _permutation_p(differences: np.ndarray) -> float:
    if not differences.any():
        return 1.0
    result = stats.permutation_test(
        (differences, np.zeros_like(differences)), lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples", vectorized=True, n_resamples=np.inf if differences.size <= 15 else _RESAMPLES,
        rng=np.random.default_rng(_SEED),
    )  # fmt: skip
    return float(result.pvalue)


def _difference(differences: np.ndarray) -> Estimate:
    found = _intervals({"difference": differences}, lambda values: np.array([np.mean(values)]))
    return found["difference"]


def _improvement(name: str, values: np.ndarray, base: np.ndarray) -> Estimate:
    pair = {name: (values, base)}
    return _intervals(pair, lambda x, y: np.array([metrics.probability_of_improvement(x, y)]))[name]


def _intervals(scores: Mapping[str, Any], statistic: Callable[..., np.ndarray]) -> dict[str, Estimate]:
    # rliable draws from numpy's global generator whatever it is handed; its state is given back.
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(_SEED)  # noqa: NPY002
    try:
        points, bounds = library.get_interval_estimates(
            scores, statistic, reps=_RESAMPLES, confidence_interval_size=_LEVEL
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return {name: Estimate(float(points[name][0]), *map(float, bounds[name][:, 0])) for name in scores}
