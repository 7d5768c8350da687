"""One experiment through Ray Tune, begun, resumed or refused."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_scoreflow.cli import failures, stages
from rllib_scoreflow.cli.experiments import Experiment
from rllib_scoreflow.cli.identity import PATH_KEYS, with_absolute_paths
from rllib_scoreflow.cli.loggers import LoggerOptions, make_loggers, use_secrets
from rllib_scoreflow.cli.outcome import Outcome, Stage, description, finish, remove_unused
from rllib_scoreflow.cli.schedulers import judged_by, make_scheduler, scheduler_name
from rllib_scoreflow.cli.search_space import to_tune
from rllib_scoreflow.cli.session import INTERRUPT
from rllib_scoreflow.errors import InputError

# A trial that lost a Learner or its node goes on from the last checkpoint, without anybody's help.
MAX_FAILURES = 3
CHECKPOINT_DEFAULTS: Mapping[str, Any] = {
    "checkpoint_frequency": 10,
    "checkpoint_at_end": True,
    "num_to_keep": 2,
}
# A population's trials start from each other's checkpoints, which must still be there by then.
_POPULATION_KEEPS = 4


@dataclass(frozen=True)
class RunOptions:
    """How stages are run.

    Attributes:
        loggers: what the command line says of Weights & Biases and MLflow.
        resume_command: what the user types to go on with an interrupted run.
    """

    loggers: LoggerOptions = field(default_factory=LoggerOptions)
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
    noted = any(stage.folder.glob("experiment_state-*.json"))  # without it Tune knows of no trial, and raises
    resuming = resume and noted and tune.Tuner.can_restore(absolute)
    if resuming:
        use_secrets(stage.experiment, options.loggers)  # the callbacks of the noted run have none
        tuner = tune.Tuner.restore(
            absolute,
            trainable=stage.algorithm,
            resume_unfinished=True,
            resume_errored=True,
        )
    else:
        stages.clear(stage.folder)  # with --resume too: what Tune cannot restore would be mixed with the new run
        tuner = tune.Tuner(
            stage.algorithm,
            param_space=param_space(stage, weights),
            tune_config=tune.TuneConfig(
                num_samples=stage.experiment.num_samples,
                search_alg=_seeded_search(stage.experiment),
                scheduler=make_scheduler(stage.experiment),
                trial_dirname_creator=trial_folder,
                **judged_by(stage.experiment),
            ),
            run_config=_run_config(stage, options),
        )
        stages.write_json(stage.folder / stages.BEGUN_JSON, description(stage, digest, weights))
    try:
        with INTERRUPT.watching():
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
    return space


def _seeded_search(experiment: Experiment) -> Any:
    """Tune's own generator of trials, with a seed; population-based training draws from global ones."""
    import numpy as np
    from ray.tune.search.basic_variant import BasicVariantGenerator

    seed = experiment.settings.get("search_seed", 0)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (what Tune draws from)
    concurrent = experiment.settings.get("max_concurrent_trials", 0)
    return BasicVariantGenerator(max_concurrent=concurrent, random_state=seed)


def checkpoint_settings(experiment: Experiment) -> dict[str, Any]:
    """Return CheckpointConfig's arguments: the defaults with the experiment's own laid over them.

    Args:
        experiment: the experiment.
    """
    keep = {"num_to_keep": _POPULATION_KEEPS} if scheduler_name(experiment) == "pbt" else {}
    return {**CHECKPOINT_DEFAULTS, **keep, **experiment.checkpoint}


def _run_config(stage: Stage, options: RunOptions) -> Any:
    from ray import tune

    from rllib_scoreflow.cli.progress import ProgressLines
    from rllib_scoreflow.cli.stopping import FirstReached

    loggers = make_loggers(stage.experiment, options.loggers, stage.folder.parent.name)
    return tune.RunConfig(
        name=stage.folder.name,
        storage_path=str(stage.folder.parent.resolve()),
        stop=FirstReached(stage.stop),
        checkpoint_config=tune.CheckpointConfig(**checkpoint_settings(stage.experiment)),
        failure_config=tune.FailureConfig(max_failures=stage.experiment.settings.get("max_failures", MAX_FAILURES)),
        callbacks=[ProgressLines(stage.stop), *loggers],
        log_to_file=("stdout.log", "stderr.log"),
        verbose=0,
    )


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
