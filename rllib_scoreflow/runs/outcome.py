"""A stage to run, and what is left of it afterwards: policy, plot, done.json."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_scoreflow.experiments.checks.schedulers import judged_by, mutations
from rllib_scoreflow.experiments.search_space import find_swept_keys, overlay
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.experiments.weights import find_policy, policy_digest
from rllib_scoreflow.files.hub import is_hub_id
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.plugins import module_folders
from rllib_scoreflow.reports import run_folder
from rllib_scoreflow.reports.clone import clone_against_data
from rllib_scoreflow.reports.plots import learning_curve, read_results
from rllib_scoreflow.reports.run_folder import PLOT_NAME, dataset_hash_of, last_figures
from rllib_scoreflow.reports.sweep import SWEEP_PLOT, draw_sweep, read_sweep
from rllib_scoreflow.runs import stages
from rllib_scoreflow.runs.export import best_result, choose_checkpoint, export_policy
from rllib_scoreflow.versions import installed_versions


@dataclass(frozen=True)
class Stage:
    """An experiment ready to run.

    Attributes:
        experiment: the experiment.
        algorithm: its Algorithm class.
        config: its checked config; grids as ``{"grid_search": [...]}``.
        stop: result key -> value.
        folder: where everything of it goes.
    """

    experiment: Experiment
    algorithm: type[Any]
    config: Mapping[str, Any]
    stop: Mapping[str, float]
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What a finished stage has left: paths (None where it has none), its environment and its last figures.

    `comparison` is the line on a clone and its data, None for other trainings and for one that was finished earlier.
    """

    name: str
    folder: Path
    skipped: bool = False
    checkpoint: Path | None = None
    policy: Path | None = None
    plot: Path | None = None
    sweep: Path | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    env: Any = None
    comparison: str | None = None


def description(stage: Stage, digest: str, weights: Path | None) -> dict[str, Any]:
    """Return what experiment.json and done.json say about a stage.

    Args:
        stage: the stage.
        digest: its fingerprint.
        weights: policy folder that it starts from.

    Returns:
        Plain data, but for values of Python files, which are written by their text.
    """
    experiment = stage.experiment
    run = experiment.run if isinstance(experiment.run, str) else stage.algorithm.__name__
    return {
        "experiment": experiment.name,
        "fingerprint": digest,
        "fingerprint_version": stages.IDENTITY_VERSION,
        "run": run,
        "env": experiment.env,
        "stop": dict(stage.stop),
        "config": dict(stage.config),
        "swept": find_swept_keys(overlay(stage.config, mutations(experiment))),
        "scheduler": experiment.settings.get("scheduler"),
        **judged_by(experiment),
        "pretrained_policy": _start_of(stage, weights),
        "pretrained_policy_sha256": _start_digest(stage, weights),
        run_folder.MODULE_FOLDERS: module_folders(),
        "versions": installed_versions(),
    }


def _start_of(stage: Stage, weights: Path | None) -> str | None:
    """What names the policy that a stage starts from: of the hub its id and commit, since the cache is not kept."""
    wanted = stage.experiment.weights_from
    if wanted is not None and is_hub_id(wanted):
        return wanted
    return None if weights is None else str(weights)


def _start_digest(stage: Stage, weights: Path | None) -> str | None:
    """The digest of the policy that a stage starts from, by which the policy is known again; None without one."""
    named = stage.config.get("pretrained_policy")
    if weights is None and isinstance(named, str):
        weights = find_policy(expand_user(named))
    return None if weights is None else policy_digest(weights)


def finish(stage: Stage, digest: str, results: Sequence[Any]) -> Outcome:
    """Export the policy, draw the learning curve (and that of a sweep) and write done.json.

    Args:
        stage: the stage that ran.
        digest: its fingerprint.
        results: Tune's results, none of them failed.

    Returns:
        What is left.
    """
    best = best_result(stage.experiment, results)
    checkpoint = choose_checkpoint(stage.experiment, best)
    policy = export_policy(checkpoint, stage.folder) if checkpoint is not None else None
    labels = {(Path(r.path).name if len(results) > 1 else ""): read_results(Path(r.path)) for r in results}
    plot = learning_curve(labels, f"{stage.experiment.name} ({stage.algorithm.__name__})", stage.folder / PLOT_NAME)
    sweep = draw_sweep(read_sweep(stage.folder), stage.folder / SWEEP_PLOT) if len(results) > 1 else None
    rows = read_results(Path(best.path))
    figures = last_figures(rows)
    done = description(stage, digest, None) | {
        "checkpoint": _within(checkpoint, stage.folder),
        "policy": _within(policy, stage.folder),
        "plot": _within(plot, stage.folder),
        "sweep": _within(sweep, stage.folder),
        "figures": figures,
        "dataset_sha256": _dataset_hash(best.metrics or {}, policy),
    }
    run_folder.write_json(stage.folder / run_folder.DONE_JSON, done)
    return Outcome(
        stage.experiment.name,
        stage.folder,
        checkpoint=checkpoint,
        policy=policy,
        plot=plot,
        sweep=sweep,
        figures=figures,
        env=done["env"],
        comparison=clone_against_data(rows),
    )


def _dataset_hash(result: Mapping[str, Any], policy: Path | None) -> Any:
    """The hash of the dataset, from the result or from the exported policy, None if neither has it."""
    return result.get("dataset_sha256") or dataset_hash_of(policy)


def outcome_of(name: str, folder: Path) -> Outcome:
    """Return the outcome of a stage that was finished earlier, from its done.json.

    Args:
        name: the experiment's name.
        folder: its folder, in state FINISHED.
    """
    done = run_folder.read_json(folder / run_folder.DONE_JSON) or {}
    paths = {key: folder / done[key] if done.get(key) else None for key in ("checkpoint", "policy", "plot", "sweep")}
    return Outcome(name, folder, True, figures=done.get("figures") or {}, env=done.get("env"), **paths)


def _within(path: Path | None, folder: Path) -> str | None:
    if path is None:
        return None
    try:
        return str(path.resolve().relative_to(folder.resolve()))
    except ValueError:
        return str(path)


def remove_unused(folder: Path) -> None:
    """Remove an experiment's folder in which nothing was trained, and emptied folders above.

    Args:
        folder: ``<results-dir>/<file>/<experiment>``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for parent in list(folder.parents)[:2]:
        try:
            parent.rmdir()
        except OSError:
            return
