"""One experiment through Ray Tune, begun, resumed or refused."""

import os
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.checks.algorithms import OWN_ALGORITHMS, config_keys
from rllib_scoreflow.experiments.checks.config import build_config, sample_combinations
from rllib_scoreflow.experiments.checks.env import find_fault
from rllib_scoreflow.experiments.checks.schedulers import judged_by, make_scheduler, mutations, scheduler_name
from rllib_scoreflow.experiments.identity import PATH_KEYS, with_absolute_paths
from rllib_scoreflow.experiments.rllib_checkpoints import find_checkpoint
from rllib_scoreflow.experiments.search_space import to_tune
from rllib_scoreflow.experiments.settings import CheckpointSettings
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.files.atomic import sweep
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.reports import run_folder
from rllib_scoreflow.reports.metrics import flatten
from rllib_scoreflow.reports.trial_files import ITERATION
from rllib_scoreflow.runs import failures, stages
from rllib_scoreflow.runs.loggers import LoggerOptions, make_loggers
from rllib_scoreflow.runs.outcome import Outcome, Stage, description, finish, remove_unused
from rllib_scoreflow.runs.resume import Progress, take_stock
from rllib_scoreflow.runs.session import INTERRUPT, watching_ray
from rllib_scoreflow.terminal import new_console

_EARLIER_ENDS = "earlier_stops"
# The option of an algorithm that wants to know `stop` beforehand.
_PLANNED_STOP = "planned_stop"
# A population's trials start from each other's checkpoints, which must still be there by then.
_POPULATION_KEEPS = 4


@dataclass(frozen=True)
class RunOptions:
    """How stages are run.

    Attributes:
        loggers: what the command line says of Weights & Biases and MLflow.
        resume_command: what the user types to go on with an interrupted run.
        every_epoch: a line for each epoch of a cloning, however many there are.
    """

    loggers: LoggerOptions = field(default_factory=LoggerOptions)
    resume_command: str = "the same command with --resume"
    every_epoch: bool = False


def run_stage(stage: Stage, digest: str, weights: Path | None, *, resume: bool, options: RunOptions) -> Outcome:
    """Run a stage to its end and write its done.json last.

    Args:
        stage: what to run.
        digest: its fingerprint.
        weights: policy folder that it starts from.
        resume: go on with the unfinished run in its folder.
        options: how.

    Returns:
        What is left.

    Raises:
        InputError: raised within a trial; the folder is removed again when nothing had been
        trained.
        RunFailed: a trial failed otherwise.
        Interrupted: the user ended the run.
    """
    from ray import tune

    from rllib_scoreflow.runs.progress import trial_folder

    sweep(stage.folder.parent)
    found: dict[str, Progress] = {}
    begun = description(stage, digest, weights)
    if resume:
        begun[_EARLIER_ENDS] = _ends_so_far(stage.folder)
        found = _take_stock(stage, begun[_EARLIER_ENDS])
    else:
        stages.clear(stage.folder)
    run_folder.write_json(stage.folder / run_folder.BEGUN_JSON, begun)
    tuner = tune.Tuner(
        stage.algorithm,
        param_space=param_space(stage, weights),
        tune_config=tune.TuneConfig(
            num_samples=stage.experiment.num_samples,
            search_alg=_seeded_search(stage.experiment, found, _restored_from(stage)),
            scheduler=make_scheduler(stage.experiment),
            trial_dirname_creator=trial_folder,
            **judged_by(stage.experiment),
        ),
        run_config=_run_config(stage, options),
    )
    try:
        with INTERRUPT.watching(), watching_ray(partial(_end_without_ray, stage, options)):
            results = list(tuner.fit())
    except (tune.TuneError, InputError) as error:
        _raise_input_error(stage, error)
        raise
    _raise_failures(stage, results, options)
    return finish(stage, digest, results)


