"""``rllib train``: from raw experiments to finished stages."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments import weights
from rllib_scoreflow.experiments.checks import algorithms
from rllib_scoreflow.experiments.checks import config as config_check
from rllib_scoreflow.experiments.checks import env as env_check
from rllib_scoreflow.experiments.identity import Identity, identify, with_pinned_policies
from rllib_scoreflow.experiments.overrides import apply_overrides, parse_override
from rllib_scoreflow.experiments.rllib_checkpoints import restored_from
from rllib_scoreflow.experiments.search_space import each_value
from rllib_scoreflow.experiments.spec import Experiment, build_experiment
from rllib_scoreflow.files import lock as run_lock
from rllib_scoreflow.files.hub import is_hub_id
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.reports import run_folder
from rllib_scoreflow.runs import stages
from rllib_scoreflow.runs.failures import Interrupted, naming_full_disk
from rllib_scoreflow.runs.loggers import LoggerOptions, check_loggers
from rllib_scoreflow.runs.session import INTERRUPT, RayOptions, ray_resources, ray_session
from rllib_scoreflow.suggest import hint
from rllib_scoreflow.terminal import new_console

PRETRAINED_KEY = "pretrained_policy"


@dataclass(frozen=True)
class TrainOptions:
    """The options of ``rllib train``, whichever form of it was used.

    Attributes:
        results_dir: everything goes below ``<results_dir>/<file stem>/<experiment>/``.
        sets: the texts of every ``--set``.
        only: names of the experiments to run; empty for all.
        stop: laid over each experiment's `stop` in full, when given.
        checkpoint: CheckpointConfig's arguments given as options.
        settings: keys of an experiment given as options, such as scheduler and env.
        config: keys of the algorithm's config given as options.
        resume: go on with unfinished runs.
        overwrite: replace runs that are unfinished or of another configuration.
        loggers: for Weights & Biases and MLflow.
        ray: where Ray runs.
        resume_command: what to type to go on.
    """

    results_dir: Path
    sets: Sequence[str] = ()
    only: Sequence[str] = ()
    stop: Mapping[str, Any] | None = None
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    overwrite: bool = False
    loggers: LoggerOptions = field(default_factory=LoggerOptions)
    ray: RayOptions = field(default_factory=RayOptions)
    resume_command: str = ""


def train(
    raw: Mapping[str, Mapping[str, Any]],
    origin: str,
    base_dir: Path,
    stem: str,
    options: TrainOptions,
) -> None:
    """Check every experiment, then run them in order and print where everything is.

    Args:
        raw: name -> raw keys, from `read_experiments` or the command line.
        origin: what to call the source in messages.
        base_dir: folder to which paths in ``weights_from`` may be relative (next to the working
            folder).
        stem: name of the folder of all the experiments.
        options: the options.

    Raises:
        InputError: anything wrong with the input; nothing has been written unless a stage was
        already running.
        RunFailed, Interrupted: from the runner.
    """
    experiments = prepare(raw, origin, options)
    from rllib_scoreflow.versions import check_ray_version

    check_ray_version()
    from rllib_scoreflow.reports.sweep import print_sweep, read_sweep
    from rllib_scoreflow.runs import outcome, resources, runner
    from rllib_scoreflow.runs.summary import display_path, print_summary
    from rllib_scoreflow.terminal import wide_console

    for experiment in experiments:
        check_loggers(experiment, options.loggers)
    experiments = [_pin_policies(experiment) for experiment in experiments]
    planned = [_check(experiment, options.results_dir / stem) for experiment in experiments]
    _say_translated(planned)
    sources = _weights_sources(planned, base_dir)
    run_lock.refuse_busy(stage.folder for stage in planned)
    to_run = _check_states(planned, sources, options)

    console, wide = new_console(soft_wrap=True), wide_console()
    run_options = runner.RunOptions(
        options.loggers,
        options.resume_command or "the same command with --resume",
        every_epoch=options.ray.verbosity > 0,
    )
    outcomes: list[outcome.Outcome] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(run_lock.hold(to_run))
        started = False
        for stage in planned:
            name = stage.experiment.name
            if INTERRUPT.asked.is_set():
                raise Interrupted(f"{name} was not begun; go on with: {run_options.resume_command}")
            policy = _policy(sources.get(name), stage.experiment.where)
            identity = _identity(stage, policy)
            state = _state(stage, identity, options)
            if state is stages.State.FINISHED:
                console.print(_describe_finished(stage, display_path(stage.folder)))
                outcomes.append(outcome.outcome_of(name, stage.folder))
                continue
            if policy is not None:  # only now is the policy there to be checked
                _validate(stage.experiment, stage.algorithm, {**stage.config, PRETRAINED_KEY: str(policy)})
            if not started:
                stack.enter_context(ray_session(options.ray))
                started = True
            if options.ray.address is None:
                resources.check_resources(stage, policy, ray_resources())
            else:
                resources.await_resources(stage, policy, options.ray.wait_s, partial(console.print, markup=False))
            console.print(_headline(stage, display_path(stage.folder), state), markup=False)
            resume = state in (stages.State.UNFINISHED, stages.State.EXTENDED)
            with naming_full_disk(name, stage.folder, run_options.resume_command):
                outcomes.append(runner.run_stage(stage, identity.digest, policy, resume=resume, options=run_options))
            if outcomes[-1].comparison is not None:
                console.print(f"{name}: {outcomes[-1].comparison}.", markup=False)
            if outcomes[-1].sweep is not None:
                print_sweep(wide, read_sweep(stage.folder))
    print_summary(wide, outcomes)


def check_experiments(raw: Mapping[str, Mapping[str, Any]], origin: str, stem: str) -> None:
    """Check experiments as `train` does before the first one runs; nothing is run or written.

    Args:
        raw: name -> raw keys.
        origin: what to call the source in messages.
        stem: name of the folder of all the experiments.

    Raises:
        InputError: anything wrong with the input.
    """
    options = TrainOptions(results_dir=Path("results"))
    for experiment in prepare(raw, origin, options):
        _check(experiment, options.results_dir / stem)


def prepare(raw: Mapping[str, Mapping[str, Any]], origin: str, options: TrainOptions) -> list[Experiment]:
    """Lay the options over the raw experiments, choose the wanted ones and check their form.

    Args:
        raw: name -> raw keys.
        origin: what to call the source in messages.
        options: the options.

    Returns:
        The experiments to run, in order.

    Raises:
        InputError: as `apply_overrides` and `build_experiment`, or --only names no experiment.
    """
    for name in options.only:
        if name not in raw:
            raise InputError(f"--only {name}: {origin} has no such experiment; {hint(name, raw, 'it has')}")
    overrides = [parse_override(text) for text in options.sets]
    changed = apply_overrides(raw, overrides, lambda body: _keys_of(body, origin), partial(_may_report, origin=origin))
    experiments = []
    for name, body in changed.items():
        if options.stop is not None:
            body["stop"] = dict(options.stop)
        body.update(options.settings)
        if options.config or "env" in options.settings:
            config = dict(body.get("config") or {})
            if "env" in options.settings:
                config.pop("env", None)  # where files may have it too
            body["config"] = {**config, **options.config}
        experiment = build_experiment(name, body, origin)
        experiments.append(replace(experiment, checkpoint={**experiment.checkpoint, **options.checkpoint}))
    _check_order(experiments)
    return [experiment for experiment in experiments if not options.only or experiment.name in options.only]


def _keys_of(body: Mapping[str, Any], origin: str) -> dict[str, bool]:
    """The keys of an experiment's config, and whether they have an effect."""
    if "run" not in body:
        return {}
    algorithm = algorithms.find_algorithm(body["run"], origin)
    return {key: algorithms.refusal_of(algorithm, key) is None for key in algorithms.config_keys(algorithm)}


