"""Which cell of its grid a method is used with: chosen by the area under the curve, averaged over tuning's seeds."""

from typing import Any

import pandas as pd

from reproductions.collect import read_results
from reproductions.measures import summarise_runs
from reproductions.study import ONLY_CELL, RESULTS, Study, StudyError, cells, load_study

Chosen = dict[str, tuple[str, dict[str, Any]]]


def tuning_table(study: Study, results: pd.DataFrame) -> pd.DataFrame:
    """Mean area under the curve of every method and cell, over tasks and tuning seeds.

    Returns:
        Columns `method`, `cell`, `auc`, `runs`, and `chosen`, which marks the best cell of each method.
    """
    assert study.tuning is not None
    runs = results[results["stage"] == "tuning"]
    metric = next(iter(study.tasks.values())).metric
    summary = summarise_runs(runs, metric, study.tuning.env_steps)
    table = summary.groupby(["method", "cell"], sort=False)["auc"].agg(["mean", "count"]).reset_index()
    table.columns = pd.Index(["method", "cell", "auc", "runs"])
    table["chosen"] = table.groupby("method")["auc"].transform("max") == table["auc"]
    return table


def choose_cells(study: Study, results: pd.DataFrame | None) -> Chosen:
    """The cell of every method, with its overrides.

    Args:
        study: the study.
        results: its results so far, with all runs of tuning; None is right for a study without tuning.

    Raises:
        StudyError: the runs of tuning are missing, or the other study has none of a method.
    """
    if study.tuned_by is not None:
        other = load_study(study.tuned_by)
        path = RESULTS / f"{study.tuned_by}.parquet"
        if not path.is_file():
            raise StudyError(f"the cells are those of study {study.tuned_by!r}, which has no results; run it first.")
        theirs = choose_cells(other, read_results(path))
        return {
            name: theirs.get(method.config.get("variant", name), (ONLY_CELL, {}))
            for name, method in study.methods.items()
        }
    if study.tuning is None:
        return {name: (ONLY_CELL, {}) for name in study.methods}
    if results is None or results.empty:
        raise StudyError("no run of tuning is finished.")
    table = tuning_table(study, results)
    best = table[table["chosen"]].set_index("method")["cell"]
    missing = set(study.methods) - set(best.index)
    if missing:
        raise StudyError(f"no run of tuning is finished for {', '.join(sorted(missing))}.")
    return {name: (best[name], cells(study, name)[best[name]]) for name in study.methods}