def param_space(stage: Stage, weights: Path | None) -> dict[str, Any]:
    """Return what Tune varies over and hands to the algorithm.

    Args:
        stage: the stage.
        weights: becomes ``pretrained_policy``.
    """
    experiment = stage.experiment
    space: dict[str, Any] = {} if experiment.base is None else experiment.base.copy(copy_frozen=False).to_dict()
    # A trial runs in a folder of its own, where a relative path would lead elsewhere.
    space.update(with_absolute_paths({key: space[key] for key in PATH_KEYS if key in space}))
    space.update(to_tune(with_absolute_paths(stage.config)))
    if experiment.env is not None:
        space["env"] = experiment.env
    if weights is not None:
        space["pretrained_policy"] = str(weights.resolve())
    score = experiment.checkpoint.get("checkpoint_score_attribute")
    if score is not None and "/" in score:
        hooks = space.get("callbacks_on_train_result") or []
        space["callbacks_on_train_result"] = [*(hooks if isinstance(hooks, list) else [hooks]), AtTopLevel(score)]
    if _PLANNED_STOP in config_keys(stage.algorithm) and space.get(_PLANNED_STOP) is None:
        space[_PLANNED_STOP] = dict(stage.stop)
    return space


class AtTopLevel:
    """Puts a nested result at the top of the results too: Tune keeps the best checkpoints only by one that is there.

    Args:
        key: a flattened result key.
    """

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, *, result: dict[str, Any], **_: Any) -> None:
        """Called by RLlib with the results of an iteration, before Tune gets them."""
        value = flatten(result).get(self.key)
        if value is not None:
            result[self.key] = value


def _take_stock(stage: Stage, ends: Sequence[Mapping[str, float]]) -> dict[str, Progress]:
    """What an interrupted run has left, which had each of `ends` as its `stop`; says what was passed over."""
    from rllib_scoreflow.experiments.checks.stopping import FirstReached

    now, then = FirstReached(stage.stop), [FirstReached(stop) for stop in ends]

    def has_ended(result: Mapping[str, Any]) -> bool:
        # A scheduler ends a trial before its time; it is not begun again because the others may train for longer.
        early = not any(reached("", result) for reached in then)
        return bool(result.get("done")) and (now("", result) or early)

    at_end = bool(checkpoint_settings(stage.experiment)["checkpoint_at_end"])
    found = take_stock(stage.folder, has_ended, checkpoint_at_end=at_end)
    console = new_console(soft_wrap=True)
    for name, progress in found.items():
        if progress.note is not None:
            console.print(f"Note: {f'{name}: ' if len(found) > 1 else ''}{progress.note}.", markup=False)
    return found


def _ends_so_far(folder: Path) -> list[Mapping[str, float]]:
    """Every `stop` that an experiment was run for."""
    noted = [run_folder.read_json(folder / name) or {} for name in (run_folder.BEGUN_JSON, run_folder.DONE_JSON)]
    ends: list[Mapping[str, float]] = []
    for content in noted:
        ends += [stop for stop in (*content.get(_EARLIER_ENDS, ()), content.get("stop") or {}) if stop not in ends]
    return ends


def _restored_from(stage: Stage) -> Path | None:
    """The checkpoint that trials start from, which was read and checked when the run was planned."""
    path = stage.experiment.setting("restore")
    return None if path is None else find_checkpoint(expand_user(path)).resolve()


def _seeded_search(experiment: Experiment, found: Mapping[str, Progress], restore: Path | None = None) -> Any:
    """Tune's own generator of trials, with a seed; population-based training draws from global ones."""
    import numpy as np

    from rllib_scoreflow.runs.tune_adapter import ResumingSearch

    seed = experiment.setting("search_seed")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (what Tune draws from)
    concurrent = experiment.setting("max_concurrent_trials")
    return ResumingSearch(found, mutations(experiment), max_concurrent=concurrent, seed=seed, restore=restore)