def _may_report(body: Mapping[str, Any], key: str, origin: str) -> bool:
    """Whether an experiment can have a result, with evaluations if need be."""
    from rllib_scoreflow.experiments.checks.result_keys import ResultKeys, reported_results

    if "run" not in body:
        return True
    algorithm = algorithms.find_algorithm(body["run"], origin)
    config = algorithm.get_default_config().copy(copy_frozen=False)
    config.update_from_dict({"env": "any", "evaluation_interval": 1})
    try:
        ResultKeys([reported_results(config, algorithm)]).current_key(key, "")
    except InputError:
        return False
    return True


def _check_order(experiments: Sequence[Experiment]) -> None:
    names = [experiment.name for experiment in experiments]
    for number, experiment in enumerate(experiments):
        if experiment.weights_from in names[number:]:
            raise InputError(
                f"{experiment.where}: weights_from names {experiment.weights_from}, which does "
                "not come earlier in the file; "
                "move it up."
            )


def _pin_policies(experiment: Experiment) -> Experiment:
    """An experiment whose policies of the hub are named by their commits, fetched and checked."""
    wanted = None if experiment.weights_from is None else weights.pin_policy(experiment.weights_from)
    return replace(experiment, weights_from=wanted, config=with_pinned_policies(experiment.config))


def _check(experiment: Experiment, parent: Path) -> Any:
    from rllib_scoreflow.experiments.checks.schedulers import add_mutations, expand_mutations, make_scheduler
    from rllib_scoreflow.experiments.checks.stopping import check_results, check_stop
    from rllib_scoreflow.experiments.translation.translate import translate
    from rllib_scoreflow.runs.outcome import Stage

    where = experiment.where
    algorithm = algorithms.find_algorithm(experiment.run, where)
    experiment = translate(experiment, algorithm)
    config = add_mutations(experiment, algorithm, config_check.check_config(experiment, algorithm))
    env = experiment.env if experiment.env is not None else config.get("env")
    if algorithm.__name__ not in algorithms.OWN_ALGORITHMS:  # those check their environment in validate()
        env_check.require_env(env, experiment.base, algorithm, where)
        for each in each_value(env):
            env_check.check_env(each, where)
    config_check.validate_options(experiment, algorithm, expand_mutations(experiment, config))
    keys = config_check.result_keys(experiment, algorithm, config)
    stop = check_stop(experiment.stop, where, keys)
    experiment = check_results(experiment, keys)
    make_scheduler(experiment)
    if experiment.weights_from is not None and PRETRAINED_KEY not in algorithms.config_keys(algorithm):
        raise InputError(f"{where}: {algorithm.__name__} cannot start from a policy; take `weights_from` away.")
    restore = experiment.setting("restore")
    if restore is not None:
        restored_from(restore, algorithm, where)
    if experiment.weights_from is None:
        _validate(experiment, algorithm, config)
    return Stage(experiment, algorithm, config, stop, parent / experiment.name)


