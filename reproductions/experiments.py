"""A study as experiment files for `rllib train file`: one for each task and seed, whose methods share the clones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproductions.study import DATA, Method, Study, Task, cells, merge

CLONE = "clone-{}"
"""Name of the experiment that makes a clone."""
_KEPT_CHECKPOINTS = {"num_to_keep": 1}


@dataclass(frozen=True)
class Run:
    """One fine-tuning run.

    Attributes:
        method: Name of the method.
        cell: Name of the cell of its tuning grid.
        task: Name of the task.
        seed: Of the clone and of the run.
        stage: `tuning` or `study`.
        experiment: Name of its experiment in the file of its task and seed.
        method_config: What the method lays over the task's options.
        clone: Name of the clone that it starts from.
    """

    method: str
    cell: str
    task: str
    seed: int
    stage: str
    experiment: str
    method_config: Mapping[str, Any]
    clone: str


def file_name(task: str, seed: int) -> str:
    """Stem of the experiment file, and name of its results' folder."""
    return f"{task}-seed{seed}"


def tuning_runs(study: Study, task: str, seed: int) -> list[Run]:
    """The runs of a tuning seed: every method in every cell."""
    return [
        Run(name, cell, task, seed, "tuning", f"{name}.{cell}", merge(method.config, overrides), method.clone)
        for name, method in study.methods.items()
        for cell, overrides in cells(study, name).items()
    ]


def study_runs(
    methods: Mapping[str, Method], chosen: Mapping[str, tuple[str, Mapping[str, Any]]], task: str, seed: int
) -> list[Run]:
    """The runs of a seed: every method with its chosen cell.

    Args:
        methods: by name.
        chosen: method -> name and overrides of its cell.
        task: name of the task.
        seed: of clone and run.
    """
    return [
        Run(name, cell, task, seed, "study", name, merge(method.config, dict(overrides)), method.clone)
        for name, method in methods.items()
        for cell, overrides in [chosen[name]]
    ]


def experiment_file(study: Study, runs: list[Run], data: Path = DATA) -> dict[str, Any]:
    """The experiments of one task and seed, in the form of `rllib train file`: the clones, then the runs.

    Args:
        study: the study.
        runs: of one task and seed.
        data: folder of the files that tasks name with `data`.
    """
    task = study.tasks[runs[0].task]
    seed = runs[0].seed
    wanted = dict.fromkeys(run.clone for run in runs)
    file = {CLONE.format(name): _clone(task, name, seed, data) for name in wanted}
    return file | {run.experiment: _finetune(study, task, run) for run in runs}


def _clone(task: Task, name: str, seed: int, data: Path) -> dict[str, Any]:
    clone = task.clones[name]
    dataset = {} if task.data is None else {"dataset": str(data / task.data)}
    return {
        "run": "FlowBC",
        "env": task.env,
        "stop": dict(clone.stop),
        "checkpoint_config": dict(_KEPT_CHECKPOINTS),
        "config": merge({"seed": seed}, clone.config, dataset),
    }


def _finetune(study: Study, task: Task, run: Run) -> dict[str, Any]:
    stop: dict[str, float] = dict(task.stop)
    config = merge({"seed": run.seed}, task.config, dict(run.method_config))
    if run.stage == "tuning":
        assert study.tuning is not None
        stop = {"env_steps": study.tuning.env_steps}
        config["evaluation_interval"] = None  # tuning judges by the return with exploration
    return {
        "run": "ScoreFlow",
        "env": task.env,
        "weights_from": CLONE.format(run.clone),
        "stop": stop,
        "checkpoint_config": dict(_KEPT_CHECKPOINTS),
        "config": config,
    }