def checkpoint_settings(experiment: Experiment) -> dict[str, Any]:
    """Return CheckpointConfig's arguments: the defaults with the experiment's own laid over them.

    Args:
        experiment: the experiment.
    """
    keep = {"num_to_keep": _POPULATION_KEEPS} if scheduler_name(experiment) == "pbt" else {}
    return {**CheckpointSettings().model_dump(), **keep, **experiment.checkpoint}


def _run_config(stage: Stage, options: RunOptions) -> Any:
    from ray import tune

    from rllib_scoreflow.experiments.checks.stopping import FirstReached
    from rllib_scoreflow.runs.progress import ProgressLines
    from rllib_scoreflow.runs.result_loggers import ResultRows, ResultTableRows, TensorBoardRows

    loggers = make_loggers(stage.experiment, options.loggers, stage.folder.parent.name)
    lines = ProgressLines(stage.stop, every_epoch=options.every_epoch)
    return tune.RunConfig(
        name=stage.folder.name,
        storage_path=str(stage.folder.parent.resolve()),
        stop=FirstReached(stage.stop),
        checkpoint_config=tune.CheckpointConfig(**checkpoint_settings(stage.experiment)),
        failure_config=tune.FailureConfig(max_failures=stage.experiment.setting("max_failures")),
        callbacks=[ResultRows(), ResultTableRows(), TensorBoardRows(), lines, *loggers],
        log_to_file=("stdout.log", "stderr.log"),
        verbose=0,
    )


def _raise_input_error(stage: Stage, error: BaseException) -> None:
    """Raise the InputError within an error, if there is one; a folder in which nothing was done is removed."""
    found = failures.input_error_in(error)
    if found is None:
        return
    reported = any(results.stat().st_size for results in stage.folder.glob("*/result.json"))
    if not reported and not any(stage.folder.glob("*/checkpoint_*")):
        remove_unused(stage.folder)
    raise InputError(f"{stage.experiment.where}: {found}")


def _end_without_ray(stage: Stage, options: RunOptions, lost: str) -> None:
    """Ends the command at once: Tune would wait for a Ray that is gone. What is on disk is whole at any time."""
    from rllib_scoreflow.runs.ray_adapter import kill_own_processes

    if INTERRUPT.asked.is_set():
        status, what = 130, _interrupted(stage, options)
    else:
        status, what = (
            1,
            f"{stage.experiment.name}: Ray's process {lost} has died; go on with: {options.resume_command}",
        )
    sys.stdout.flush()
    print(f"rllib: {what}", file=sys.stderr, flush=True)
    kill_own_processes()
    os._exit(status)


def _interrupted(stage: Stage, options: RunOptions) -> str:
    return f"{stage.experiment.name} was interrupted; go on with: {options.resume_command}"


def _raise_failures(stage: Stage, results: Sequence[Any], options: RunOptions) -> None:
    complete = all((result.metrics or {}).get("done") for result in results)
    if INTERRUPT.asked.is_set() and not complete:
        raise failures.Interrupted(_interrupted(stage, options))
    failed = [result for result in results if result.error is not None]
    if not failed:
        return
    error = failures.as_error(failed[0].error)
    _raise_input_error(stage, error)
    if failures.disk_is_full(error):
        raise error
    raise failures.RunFailed(
        f"{stage.experiment.name}: {len(failed)} of {len(results)} trials failed: "
        f"{_fault_of_environment(stage, failed[0]) or failures.summary(error)} "
        f"(traceback: {Path(failed[0].path) / 'error.txt'}); --resume tries again from the last "
        "checkpoint."
    )


def _fault_of_environment(stage: Stage, result: Any) -> str | None:
    """What keeps a trial that has reported nothing from making its environment, None where it can be made."""
    if stage.algorithm.__name__ in OWN_ALGORITHMS or ITERATION in (result.metrics or {}):  # ours say it themselves
        return None
    config = build_config(stage.experiment, stage.algorithm, next(sample_combinations(stage.config)))
    reason = find_fault(config.env, config.env_config)
    return None if reason is None else f"the environment {quote(config.env)} cannot be made, {reason}"
