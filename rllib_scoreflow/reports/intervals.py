"""Confidence intervals of what an evaluation found."""

import math
from statistics import NormalDist

COVERAGE = 0.95
_Z = NormalDist().inv_cdf(0.5 + COVERAGE / 2)  # 1.96


def mean_interval(mean: float, error: float) -> tuple[float, float]:
    """Return the 95 % interval of a mean from its standard error, by the normal distribution.

    Args:
        mean: of the episodes.
        error: its standard error.
    """
    return mean - _Z * error, mean + _Z * error


def share_interval(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a probability, which is sensible at shares of 0 and 1 too.

    Args:
        share: of the episodes that succeeded, 0 to 1.
        count: number of episodes, at least 1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    square = _Z * _Z / count
    centre = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)
