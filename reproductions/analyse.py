"""The analysis of a study: its tables and figures, from its results alone, without training."""

from pathlib import Path

import pandas as pd

from reproductions import figures, tables
from reproductions.study import Study

TABLES = "tables.md"


def write_tables(study: Study, results: pd.DataFrame, name: str) -> str:
    """All tables of a study as one Markdown page."""
    parts = [f"# Study `{name}`", study.question, _what_ran(study, results)]
    for task, settings in study.tasks.items():
        if tables.finished_runs(study, results, task).empty:
            continue
        parts += [f"## {task}", "### Methods", tables.summary_table(study, results, task)]
        parts += [f"### Against {study.baseline}", tables.comparison_table(study, results, task)]
        if settings.thresholds:
            parts += ["### Steps to a return", tables.threshold_table(study, results, task)]
        parts += ["### Attribution", tables.attribution_table(study, results, task)]
    if study.tuning is not None and (results["stage"] == "tuning").any():
        parts += ["## Tuning", tables.tuning_markdown(study, results)]
    return "\n\n".join(parts) + "\n"


def _what_ran(study: Study, results: pd.DataFrame) -> str:
    runs = results[results["stage"] == "study"].drop_duplicates(["task", "method", "seed"])
    again = study.again.best if study.again is not None else 0
    wanted = len(study.tasks) * len(study.seeds) * (len(study.methods) + again)
    state = "complete" if len(runs) >= wanted else f"**not complete**: {len(runs)} of {wanted} runs"
    commits = ", ".join(sorted({str(commit)[:7] for commit in results["commit"]}))
    return f"{state[0].upper()}{state[1:]}; made with {commits}; {results['versions'].iloc[-1]}."


def draw_figures(study: Study, results: pd.DataFrame, folder: Path) -> list[Path]:
    """Draws all figures of a study.

    Returns:
        Their files.
    """
    drawn = []
    for task, settings in study.tasks.items():
        if tables.finished_runs(study, results, task).empty:
            continue
        wanted = {"curves": figures.draw_curves, "areas": figures.draw_areas}
        if not tables.attributed_runs(study, results, task).empty:
            wanted["attribution"] = figures.draw_attribution
        if settings.thresholds:
            wanted["thresholds"] = figures.draw_thresholds
        for kind, draw in wanted.items():
            path = folder / f"{task}-{kind}.png"
            draw(study, results, task, path)
            drawn.append(path)
    return drawn
