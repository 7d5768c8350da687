"""What an evaluation found."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rllib_scoreflow.data.catalog import normalized_score


@dataclass(frozen=True)
class EvaluationResult:
    """Outcome of a fixed number of episodes.

    Attributes:
        env_id: the id that was asked for.
        backend: simulator that ran it, "gymnasium" or "envpool".
        seed: seed of the initial states.
        returns: undiscounted return of each episode, ordered by sub environment and time.
        lengths: primitive environment steps of each episode.
        successes: 1 or 0 for each episode, None where the environment does not say.
        metrics: further figures of the environment by name, one for each episode, NaN where it does
            not say.
        is_standard: whether the environment is the one for which D4RL's score of its id is defined.
        success_rule: "last" where the last step of an episode decides its success, "any" where any step does.
    """

    env_id: str
    backend: str
    seed: int
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    successes: tuple[float | None, ...]
    metrics: dict[str, tuple[float, ...]] = field(default_factory=dict)
    is_standard: bool = True
    success_rule: str = "last"

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.returns)

    @property
    def env_steps(self) -> int:
        """Primitive environment steps of all episodes."""
        return sum(self.lengths)

    @property
    def return_mean(self) -> float:
        """Mean return."""
        return statistics.fmean(self.returns)

    @property
    def return_stderr(self) -> float:
        """Standard error of the mean return, NaN for a single episode."""
        return standard_error(self.returns)

    @property
    def length_mean(self) -> float:
        """Mean episode length in primitive steps."""
        return statistics.fmean(self.lengths)

    @property
    def success_rate(self) -> float | None:
        """Share of successful episodes, None unless the environment reports every one of them."""
        known = [success for success in self.successes if success is not None]
        return statistics.fmean(known) if len(known) == self.episodes else None

    @property
    def success_stderr(self) -> float | None:
        """Standard error of the success rate, NaN for a single episode, None where the rate is None."""
        known = [success for success in self.successes if success is not None]
        return standard_error(known) if len(known) == self.episodes else None

    @property
    def metric_means(self) -> dict[str, float]:
        """Mean of every metric over the episodes that have it."""
        return {name: statistics.fmean(values) for name, values in self._known_metrics().items()}

    @property
    def metric_stderrs(self) -> dict[str, float]:
        """Standard error of each of these means, NaN for a single episode."""
        return {name: standard_error(values) for name, values in self._known_metrics().items()}

    def _known_metrics(self) -> dict[str, list[float]]:
        known = {name: [v for v in values if not math.isnan(v)] for name, values in self.metrics.items()}
        return {name: values for name, values in known.items() if values}

    @property
    def normalized_score(self) -> float | None:
        """D4RL's score in percent (0 random, 100 expert), None without reference returns for this environment."""
        return normalized_score(self.env_id, self.return_mean) if self.is_standard else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, of the metrics means and standard errors; what is not defined is None."""
        return {
            "env_id": self.env_id,
            "backend": self.backend,
            "seed": self.seed,
            "episodes": self.episodes,
            "env_steps": self.env_steps,
            "return_mean": self.return_mean,
            "return_stderr": none_if_undefined(self.return_stderr),
            "length_mean": self.length_mean,
            "success_rate": self.success_rate,
            "success_stderr": none_if_undefined(self.success_stderr),
            "success_rule": self.success_rule,
            "normalized_score": self.normalized_score,
            "metrics": self.metric_means,
            "metric_stderrs": {name: none_if_undefined(error) for name, error in self.metric_stderrs.items()},
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "successes": list(self.successes),
        }


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean (from the unbiased variance), NaN for fewer than two values.

    Args:
        values: of a sample.
    """
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def none_if_undefined(value: float | None) -> float | None:
    """Return a figure as JSON has it: None in place of NaN.

    Args:
        value: a mean or a standard error.
    """
    return None if value is None or math.isnan(value) else value
