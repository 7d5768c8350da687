"""The figures of a study as PNG files, from its results alone."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproductions import tables
from reproductions.collect import ATTRIBUTION_ROWS
from reproductions.measures import RUN, summarise_runs
from reproductions.statistics import interquartile_means
from reproductions.study import Study
from reproductions.tables import ROW_NAMES, attributed_runs, finished_runs, ordered_methods, threshold_steps

_DPI = 130
_GRID = 100
_MOST_IN_ONE_PANEL = 5


def draw_curves(study: Study, results: pd.DataFrame, task: str, path: Path) -> None:
    """Learning curves with exploration noise: mean over seeds and its standard error, the baseline in every panel."""
    runs = finished_runs(study, results, task)
    metric = study.tasks[task].metric
    methods = [name for name in ordered_methods(study, runs["method"]) if name != study.baseline]
    panels = [methods[start : start + _MOST_IN_ONE_PANEL] for start in range(0, len(methods), _MOST_IN_ONE_PANEL)]
    figure, axes = _panels(max(len(panels), 1))
    colours = mpl.colormaps["tab10"]
    for axis, names in zip(axes, panels or [[]], strict=True):
        _draw_curve(axis, runs[runs["method"] == study.baseline], metric, study.baseline, "black")
        for index, name in enumerate(names):
            _draw_curve(axis, runs[runs["method"] == name], metric, name, colours(index))
        axis.set_xlabel("environment steps (million)")
        axis.legend(fontsize=8, loc="upper left")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"{_word(metric)}, with exploration")
    figure.suptitle(f"{task}: mean over seeds, band: standard error")
    _save(figure, path)


def _draw_curve(axis: Axes, runs: pd.DataFrame, metric: str, name: str, colour: object) -> None:
    curves = []
    ends = []
    for _, run in runs.groupby(RUN):
        known = run.sort_values("env_steps").dropna(subset=[metric])
        curves.append((known["env_steps"].to_numpy(float), known[metric].to_numpy(float)))
        ends.append(curves[-1][0][-1])
    if not curves:
        return
    grid = np.linspace(max(steps[0] for steps, _ in curves), min(ends), _GRID)
    values = np.stack([np.interp(grid, *curve) for curve in curves])
    mean = values.mean(axis=0)
    axis.plot(grid / 1e6, mean, label=f"{name} ({len(curves)})", color=colour, linewidth=1.6)
    if len(curves) > 1:
        error = values.std(axis=0, ddof=1) / np.sqrt(len(curves))
        axis.fill_between(grid / 1e6, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)


def draw_areas(study: Study, results: pd.DataFrame, task: str, path: Path) -> None:
    """Interquartile means of the area under the curve with 95 % intervals, and of the end without noise."""
    summary = summarise_runs(finished_runs(study, results, task), study.tasks[task].metric)
    methods = ordered_methods(study, summary["method"])
    ends = attributed_runs(study, results, task)
    measures = [("area under the curve, with exploration", summary, "auc")]
    measures += [("end, without noise", ends, "e"), ("end, zero start", ends, "f")] if not ends.empty else []
    figure, axes = _panels(len(measures), height=0.9 + 0.33 * len(methods), share_y=True)
    for axis, (title, table, column) in zip(axes, measures, strict=True):
        known = table.dropna(subset=[column])
        found = interquartile_means(tables.score_arrays(known, column))
        for place, name in enumerate(methods):
            if name in found:
                estimate = found[name]
                axis.plot([estimate.low, estimate.high], [place, place], color="tab:blue", linewidth=6, alpha=0.35)
                axis.plot(estimate.value, place, "|", color="black", markersize=12)
                scores = known.loc[known["method"] == name, column]
                axis.plot(scores, [place] * len(scores), ".", color="tab:orange", markersize=4)
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3, axis="x")
    _name_rows(axes[0], methods)
    figure.suptitle(f"{task}: interquartile mean, 95 % interval, and the runs")
    _save(figure, path)


def draw_attribution(study: Study, results: pd.DataFrame, task: str, path: Path) -> None:
    """Rows (a) to (g) of every method, mean over seeds with standard errors."""
    runs = attributed_runs(study, results, task)
    methods = ordered_methods(study, runs["method"])
    figure = Figure(figsize=(4.2 + 1.25 * len(methods), 3.8), layout="constrained")
    axis = figure.subplots()
    colours = mpl.colormaps["tab10"]
    width = 0.8 / len(ATTRIBUTION_ROWS)
    for index, row in enumerate(ATTRIBUTION_ROWS):
        groups = [runs.loc[runs["method"] == name, row].to_numpy(float) for name in methods]
        places = np.arange(len(methods)) + (index - 3) * width
        errors = [np.std(group, ddof=1) / np.sqrt(len(group)) if len(group) > 1 else 0.0 for group in groups]
        axis.bar(places, [group.mean() for group in groups], width, yerr=errors, color=colours(index),
                 label=f"({row}) {ROW_NAMES[row]}", error_kw={"linewidth": 0.8})  # fmt: skip
    axis.set_xticks(range(len(methods)), methods, rotation=20, ha="right", fontsize=8)
    axis.set_ylabel(_word(study.tasks[task].row_metric or "return_mean"))
    axis.set_title(f"{task}: what the gain comes from")
    figure.legend(fontsize=7, loc="outside right upper")
    _save(figure, path)


def draw_thresholds(study: Study, results: pd.DataFrame, task: str, path: Path) -> None:
    """Steps of every run to every threshold; runs that never reached it stand beyond the dashed line."""
    runs = finished_runs(study, results, task)
    methods = ordered_methods(study, runs["method"])
    thresholds = study.tasks[task].thresholds
    limit = runs["env_steps"].max() / 1e6
    figure, axes = _panels(len(thresholds), height=0.9 + 0.33 * len(methods), share_y=True)
    for axis, threshold in zip(axes, thresholds, strict=True):
        for place, name in enumerate(methods):
            steps = threshold_steps(runs[runs["method"] == name], study.tasks[task], threshold) / 1e6
            reached = steps[np.isfinite(steps)]
            axis.plot(reached, [place] * len(reached), ".", color="tab:orange")
            axis.plot(
                [limit * 1.06] * (len(steps) - len(reached)), [place] * (len(steps) - len(reached)), "x", color="grey"
            )
            if np.isfinite(np.median(steps)):
                axis.plot(np.median(steps), place, "|", color="black", markersize=14)
        axis.set_xlim(0.0, limit * 1.12)
        axis.axvline(limit, linestyle="--", color="grey", linewidth=0.8)
        axis.set_title(f"to {threshold:g}", fontsize=9)
        axis.set_xlabel("environment steps (million)", fontsize=8)
        axis.grid(alpha=0.3, axis="x")
    _name_rows(axes[0], methods)
    figure.suptitle(f"{task}: steps to a return; |: median, x: never")
    _save(figure, path)


def _panels(count: int, *, height: float = 3.6, share_y: bool = True) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(1.4 + 3.4 * count, height), layout="constrained")
    axes = figure.subplots(1, count, sharey=share_y, squeeze=False)
    return figure, list(axes[0])


def _name_rows(axis: Axes, methods: Sequence[str]) -> None:
    axis.set_yticks(range(len(methods)), methods)
    axis.set_ylim(len(methods) - 0.5, -0.5)


def _word(metric: str) -> str:
    return metric.removesuffix("_mean").replace("_", " ")


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a time in it, the same results give the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
