"""When a trial ends, and how far it is on the way there."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray.tune import Stopper

from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.experiments.checks.result_keys import ResultKeys
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.reports.metrics import GROWING, flatten, number

_SCORE = "checkpoint_score_attribute"
_LESS_IS_BETTER = "min-"


def check_stop(stop: Mapping[str, Any], where: str, keys: ResultKeys) -> dict[str, float]:
    """Check that every key of ``stop`` can end a run, and turn those of the old API stack into today's.

    Args:
        stop: result key -> value.
        where: the start of the message.
        keys: the results that the run reports.

    Returns:
        Result key -> value, with today's keys.

    Raises:
        InputError: a trial never reports a key, or never its value.
    """
    checked: dict[str, float] = {}
    for key, value in stop.items():
        what = f"{where}: stop.{shorten(key)}"
        if not math.isfinite(value):
            raise InputError(f"{what} is {value}, which is never reached; give a finite number.")
        today = keys.current_key(key, what)
        keys.check_reachable(today, value, what)
        checked[today] = float(value)
    return checked


def check_results(experiment: Experiment, keys: ResultKeys) -> Experiment:
    """Check the results by which checkpoints are kept and trials are compared, as `check_stop` does.

    Args:
        experiment: the experiment.
        keys: the results that its trials report.

    Returns:
        The experiment with today's keys.

    Raises:
        InputError: a trial never reports one of them, or counts time in one that may shrink.
    """
    where, checkpoint, settings = experiment.where, dict(experiment.checkpoint), dict(experiment.settings)
    if checkpoint.get(_SCORE) is not None:
        checkpoint |= _score(checkpoint[_SCORE], f"{where}: checkpoint_config.{_SCORE}", keys)
    if settings.get("metric") is not None:
        settings["metric"] = keys.current_key(settings["metric"], f"{where}: metric {quote(settings['metric'])}")
    scheduler = dict(settings.get("scheduler_config") or {})
    for key in ("metric", "reward_attr"):
        if isinstance(scheduler.get(key), str):
            scheduler[key] = keys.current_key(
                scheduler[key], f"{where}: scheduler_config.{key} {quote(scheduler[key])}"
            )
    if isinstance(scheduler.get("time_attr"), str):
        what = f"{where}: scheduler_config.time_attr {quote(scheduler['time_attr'])}"
        scheduler["time_attr"] = keys.current_key(scheduler["time_attr"], what)
        if not keys.grows(scheduler["time_attr"]):
            raise InputError(f"{what} is no measure of time, as it does not only grow; take 'training_iteration'.")
    if settings.get("scheduler_config") is not None:
        settings["scheduler_config"] = scheduler
    return replace(experiment, checkpoint=checkpoint, settings=settings)


def _score(attribute: str, what: str, keys: ResultKeys) -> dict[str, str]:
    """The arguments of CheckpointConfig; the old command wrote ``min-`` before what is better when it is less."""
    if attribute.startswith(_LESS_IS_BETTER):
        name = attribute.removeprefix(_LESS_IS_BETTER)
        return {_SCORE: keys.current_key(name, f"{what} {quote(name)}"), "checkpoint_score_order": "min"}
    return {_SCORE: keys.current_key(attribute, f"{what} {quote(attribute)}")}


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
        return any(_is_reached(number(flat, (key,)), value) for key, value in self.stop.items())

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


def _is_reached(value: float | None, target: float) -> bool:
    return value is not None and value >= target
