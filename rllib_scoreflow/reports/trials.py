"""What the folders of an experiment's trials say, from their JSON alone: nothing is unpickled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.reports import metrics, run_folder
from rllib_scoreflow.reports.plots import read_results
from rllib_scoreflow.reports.run_folder import read_stage_file
from rllib_scoreflow.suggest import hint

# By what trials are compared when the experiment does not say: result keys, and whether more is better.
JUDGED_BY: tuple[tuple[tuple[str, ...], bool], ...] = (
    (metrics.EVAL_RETURN, True),
    (metrics.RETURN, True),
    (("validation_loss",), False),
    (("train_loss",), False),
)


@dataclass(frozen=True)
class Trial:
    """One trial of an experiment.

    Attributes:
        name: of its folder, such as ``trial_00001_lr=0.001``.
        folder: that folder.
        status: "finished", "stopped early" (by the scheduler), "failed" or "unfinished".
        parameters: dotted config key -> value, of those keys that the trials differ in.
        rows: its flattened results in order.
    """

    name: str
    folder: Path
    status: str
    parameters: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    def last(self, keys: tuple[str, ...]) -> float | None:
        """The last reported value of a result."""
        return next(reversed(self.values(keys)), None)

    def values(self, keys: tuple[str, ...]) -> list[float]:
        """All values of a result in order, without what was evaluated before the training and is none of its doing."""
        trained = [row for row in self.rows if row.get("training_iteration") != 0]
        return [value for row in trained if (value := metrics.number(row, keys)) is not None]


def read_description(folder: Path) -> dict[str, Any]:
    """Return what an experiment's folder says of itself: experiment.json with done.json laid over it.

    Args:
        folder: the folder.

    Raises:
        InputError: it is none of an experiment, or one of the files is damaged.
    """
    found = [read_stage_file(folder / name) for name in (run_folder.BEGUN_JSON, run_folder.DONE_JSON)]
    if found == [None, None]:
        raise InputError(f"{folder} is no experiment's folder (no {run_folder.BEGUN_JSON}); give DIR/FILE/EXPERIMENT.")
    begun, done = (content or {} for content in found)
    return {**begun, **{key: value for key, value in done.items() if value is not None}}


def read_trials(folder: Path, about: Mapping[str, Any]) -> list[Trial]:
    """Read the trials of an experiment in the order of their numbers.

    Args:
        folder: the experiment's folder.
        about: from `described`.

    Returns:
        The trials that have begun.
    """
    folders = sorted(path.parent for path in folder.glob("trial_*/params.json"))
    params = {path: _flat(run_folder.read_json(path / "params.json") or {}) for path in folders}
    keys = list(about.get("swept") or _find_differing(list(params.values())))
    stop = about.get("stop") or {}
    trials = []
    for path, values in params.items():
        rows = read_results(path)
        chosen = {key: values[key] for key in keys if key in values}
        trials.append(Trial(path.name, path, _status(path, rows, stop), chosen, rows))
    return trials


def choose_metric(
    trials: Sequence[Trial], about: Mapping[str, Any], metric: str | None
) -> tuple[str, tuple[str, ...], bool]:
    """Return by what to compare trials: its name, its result keys, and whether more is better.

    Args:
        trials: the trials.
        about: from `described`; its metric counts before what is usual.
        metric: what the user asked for, or None.

    Raises:
        InputError: no trial reports what the user asked for.
    """
    reported = {key for trial in trials for row in trial.rows for key in row}
    if metric is not None and metric not in reported and reported:
        raise InputError(f"--metric {metric}: no trial reports that; {hint(metric, reported, 'they report')}")
    wanted = metric or about.get("metric")
    for keys, more in JUDGED_BY:
        if wanted in keys or (wanted is None and any(trial.values(keys) for trial in trials)):
            return wanted or next(key for key in keys if key in reported), keys, _more(about, wanted, more)
    name = wanted or JUDGED_BY[1][0][0]
    return name, (name,), _more(about, name, "loss" not in name)


def _more(about: Mapping[str, Any], name: str | None, usual: bool) -> bool:
    return bool(about["mode"] == "max") if about.get("mode") and name == about.get("metric") else usual


def _status(folder: Path, rows: Sequence[Mapping[str, Any]], stop: Mapping[str, float]) -> str:
    last = rows[-1] if rows else {}
    if last.get("done"):
        values = {key: metrics.number(last, (key,)) for key in stop}
        reached = any(value is not None and value >= stop[key] for key, value in values.items())
        return "finished" if reached else "stopped early"
    return "failed" if (folder / "error.txt").is_file() else "unfinished"


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat[f"{prefix}{key}"] = value
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
    return flat


def _find_differing(params: Sequence[Mapping[str, Any]]) -> list[str]:
    if not params:
        return []
    first = params[0]
    return [
        key
        for key, value in first.items()
        if not isinstance(value, Mapping) and any(other.get(key) != value for other in params[1:])
    ]
