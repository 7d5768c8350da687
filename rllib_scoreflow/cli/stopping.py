"""When a trial ends, and how far it is on the way there."""

from collections.abc import Mapping
from typing import Any

from ray.tune import Stopper

from rllib_scoreflow.cli.metrics import GROWING, KNOWN_KEYS, OLD_KEYS, flatten, number
from rllib_scoreflow.cli.suggest import nearest
from rllib_scoreflow.errors import InputError


def check_stop(stop: Mapping[str, Any], where: str) -> dict[str, float]:
    """Check the keys of ``stop`` and turn those of the old API stack into today's.

    Args:
        stop: result key -> value.
        where: the start of the message.

    Returns:
        Result key -> value, with today's keys.

    Raises:
        InputError: a key looks like a misspelt one (a run may report keys that are not known
        beforehand).
    """
    checked: dict[str, float] = {}
    for key, value in stop.items():
        today = OLD_KEYS.get(key, key)
        _check_result(today, f"{where}: stop.{key}")
        checked[today] = float(value)
    return checked


def check_metric(metric: str | None, where: str) -> None:
    """Check the result by which trials are compared, as `check_stop` does.

    Args:
        metric: a result key, or None.
        where: the start of the message.

    Raises:
        InputError: it looks like a misspelt one.
    """
    if metric is not None:
        _check_result(metric, f"{where}: metric {metric!r}")


def _check_result(key: str, what: str) -> None:
    if key not in KNOWN_KEYS and "/" not in key:
        guess = nearest(key, {*KNOWN_KEYS, *OLD_KEYS})
        if guess is not None:
            raise InputError(f"{what} is no result of a run; did you mean {guess!r}?")


class FirstReached(Stopper):  # type: ignore[misc, unused-ignore]
    """Stops a trial as soon as one result reaches its value (the old meaning of ``stop``).

    Args:
        stop: result key -> value, from `check_stop`.
    """

    def __init__(self, stop: Mapping[str, float]) -> None:
        self.stop = dict(stop)

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Say whether the trial that reported `result` is done."""
        flat = flatten(result)
        return any(_reached(number(flat, (key,)), value) for key, value in self.stop.items())

    def stop_all(self) -> bool:
        """Never ends the other trials."""
        return False


def share_done(stop: Mapping[str, float], flat: Mapping[str, Any]) -> float | None:
    """Return how far a trial is towards its end, from 0 to 1, or None when that is not known.

    Args:
        stop: result key -> value.
        flat: the trial's newest flattened result.
    """
    shares = [
        min(value / stop[key], 1.0)
        for key in stop
        if key in GROWING and stop[key] > 0 and (value := number(flat, (key,))) is not None
    ]
    return max(shares, default=None)


def _reached(value: float | None, target: float) -> bool:
    return value is not None and value >= target
