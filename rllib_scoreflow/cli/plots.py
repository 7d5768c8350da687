"""The learning curve of an experiment as a PNG."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rllib_scoreflow.cli import metrics


def read_results(trial_folder: Path) -> list[dict[str, Any]]:
    """Return the flattened results of a trial in order, from Tune's result.json.

    Args:
        trial_folder: the trial's folder. A last line cut off by a crash is left out.
    """
    path = trial_folder / "result.json"
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(metrics.flatten(json.loads(line)))
        except ValueError:
            continue
    return rows


def learning_curve(trials: Mapping[str, Sequence[Mapping[str, Any]]], title: str, path: Path) -> Path | None:
    """Draw return against environment steps, or losses against epochs where no return was measured.

    Args:
        trials: label -> flattened results in order.
        title: the figure's title.
        path: the PNG to write (in one move).

    Returns:
        `path`, or None when there is nothing to draw.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    rows = [row for results in trials.values() for row in results]
    pretraining = any("train_loss" in row for row in rows)
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    drawn = (_draw_losses if pretraining else _draw_returns)(axes, trials)
    if not drawn:
        return None
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.png")
    try:
        figure.savefig(temporary, dpi=150)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _series(
    results: Sequence[Mapping[str, Any]], x_keys: tuple[str, ...], y_keys: tuple[str, ...]
) -> tuple[list[float], list[float]]:
    pairs = [(metrics.number(row, x_keys), metrics.number(row, y_keys)) for row in results]
    kept = [(x, y) for x, y in pairs if x is not None and y is not None]
    return [x for x, _ in kept], [y for _, y in kept]


def _draw_returns(axes: Any, trials: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return of an episode")
    drawn = False
    for label, results in trials.items():
        for kind, keys, style in (
            ("with exploration", metrics.RETURN, ".-"),
            ("evaluation", metrics.EVAL_RETURN, "o-"),
        ):
            x, y = _series(results, metrics.STEPS, keys)
            if x:
                axes.plot(x, y, style, markersize=4, label=f"{label} {kind}".strip())
                drawn = True
    return drawn


def _draw_losses(axes: Any, trials: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.set_yscale("log")
    drawn = False
    for label, results in trials.items():
        for key in ("train_loss", "validation_loss"):
            x, y = _series(results, ("epoch", "training_iteration"), (key,))
            if x:
                axes.plot(x, y, ".-", label=f"{label} {key}".strip())
                drawn = True
    return drawn
