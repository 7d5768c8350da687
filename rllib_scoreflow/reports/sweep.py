"""The table and the plot of an experiment with several trials: at its end, and by ``rllib sweep report``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from rllib_scoreflow.reports import metrics
from rllib_scoreflow.reports.plots import curves
from rllib_scoreflow.reports.trials import Trial, choose_metric, read_description, read_trials
from rllib_scoreflow.terminal import wide_console

SWEEP_PLOT = "sweep.png"


@dataclass(frozen=True)
class Sweep:
    """An experiment's trials, the best first.

    Attributes:
        about: what the folder says of itself.
        metric: by which they are sorted, with the result keys that may hold it.
        keys: those keys.
        more_is_better: the order.
        trials: sorted by the last value; those without one come last.
    """

    about: Mapping[str, Any]
    metric: str
    keys: tuple[str, ...]
    more_is_better: bool
    trials: Sequence[Trial]

    def best(self, trial: Trial) -> float | None:
        """The best value of a trial's."""
        return (max if self.more_is_better else min)(trial.values(self.keys), default=None)

    def is_chosen(self, trial: Trial) -> bool:
        """Whether this trial stands for the experiment: its checkpoint and policy are the experiment's."""
        return str(self.about.get("checkpoint") or "").startswith(f"{trial.name}/")


def read_sweep(folder: Path, metric: str | None = None) -> Sweep:
    """Read an experiment's folder.

    Args:
        folder: ``<results-dir>/<file>/<experiment>``, finished or not.
        metric: by which to sort; None: the experiment's own, or the evaluation, return or loss that it reports.

    Raises:
        InputError: the folder is none of an experiment, or no trial reports the metric.
    """
    about = read_description(folder)
    trials = read_trials(folder, about)
    name, keys, more = choose_metric(trials, about, metric)
    sign = -1.0 if more else 1.0

    def place(trial: Trial) -> tuple[bool, float]:
        value = trial.last(keys)
        return value is None, 0.0 if value is None else sign * value

    return Sweep(about, name, keys, more, sorted(trials, key=place))


def draw_sweep(sweep: Sweep, path: Path) -> Path | None:
    """Draw the metric of every trial against environment steps, or iterations where there are none.

    Args:
        sweep: the trials.
        path: the PNG to write, in one move.

    Returns:
        `path`, or None when no trial has reported anything.
    """
    by_steps = any(trial.last(metrics.STEPS) for trial in sweep.trials)
    x_keys = metrics.STEPS if by_steps else ("epoch", "training_iteration")
    lines = {_label(trial): (trial.rows, x_keys, sweep.keys) for trial in sweep.trials}
    title = f"{sweep.about.get('experiment')} ({sweep.about.get('run')})"
    return curves(lines, "environment steps" if by_steps else "iterations", sweep.metric, title, path)


def _label(trial: Trial) -> str:
    number = trial.name.removeprefix("trial_").split("_", maxsplit=1)[0].lstrip("0") or "0"
    return ", ".join([number, *(f"{key.rpartition('.')[2]}={_text(value)}" for key, value in trial.parameters.items())])


def table_of(sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the table of trials as texts; * marks the one whose policy is exported.

    Args:
        sweep: the trials.
    """
    keys = list(dict.fromkeys(key for trial in sweep.trials for key in trial.parameters))
    rows = [
        [
            "_".join(trial.name.split("_")[:2]) + (" *" if sweep.is_chosen(trial) else ""),
            *(_text(trial.parameters.get(key, "")) for key in keys),
            trial.status,
            _count(trial.last(("training_iteration",))),
            _count(trial.last(metrics.STEPS)),
            _figure(trial.last(sweep.keys)),
            _figure(sweep.best(trial)),
        ]
        for trial in sweep.trials
    ]
    return ["trial", *keys, "status", "iterations", "env steps", f"last {sweep.metric}", "best"], rows


def print_sweep(console: Console, sweep: Sweep) -> None:
    """Print the table of trials.

    Args:
        console: where.
        sweep: the trials.
    """
    headings, rows = table_of(sweep)
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("trial", "status") else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if any(sweep.is_chosen(trial) for trial in sweep.trials):
        console.print("* the experiment's checkpoint and policy are this trial's", markup=False)


def as_plain(sweep: Sweep, plot: Path | None) -> dict[str, Any]:
    """Return the whole of a sweep as plain data.

    Args:
        sweep: the trials.
        plot: the plot's path.
    """
    return {
        "experiment": sweep.about.get("experiment"),
        "metric": sweep.metric,
        "mode": "max" if sweep.more_is_better else "min",
        "plot": None if plot is None else str(plot),
        "trials": [
            {
                "trial": trial.name,
                "chosen": sweep.is_chosen(trial),
                "parameters": dict(trial.parameters),
                "status": trial.status,
                "iterations": trial.last(("training_iteration",)),
                "env_steps": trial.last(metrics.STEPS),
                "last": trial.last(sweep.keys),
                "best": sweep.best(trial),
            }
            for trial in sweep.trials
        ],
    }


def report_sweep(folder: Path, metric: str | None, *, as_json: bool) -> None:
    """Print the table of an experiment's trials and draw their curves into its ``sweep.png``.

    Args:
        folder: the experiment's folder, finished or not.
        metric: by which to sort, or None for the experiment's own.
        as_json: print JSON and nothing else.

    Raises:
        InputError: as `read_sweep`.
    """
    sweep = read_sweep(folder, metric)
    plot = draw_sweep(sweep, folder / SWEEP_PLOT)
    if as_json:
        print(json.dumps(as_plain(sweep, plot), indent=2, default=str))
        return
    print_sweep(wide_console(), sweep)
    if plot is not None:
        print(f"plot: {plot}")


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