def _say_translated(planned: Sequence[Any]) -> None:
    """Says once what earlier versions of RLlib called otherwise."""
    console = new_console(soft_wrap=True)
    for note in dict.fromkeys(note for stage in planned for note in stage.experiment.notes):
        console.print(f"Note: {note}.", markup=False)


def _validate(experiment: Experiment, algorithm: type[Any], config: Mapping[str, Any]) -> None:
    from rllib_scoreflow.experiments.checks.schedulers import expand_mutations

    config_check.validate(experiment, algorithm, config)
    config_check.validate(experiment, algorithm, expand_mutations(experiment, config))


def _weights_sources(planned: Sequence[Any], base_dir: Path) -> dict[str, Path]:
    """Experiment name -> the folder its weights come from, which may be still to come."""
    folders = {stage.experiment.name: stage.folder for stage in planned}
    sources: dict[str, Path] = {}
    for stage in planned:
        wanted = stage.experiment.weights_from
        if wanted is None:
            continue
        earlier = stage.folder.parent / wanted
        if wanted in folders:
            sources[stage.experiment.name] = folders[wanted]
        elif is_hub_id(wanted):
            sources[stage.experiment.name] = weights.require_policy(Path(wanted), stage.experiment.where)
        elif (earlier / run_folder.DONE_JSON).is_file():
            sources[stage.experiment.name] = earlier
        else:
            path = expand_user(wanted)
            beside = base_dir / path
            found = beside if not path.exists() and beside.exists() else path
            if not found.exists():
                known = [name for name in folders if name != stage.experiment.name]
                raise InputError(
                    f"{stage.experiment.where}: weights_from {quote(wanted)} is neither an earlier "
                    "experiment that is run or finished "
                    "nor an existing path nor hf:ORG/NAME; "
                    f"{hint(wanted, known, 'earlier experiments are') if known else 'correct it.'}"
                )
            sources[stage.experiment.name] = weights.require_policy(found, f"{stage.experiment.where}: weights_from")
    return sources


def _policy(source: Path | None, where: str) -> Path | None:
    return None if source is None else weights.require_policy(source, f"{where}: weights_from")


def _identity(stage: Any, policy: Path | None) -> Identity:
    return identify(stage.experiment, stage.config, None if policy is None else weights.policy_digest(policy))


def _state(stage: Any, identity: Identity | None, options: TrainOptions) -> stages.State:
    flags = {"resume": options.resume, "overwrite": options.overwrite}
    return stages.state_of(stage.folder, identity, stage.stop, where=stage.experiment.where, **flags)


def _check_states(planned: Sequence[Any], sources: Mapping[str, Path], options: TrainOptions) -> list[Path]:
    """Find folders that are in the way before the first stage runs, and not after hours of it; those to be run."""
    to_run: list[Path] = []
    for stage in planned:
        source = sources.get(stage.experiment.name)
        if source in to_run:
            stages.require_writable(stage.folder, stage.experiment.where)
            # Its starting policy will be a new one, so whatever is in its folder will not fit.
            to_run.append(stage.folder)
            _state(stage, None, options)
            continue
        policy = _policy(source, stage.experiment.where)
        if policy is not None:
            _validate(stage.experiment, stage.algorithm, {**stage.config, PRETRAINED_KEY: str(policy)})
        if _state(stage, _identity(stage, policy), options) is not stages.State.FINISHED:
            stages.require_writable(stage.folder, stage.experiment.where)
            to_run.append(stage.folder)
    return to_run


def _headline(stage: Any, folder: str, state: stages.State) -> str:
    env = f" on {stage.experiment.env}" if stage.experiment.env is not None else ""
    verb = {stages.State.UNFINISHED: "resuming", stages.State.EXTENDED: "finished earlier, now going on with"}
    what = f"{verb.get(state, 'running')} {stage.algorithm.__name__}{env} until {stages.stop_text(stage.stop)}"
    return f"{stage.experiment.name}: {what}; results in {folder}"


def _describe_finished(stage: Any, folder: str) -> str:
    then = (run_folder.read_json(stage.folder / run_folder.DONE_JSON) or {}).get("stop") or stage.stop
    until = "" if then == stage.stop else f" (until {stages.stop_text(then)})"
    return f"{stage.experiment.name}: already finished in {folder}{until}, not run again."
