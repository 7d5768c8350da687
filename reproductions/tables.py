"""The tables of a study in Markdown, from its results alone."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple

import numpy as np
import pandas as pd

from reproductions.collect import ATTRIBUTION_ROWS
from reproductions.measures import RUN, steps_to_threshold, summarise_runs
from reproductions.statistics import Comparison, Estimate, compare, interquartile_means
from reproductions.study import Study, Task
from reproductions.tuning import tuning_table

Scores = dict[str, np.ndarray]

ROW_NAMES = {
    "a": "clone, random start", "b": "clone, zero start", "c": "clone, untrained drift", "d": "fine-tuned, plain flow",
    "e": "fine-tuned, with its drift", "f": "fine-tuned, zero start", "g": "fine-tuned, with noise",
}  # fmt: skip


def finished_runs(study: Study, results: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of a task's runs that are not tuning's."""
    return results[(results["stage"] == "study") & (results["task"] == task)]


def ordered_methods(study: Study, present: Iterable[str]) -> list[str]:
    """Methods in the order of the study's file, those that were run again behind."""
    there = set(present)
    return [name for name in study.methods if name in there] + sorted(there - set(study.methods))


def summary_table(study: Study, results: pd.DataFrame, task: str) -> str:
    """Each method's speed and end: area under the curve, the end with exploration and without, over seeds."""
    summary = summarise_runs(finished_runs(study, results, task), study.tasks[task].metric)
    runs = attributed_runs(study, results, task)
    areas = interquartile_means(score_arrays(summary, "auc"))
    rows = []
    for method in ordered_methods(study, summary["method"]):
        mine = summary[summary["method"] == method]
        row = [method, str(mine["cell"].iloc[0]), str(len(mine)), _with_interval(areas[method]), _mean(mine["last"])]
        row.append(" / ".join(f"{rise:+.0%}" for rise in mine.sort_values("seed")["rise"]))
        tuned = runs[runs["method"] == method]
        row += [_mean(tuned["e"]), _mean(tuned["f"])] if len(tuned) else [_mean(mine["evaluation"]), ""]
        rows.append(row)
    header = ["method", "cell", "seeds", "area under the curve", "end, with noise", "rise of each seed"]
    header += ["end, without", "end, zero start"]
    return _markdown(header, rows)


def comparison_table(study: Study, results: pd.DataFrame, task: str) -> str:
    """Each method against the baseline, paired by seed: area under the curve and the end without noise."""
    summary = summarise_runs(finished_runs(study, results, task), study.tasks[task].metric)
    runs = attributed_runs(study, results, task)
    rows = []
    measures = [("area under the curve", summary, "auc")]
    measures += [("end, without", runs, "e")] if not runs.empty else []
    measures += [("end, zero start", runs, "f")] if not runs.empty else []
    for title, table, column in measures:
        scores = _paired(table, column, study.baseline)
        found = compare(scores, study.baseline) if study.baseline in scores else {}
        for method in ordered_methods(study, found):
            rows.append([title, method, *_comparison(found[method])])
    header = ["measure", "method", f"minus {study.baseline}", "P(better)", "p", "p (Holm)", "pairs"]
    return _markdown(header, rows)


def threshold_table(study: Study, results: pd.DataFrame, task: str) -> str:
    """Steps to every threshold: the median over seeds, and how many runs reached it."""
    runs = finished_runs(study, results, task)
    rows = []
    for method in ordered_methods(study, runs["method"]):
        row = [method]
        for threshold in study.tasks[task].thresholds:
            steps = threshold_steps(runs[runs["method"] == method], study.tasks[task], threshold)
            limit = runs.loc[runs["method"] == method, "env_steps"].max()
            middle = float(np.median(steps))
            text = f"{middle / 1e6:.2f} M" if np.isfinite(middle) else f"> {limit / 1e6:.2f} M"
            row.append(f"{text} ({int(np.isfinite(steps).sum())} of {len(steps)})")
        rows.append(row)
    return _markdown(["method", *(f"{threshold:g}" for threshold in study.tasks[task].thresholds)], rows)


