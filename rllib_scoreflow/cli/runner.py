"""One experiment through Ray Tune, begun, resumed or refused."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_scoreflow.cli import failures, stages
from rllib_scoreflow.cli.config_check import one_sentence
from rllib_scoreflow.cli.experiments import Experiment
from rllib_scoreflow.cli.outcome import Outcome, Stage, description, finish, remove_unused
from rllib_scoreflow.cli.session import INTERRUPT
from rllib_scoreflow.cli.suggest import hint
from rllib_scoreflow.errors import InputError

# Names under which papers know them.
_SCHEDULER_ALIASES = {"asha": "async_hyperband"}
# A trial that lost a Learner or its node goes on from the last checkpoint, without anybody's help.
MAX_FAILURES = 3
CHECKPOINT_DEFAULTS: Mapping[str, Any] = {
    "checkpoint_frequency": 10,
    "checkpoint_at_end": True,
    "num_to_keep": 2,
}


@dataclass(frozen=True)
class RunOptions:
    """How stages are run.

    Attributes:
        wandb_key: Weights & Biases API key, or None for no such logging.
        resume_command: what the user types to go on with an interrupted run.
    """

    wandb_key: str | None = None
    resume_command: str = "the same command with --resume"


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

    from rllib_scoreflow.cli.progress import trial_folder

    absolute = str(stage.folder.resolve())  # Ray takes a relative path for a URI
    resuming = resume and tune.Tuner.can_restore(absolute)
    if resuming:
        tuner = tune.Tuner.restore(
            absolute,
            trainable=stage.algorithm,
            resume_unfinished=True,
            resume_errored=True,
        )
    else:
        if not resume:
            stages.clear(stage.folder)
        tuner = tune.Tuner(
            stage.algorithm,
            param_space=param_space(stage, weights),
            tune_config=tune.TuneConfig(
                num_samples=stage.experiment.num_samples,
                scheduler=make_scheduler(stage.experiment),
                max_concurrent_trials=stage.experiment.settings.get("max_concurrent_trials"),
                trial_dirname_creator=trial_folder,
                **{k: v for k, v in stage.experiment.settings.items() if k in {"metric", "mode"}},
            ),
            run_config=_run_config(stage, options),
        )
        stages.write_json(stage.folder / stages.BEGUN_JSON, description(stage, digest, weights))
    try:
        with INTERRUPT.watching():
            results = list(tuner.fit())
    except tune.TuneError as error:
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
    space.update(stage.config)
    if experiment.env is not None:
        space["env"] = experiment.env
    # A trial runs in a folder of its own, where a relative path would lead elsewhere.
    dataset = space.get("dataset")
    if isinstance(dataset, str) and Path(dataset).expanduser().exists():
        space["dataset"] = str(Path(dataset).expanduser().resolve())
    if weights is not None:
        space["pretrained_policy"] = str(weights.resolve())
    return space


def make_scheduler(experiment: Experiment) -> Any:
    """Return Tune's scheduler for an experiment, or None for plain first-come-first-served.

    Args:
        experiment: names it (``scheduler: asha``) and gives its arguments (``scheduler_config``).

    Raises:
        InputError: there is no such scheduler, or it refuses its arguments.
    """
    from ray.tune.schedulers import SCHEDULER_IMPORT, create_scheduler

    name = experiment.settings.get("scheduler")
    arguments = experiment.settings.get("scheduler_config") or {}
    if name is None:
        return None
    name = _SCHEDULER_ALIASES.get(name.lower(), name)
    if name.lower() not in SCHEDULER_IMPORT:
        raise InputError(f"{experiment.where}: unknown scheduler {name!r}; {hint(name, SCHEDULER_IMPORT, 'known are')}")
    # Tune drops arguments that it does not know and misses the metric only once Ray runs.
    where = f"{experiment.where}: scheduler_config"
    known = inspect.signature(SCHEDULER_IMPORT[name.lower()]).parameters
    for key in arguments:
        if key not in known:
            raise InputError(f"{where}: {name} has no setting {key!r}; {hint(key, known)}")
    if "metric" in known and not (arguments.get("metric") or experiment.settings.get("metric")):
        raise InputError(
            f"{experiment.where}: the scheduler {name} compares trials by a result; give it "
            "by `metric:` (such as return_mean) and `mode: max` or `mode: min`."
        )
    try:
        return create_scheduler(name, **arguments)
    except Exception as error:
        reason = f"the scheduler {name} refuses its settings ({one_sentence(error)})"
        raise InputError(f"{experiment.where}: {reason}.") from error


def checkpoint_settings(experiment: Experiment) -> dict[str, Any]:
    """Return CheckpointConfig's arguments: the defaults with the experiment's own laid over them.

    Args:
        experiment: the experiment.
    """
    return {**CHECKPOINT_DEFAULTS, **experiment.checkpoint}


def _run_config(stage: Stage, options: RunOptions) -> Any:
    from ray import tune

    from rllib_scoreflow.cli.progress import ProgressLines
    from rllib_scoreflow.cli.stopping import FirstReached

    callbacks: list[Any] = [ProgressLines(stage.stop)]
    if options.wandb_key is not None:
        callbacks.append(_wandb(options.wandb_key, stage))
    return tune.RunConfig(
        name=stage.folder.name,
        storage_path=str(stage.folder.parent.resolve()),
        stop=FirstReached(stage.stop),
        checkpoint_config=tune.CheckpointConfig(**checkpoint_settings(stage.experiment)),
        failure_config=tune.FailureConfig(max_failures=stage.experiment.settings.get("max_failures", MAX_FAILURES)),
        callbacks=callbacks,
        log_to_file=("stdout.log", "stderr.log"),
        verbose=0,
    )


def check_wandb() -> None:
    """Check that Weights & Biases can be used.

    Raises:
        InputError: it is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("wandb") is None:
        raise InputError("--wandb-key needs the package wandb, which is not installed; run `pip install wandb`.")


def _wandb(key: str, stage: Stage) -> Any:
    from ray.air.integrations.wandb import WandbLoggerCallback

    return WandbLoggerCallback(project=stage.folder.parent.name, group=stage.experiment.name, api_key=key)


def _raise_input_error(stage: Stage, error: BaseException) -> None:
    """Raise the InputError within an error, if there is one; a folder in which nothing was done is removed."""
    found = failures.input_error_in(error)
    if found is None:
        return
    if not any(results.stat().st_size for results in stage.folder.glob("*/result.json")):
        remove_unused(stage.folder)
    raise InputError(f"{stage.experiment.where}: {found}")


def _raise_failures(stage: Stage, results: Sequence[Any], options: RunOptions) -> None:
    complete = all((result.metrics or {}).get("done") for result in results)
    if INTERRUPT.asked.is_set() and not complete:
        raise failures.Interrupted(f"{stage.experiment.name} was interrupted; go on with: {options.resume_command}")
    failed = [result for result in results if result.error is not None]
    if not failed:
        return
    _raise_input_error(stage, failed[0].error)
    raise failures.RunFailed(
        f"{stage.experiment.name}: {len(failed)} of {len(results)} trials failed: "
        f"{failures.summary(failed[0].error)} "
        f"(traceback: {Path(failed[0].path) / 'error.txt'}); --resume tries again from the last "
        "checkpoint."
    )
