"""``rllib train``: its forms. Imports are late, so that help and mistakes come fast."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rllib_scoreflow.cli.help import App
from rllib_scoreflow.cli.train_arguments import Environment, TrainChoices, takes_train_choices
from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.yaml import parse_mapping
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.plugins import extend_module_path

if TYPE_CHECKING:
    from rllib_scoreflow.runs.plan import TrainOptions

train_app = App(
    help="Train: `rllib train file FILE` for experiment files, or --algo and --env.",
    invoke_without_command=True,
)


def path_or_address(text: str) -> Path | str:
    """Tell a path, as a Path, from an address, as it is: a Path would take one of its slashes.

    Args:
        text: as typed.
    """
    return text if "://" in text else Path(text)


@train_app.callback()
@takes_train_choices
def train_one(
    context: typer.Context,
    *,
    algo: Annotated[
        str | None, typer.Option("--algo", "--run", "-a", "-r", help="The algorithm, e.g. PPO.", metavar="NAME")
    ] = None,
    env: Environment = None,
    config: Annotated[
        str, typer.Option("--config", "-c", help="Keys of the algorithm's config.", metavar="JSON")
    ] = "{}",
    name: Annotated[
        str | None,
        typer.Option(
            "--name", "--experiment-name", "-n", help="Name of the experiment (default ALGO-ENV).", metavar="NAME"
        ),
    ] = None,
    config_file: Annotated[
        Any,
        typer.Option("--config-file", "-f", help="The same as `file FILE`.", metavar="FILE", parser=path_or_address),
    ] = None,
    choices: TrainChoices,
) -> None:
    """Train one experiment given by options, or, with `file FILE`, those of an experiment file."""
    given = ["--" + key.replace("_", "-") for key, value in context.params.items() if _typed(context, key) and value]
    if context.invoked_subcommand is not None:
        if given:
            option = given[0]
            raise InputError(f"{option} stands before `file`; write it after: rllib train file FILE {option} ...")
        return
    if config_file is not None:
        for option in ("--algo", "--config", "--name"):
            if option in given:
                from rllib_scoreflow.experiments.renames.command_options import FILE_OPTIONS

                raise InputError(f"{option} does not go with --config-file: {FILE_OPTIONS[option].reason}.")
        _train_file(config_file, choices, only=(), env=env)
        return
    if algo is None:
        raise InputError("rllib train needs `file FILE` or --algo; see rllib train --help.")
    options = train_options(choices)
    from rllib_scoreflow.experiments.spec import as_name
    from rllib_scoreflow.runs.plan import train

    label = as_name("-".join(part for part in (algo, env) if part))
    raw: dict[str, Any] = {"run": algo, "config": parse_mapping(config, "--config")}
    if env is not None:
        raw["env"] = env
    extend_module_path([Path.cwd()])
    train({name or label: raw}, "command line", Path.cwd(), "command-line", options)


@train_app.command("file")
@takes_train_choices
def train_file(
    file: Annotated[
        Any,
        typer.Argument(
            help="A .yaml file, its https:// address, or a .py file with a variable `config`.",
            show_default=False,
            parser=path_or_address,
        ),
    ],
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run only this experiment of the file; repeatable.", metavar="NAME"),
    ] = None,
    env: Environment = None,
    choices: TrainChoices,
) -> None:
    """Train the experiments of a file in order; what is finished already is not run again."""
    _train_file(file, choices, only=tuple(only or ()), env=env)


def _train_file(file: Path | str, choices: TrainChoices, *, only: tuple[str, ...], env: str | None) -> None:
    options = train_options(choices, only=only, env=env)
    from rllib_scoreflow.experiments.remote import read_address
    from rllib_scoreflow.experiments.spec import read_experiments
    from rllib_scoreflow.runs.plan import train

    if isinstance(file, str):
        extend_module_path([Path.cwd()])
        fetched = read_address(file)
        train(fetched.experiments, fetched.origin, Path.cwd(), fetched.stem, options)
        return
    path = expand_user(file)
    extend_module_path([Path.cwd(), path.parent])
    train(read_experiments(path), str(path), path.parent, path.stem, options)


def train_options(choices: TrainChoices, *, only: tuple[str, ...] = (), env: str | None = None) -> "TrainOptions":
    """Return what a run is given, checked as far as the words themselves go; silences Ray on the way.

    Args:
        choices: what the user typed.
        only: names of the experiments to run; empty for all.
        env: environment instead of the file's.

    Raises:
        InputError: an option has no such value.
    """
    from rllib_scoreflow.experiments.quiet import quieten
    from rllib_scoreflow.runs.loggers import LoggerOptions
    from rllib_scoreflow.runs.plan import TrainOptions
    from rllib_scoreflow.runs.session import RayOptions

    verbosity = max(choices.verbose, 1 if choices.log_info else 0, 2 if choices.log_debug else 0)
    quieten(verbosity)
    if "://" in str(choices.results_dir) or ":/" in str(choices.results_dir):
        raise InputError(
            f"--results-dir {choices.results_dir} must be a local folder (or one mounted on every machine)."
        )
    if choices.framework not in {None, "torch"}:
        raise InputError(f"--framework {quote(choices.framework)}: RLlib's new API stack has torch only; leave it out.")
    checkpoint = {
        "checkpoint_frequency": choices.checkpoint_freq,
        "checkpoint_at_end": choices.checkpoint_at_end,
        "num_to_keep": choices.keep_checkpoints_num,
        "checkpoint_score_attribute": choices.checkpoint_score_attr,
    }
    settings: dict[str, Any] = {
        "num_samples": choices.num_samples,
        "max_failures": choices.max_failures,
        "scheduler": choices.scheduler,
        "env": env,
        "restore": None if choices.restore is None else str(expand_user(choices.restore)),
    }
    if choices.scheduler_config is not None:
        settings["scheduler_config"] = parse_mapping(choices.scheduler_config, "--scheduler-config")
    return TrainOptions(
        results_dir=expand_user(choices.results_dir),
        sets=choices.sets or (),
        only=only,
        stop=None if choices.stop is None else parse_mapping(choices.stop, "--stop"),
        checkpoint={key: value for key, value in checkpoint.items() if value is not None},
        settings={key: value for key, value in settings.items() if value is not None},
        config={"framework": "torch"} if choices.framework is not None or choices.torch else {},
        resume=choices.resume,
        overwrite=choices.overwrite,
        loggers=LoggerOptions(choices.wandb_key, choices.mlflow_uri, choices.wandb_project, choices.wandb_run_name),
        ray=RayOptions(
            choices.ray_address,
            choices.ray_num_cpus,
            choices.ray_num_gpus,
            verbosity,
            choices.ray_wait,
            object_store_bytes=choices.ray_object_store_memory,
            dashboard=choices.ray_ui,
        ),
        resume_command=resume_command(sys.argv[1:]),
    )


def resume_command(arguments: list[str]) -> str:
    """Return what to type to go on with a run; it is printed, so keys and passwords are left out.

    Args:
        arguments: the words after ``rllib``.

    Returns:
        A line for the shell.
    """
    from rllib_scoreflow.runs.loggers import redact

    kept: list[str] = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        if before == "--wandb-key":
            kept.append("KEY")
        elif word not in {"--resume", "--overwrite"}:
            kept.append(redact(word))
    return shlex.join(["rllib", *kept, "--resume"])


def _typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
