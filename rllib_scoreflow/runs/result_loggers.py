"""Tune's loggers of results, which also log the evaluation before the training: as iteration 0, at 0 steps."""

from collections.abc import Mapping
from typing import Any

from ray.tune.logger import TBXLoggerCallback

from rllib_scoreflow.algorithms.common.algorithm import BEFORE_TRAINING
from rllib_scoreflow.reports import metrics
from rllib_scoreflow.runs.tune_adapter import ResultFile, ResultTable


def row_before_training(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the result of iteration 0 that a first result holds, or None where nothing was evaluated before it.

    Args:
        result: a trial's result.
    """
    before = result.get(BEFORE_TRAINING)
    if not before:
        return None
    kept = {key: result[key] for key in ("trial_id", "config", "date", "timestamp", "hostname", "pid") if key in result}
    counters = dict.fromkeys(("training_iteration", "iterations_since_restore", "env_steps", "time_total_s"), 0)
    return {**kept, **counters, "done": False, **before}


class _FromTheStart:
    """Mixin of a logger: a row of its own for what the first result holds of the time before it."""

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        log = super().log_trial_result  # type: ignore[misc]
        first, row = row_before_training(result), {key: result[key] for key in result if key != BEFORE_TRAINING}
        if first is not None:
            log(iteration, trial, self._beside(first, row))
        log(iteration, trial, row)

    def _beside(self, first: dict[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
        return first


class ResultRows(_FromTheStart, ResultFile):
    """Writes result.json."""


class TensorBoardRows(_FromTheStart, TBXLoggerCallback):  # type: ignore[misc, unused-ignore]
    """Writes TensorBoard's events."""


class ResultTableRows(_FromTheStart, ResultTable):
    """Writes progress.csv, whose columns are those of its first row."""

    def _beside(self, first: dict[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
        return dict.fromkeys(metrics.flatten(row)) | metrics.flatten(first)


def log_from_start(logger: type[Any]) -> type[Any]:
    """Return a logger class of Ray's, such as that of Weights & Biases, with a row for what precedes the training.

    Args:
        logger: a subclass of Ray's LoggerCallback.
    """
    return type(logger.__name__, (_FromTheStart, logger), {})
