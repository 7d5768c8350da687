"""After a run: which trial and checkpoint count, and the policy copied out of it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rllib_scoreflow.experiments.checks.schedulers import judged_by
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.experiments.weights import find_policy
from rllib_scoreflow.files.atomic import atomic_folder
from rllib_scoreflow.reports import metrics
from rllib_scoreflow.reports.plots import read_results
from rllib_scoreflow.reports.trials import JUDGED_BY


def best_result(experiment: Experiment, results: Sequence[Any]) -> Any:
    """Return the Tune Result that stands for the experiment: the only one, or the best.

    Args:
        experiment: says by `metric` (or the checkpoint score attribute) what is best.
        results: finished trials, at least one.

    Returns:
        One of `results`; the first when no figure tells them apart.
    """
    candidates = list(JUDGED_BY)
    attribute = experiment.checkpoint.get("checkpoint_score_attribute")
    order = experiment.checkpoint.get("checkpoint_score_order", "max")
    judge = judged_by(experiment) or ({"metric": attribute, "mode": order} if attribute else {})
    if judge:
        candidates.insert(0, ((judge["metric"],), judge["mode"] == "max"))
    rows = [read_results(Path(result.path)) for result in results]
    for keys, best_is_max in candidates:
        valued = []
        for row, result in zip(rows, results, strict=True):
            # The last one reported: an evaluation is not made in every iteration.
            values = [value for one in row if (value := metrics.number(one, keys)) is not None]
            if values:
                valued.append((values[-1] if best_is_max else -values[-1], result))
        if valued:
            return max(valued, key=lambda pair: pair[0])[1]
    return results[0]


def choose_checkpoint(experiment: Experiment, result: Any) -> Path | None:
    """Return the checkpoint of a trial: the best if the experiment scores them, else the last.

    Args:
        experiment: says by its checkpoint score attribute whether the best is meant.
        result: a Tune Result.

    Returns:
        A local folder, or None when the trial wrote none.
    """
    attribute = experiment.checkpoint.get("checkpoint_score_attribute")
    order = experiment.checkpoint.get("checkpoint_score_order", "max")
    checkpoint = result.checkpoint
    if attribute and result.best_checkpoints:
        scored = [
            (value, kept)
            for kept, measured in result.best_checkpoints
            if (value := metrics.number(metrics.flatten(measured), (attribute,))) is not None
        ]
        if scored:
            pick = max if order == "max" else min
            checkpoint = pick(scored, key=lambda pair: pair[0])[1]
    return None if checkpoint is None else Path(checkpoint.path)


def export_policy(checkpoint: Path, folder: Path) -> Path | None:
    """Copy the policy of a checkpoint to ``<folder>/policy``, whole or not at all.

    Args:
        checkpoint: a checkpoint folder.
        folder: the experiment's folder. A policy already there, of an earlier try of the same
            experiment, is replaced.

    Returns:
        The exported policy's folder, or None when the checkpoint holds none (other algorithms than
        this package's).
    """
    source = find_policy(checkpoint)
    if source is None:
        return None
    target = folder / "policy"
    with atomic_folder(target) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)
    return target
