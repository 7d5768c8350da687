"""The learning curve of an experiment, and a sweep over denoising steps, as PNGs."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.atomic import atomic_path
from rllib_scoreflow.files.json import parse_json
from rllib_scoreflow.reports import metrics

# Beyond this matplotlib's own arithmetic overflows.
_LARGEST_DRAWN = 1e100


def read_results(trial_folder: Path) -> list[dict[str, Any]]:
    """Return the flattened results of a trial in order, from Tune's result.json.

    Args:
        trial_folder: the trial's folder. A last line cut off by a crash is left out, and so is what was trained
            again after it.
    """
    path = trial_folder / "result.json"
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            try:
                content = parse_json(line, str(path))
            except InputError:
                continue
            if not isinstance(content, dict):
                continue
            row = metrics.flatten(content)
            # After a crash a trial goes on from its last checkpoint, which may lie some iterations back.
            while rows and _iteration(row, math.inf) <= _iteration(rows[-1], -math.inf):
                rows.pop()
            rows.append(row)
    return rows


def _iteration(row: Mapping[str, Any], unknown: float) -> float:
    number = metrics.number(row, ("training_iteration",))
    return unknown if number is None else number


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
    _finish(figure, axes, title, path)
    return path


def plot_against_steps(
    lines: Mapping[str, Sequence[tuple[int, float, float]]], quantity: str, title: str, path: Path
) -> None:
    """Draw a quantity with its standard error against the number of denoising steps.

    Args:
        lines: label -> (denoising steps, mean, standard error), NaN where there is none.
        quantity: what is drawn.
        title: the figure's title.
        path: the PNG to write (in one move).
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    for label, points in lines.items():
        steps, means, errors = zip(*points, strict=True)
        axes.errorbar(steps, means, yerr=errors, fmt="o-", markersize=4, capsize=3, label=label)
    ticks = sorted({point[0] for points in lines.values() for point in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, labels=[str(tick) for tick in ticks], minor=False)
    axes.set_xlabel("denoising steps K")
    axes.set_ylabel(f"{quantity} (mean, standard error)")
    _finish(figure, axes, title, path)


def curves(
    lines: Mapping[str, tuple[Sequence[Mapping[str, Any]], tuple[str, ...], tuple[str, ...]]],
    x_label: str,
    y_label: str,
    title: str,
    path: Path,
) -> Path | None:
    """Draw one result of several runs in one figure.

    Args:
        lines: label -> (flattened results in order, keys of x, keys of y).
        x_label: below the figure.
        y_label: beside it.
        title: above it.
        path: the PNG to write (in one move).

    Returns:
        `path`, or None when there is nothing to draw.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    found = {label: _series(*line) for label, line in lines.items()}
    if not any(x for x, _ in found.values()):
        return None
    for label, (x, y) in found.items():
        if x:
            axes.plot(x, y, ".-", markersize=4, label=label)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    _finish(figure, axes, title, path)
    return path


def _finish(figure: Any, axes: Any, title: str, path: Path) -> None:
    # Names are text, also with a $ in them, and short enough to be laid out.
    axes.set_title(textwrap.fill(shorten(title), 90), fontsize="medium", parse_math=False)
    axes.yaxis.label.set(text=shorten(axes.get_ylabel(), 80), parse_math=False)
    axes.grid(alpha=0.3)
    for text in axes.legend(fontsize="small").get_texts():
        text.set(text=shorten(text.get_text(), 80), parse_math=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _series(
    results: Sequence[Mapping[str, Any]], x_keys: tuple[str, ...], y_keys: tuple[str, ...]
) -> tuple[list[float], list[float]]:
    pairs = [(metrics.number(row, x_keys), metrics.number(row, y_keys)) for row in results]
    kept = [(x, y) for x, y in pairs if x is not None and y is not None and max(abs(x), abs(y)) < _LARGEST_DRAWN]
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