def threshold_steps(runs: pd.DataFrame, task: Task, threshold: float) -> np.ndarray:
    """Steps to a threshold of every run of a method, [runs]; infinite where it was not reached."""
    curves = (run.sort_values("env_steps") for _, run in runs.groupby(RUN, sort=True))
    return np.array(
        [
            steps_to_threshold(run["env_steps"].to_numpy(float), run[task.metric].to_numpy(float), threshold)
            for run in curves
        ]
    )


def attribution_table(study: Study, results: pd.DataFrame, task: str) -> str:
    """The rows (a) to (g) as means over seeds with standard errors, and what was learned."""
    runs = attributed_runs(study, results, task)
    if runs.empty:
        return "No attribution was made."
    rows = []
    for method in ordered_methods(study, runs["method"]):
        mine = runs[runs["method"] == method]
        rows.append([method, *(_mean(mine[row]) for row in ATTRIBUTION_ROWS), _mean(mine["learned"])])
    return _markdown(["method", *(f"({row})" for row in ATTRIBUTION_ROWS), "learned"], rows)


def tuning_markdown(study: Study, results: pd.DataFrame) -> str:
    """Every method's grid: the area under the curve of each cell, the chosen one in bold."""
    table = tuning_table(study, results)
    columns = list(dict.fromkeys(table["cell"]))
    rows = []
    for method in ordered_methods(study, table["method"]):
        cells = table[table["method"] == method].set_index("cell")
        row = [method]
        for cell in columns:
            if cell not in cells.index:
                row.append("")
                continue
            text = f"{cells.loc[cell, 'auc']:.5g}"
            row.append(f"**{text}**" if cells.loc[cell, "chosen"] else text)
        rows.append(row)
    return _markdown(["method", *columns], rows)


def attributed_runs(study: Study, results: pd.DataFrame, task: str) -> pd.DataFrame:
    """One row for each run that has an attribution: method, seed, its rows `a` to `g`, and `learned`.

    `learned` is the best of (d, e, f) minus the best of (a, b, c).
    """
    metric = study.tasks[task].row_metric
    columns = {f"row_{row}" + (f"_{metric}" if metric else ""): row for row in ATTRIBUTION_ROWS}
    if not set(columns) <= set(results.columns):
        return pd.DataFrame(columns=["method", "seed"])
    runs = finished_runs(study, results, task).drop_duplicates(RUN).dropna(subset=list(columns))
    runs = runs[[*RUN, *columns]].rename(columns=columns).reset_index(drop=True)
    runs["learned"] = runs[["d", "e", "f"]].max(axis=1) - runs[["a", "b", "c"]].max(axis=1)
    return runs


def score_arrays(table: pd.DataFrame, column: str) -> Scores:
    """Method -> [runs, 1]."""
    return {str(name): group[column].to_numpy(float)[:, None] for name, group in table.groupby("method", sort=True)}


def _paired(table: pd.DataFrame, column: str, baseline: str) -> Scores:
    """Method -> [seeds, 1] for the methods that have all of the baseline's seeds."""
    wide = table.pivot_table(index="seed", columns="method", values=column)
    seeds = wide[baseline].dropna().index if baseline in wide else wide.index[:0]
    if len(seeds) < 2:
        return {}
    whole = wide.loc[seeds].dropna(axis="columns")
    return {str(name): whole[name].to_numpy(float)[:, None] for name in whole}


def _comparison(found: Comparison) -> list[str]:
    better = f"{found.improvement.value:.2f} [{found.improvement.low:.2f}, {found.improvement.high:.2f}]"
    return [
        _with_interval(found.difference, sign=True),
        better,
        f"{found.p:.3f}",
        f"{found.p_holm:.3f}",
        str(found.pairs),
    ]


def _with_interval(estimate: Estimate, *, sign: bool = False) -> str:
    value, low, high = (_figure(number, 4, sign="+" if sign else "") for number in astuple(estimate))
    return f"{value} [{low}, {high}]"


def _figure(value: float, digits: int, *, sign: str = "") -> str:
    """Some significant digits, never as a power of ten: 330, not 3.3e+02."""
    return f"{float(f'{value:.{digits}g}'):{sign}.12g}"


def _mean(values: Sequence[float] | pd.Series) -> str:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not known.size:
        return ""
    error = f" ± {_figure(np.std(known, ddof=1) / np.sqrt(known.size), 2)}" if known.size > 1 else ""
    return f"{_figure(float(np.mean(known)), 4)}{error}"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
