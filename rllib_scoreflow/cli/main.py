"""The ``rllib`` command. Imports are late, so that help and mistakes come fast."""

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from rllib_scoreflow.cli.dataset import dataset_app
from rllib_scoreflow.cli.evaluate_command import evaluate
from rllib_scoreflow.cli.policy_commands import policy_app
from rllib_scoreflow.cli.report_commands import report, sweep_app
from rllib_scoreflow.cli.train_arguments import (
    CheckpointAtEnd,
    CheckpointFreq,
    KeepCheckpoints,
    MlflowUri,
    Overwrite,
    RayAddress,
    RayCpus,
    RayGpus,
    RayWait,
    ResultsDir,
    Resume,
    Scheduler,
    SchedulerConfig,
    SetOption,
    Stop,
    Verbose,
    WandbKey,
)
from rllib_scoreflow.errors import InputError, SimulatorError, quote
from rllib_scoreflow.experiments.yaml import parse_mapping
from rllib_scoreflow.files.user_paths import ensure_home, expand_user
from rllib_scoreflow.plugins import extend_module_path

# Read by torch's thread pool when torch is loaded, here and in Ray's workers. Threads that spin while they wait for
# one another come to a standstill as soon as another process wants a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = typer.Typer(
    name="rllib",
    help="Train, evaluate and inspect RLlib algorithms, among them FlowBC and ScoreFlow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(
    help="Train: `rllib train file FILE` for experiment files, or --algo and --env.",
    invoke_without_command=True,
)
app.add_typer(train_app, name="train")
app.add_typer(policy_app, name="policy")
app.add_typer(dataset_app, name="dataset")
app.add_typer(sweep_app, name="sweep")
app.command()(report)
app.command()(evaluate)


def _options(
    *,
    results_dir: Path,
    resume: bool,
    overwrite: bool,
    stop: str | None = None,
    verbose: int,
    checkpoint_freq: int | None = None,
    checkpoint_at_end: bool | None = None,
    keep_checkpoints_num: int | None = None,
    ray_address: str | None = None,
    ray_num_cpus: int | None = None,
    ray_num_gpus: int | None = None,
    ray_wait: float = 900.0,
    scheduler: str | None = None,
    scheduler_config: str | None = None,
    wandb_key: str | None = None,
    mlflow_uri: str | None = None,
    sets: list[str] | None = None,
    only: list[str] | None = None,
) -> Any:
    from rllib_scoreflow.experiments.quiet import quieten
    from rllib_scoreflow.runs.loggers import LoggerOptions
    from rllib_scoreflow.runs.plan import TrainOptions
    from rllib_scoreflow.runs.session import RayOptions

    quieten(verbose)
    if "://" in str(results_dir) or ":/" in str(results_dir):
        raise InputError(f"--results-dir {results_dir} must be a local folder (or one mounted on every machine).")
    checkpoint = {
        "checkpoint_frequency": checkpoint_freq,
        "checkpoint_at_end": checkpoint_at_end,
        "num_to_keep": keep_checkpoints_num,
    }
    settings: dict[str, Any] = {}
    if scheduler is not None:
        settings["scheduler"] = scheduler
    if scheduler_config is not None:
        settings["scheduler_config"] = parse_mapping(scheduler_config, "--scheduler-config")
    return TrainOptions(
        results_dir=expand_user(results_dir),
        sets=sets or (),
        only=only or (),
        stop=None if stop is None else parse_mapping(stop, "--stop"),
        checkpoint={key: value for key, value in checkpoint.items() if value is not None},
        settings=settings,
        resume=resume,
        overwrite=overwrite,
        loggers=LoggerOptions(wandb_key, mlflow_uri),
        ray=RayOptions(ray_address, ray_num_cpus, ray_num_gpus, verbose, ray_wait),
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


@train_app.callback()
def train_one(
    context: typer.Context,
    *,
    algo: Annotated[str | None, typer.Option("--algo", "--run", help="The algorithm, e.g. PPO.")] = None,
    env: Annotated[str | None, typer.Option(help="The environment's id, e.g. CartPole-v1.")] = None,
    config: Annotated[str, typer.Option(help="Keys of the algorithm's config.", metavar="JSON")] = "{}",
    name: Annotated[str | None, typer.Option(help="Name of the experiment (default ALGO-ENV).")] = None,
    stop: Stop = None,
    results_dir: ResultsDir = Path("results"),
    resume: Resume = False,
    overwrite: Overwrite = False,
    checkpoint_freq: CheckpointFreq = None,
    checkpoint_at_end: CheckpointAtEnd = None,
    keep_checkpoints_num: KeepCheckpoints = None,
    ray_address: RayAddress = None,
    ray_num_cpus: RayCpus = None,
    ray_num_gpus: RayGpus = None,
    ray_wait: RayWait = 900.0,
    scheduler: Scheduler = None,
    scheduler_config: SchedulerConfig = None,
    wandb_key: WandbKey = None,
    mlflow_uri: MlflowUri = None,
    verbose: Verbose = 0,
) -> None:
    """Train one experiment given by options, or, with `file FILE`, those of an experiment file."""
    if context.invoked_subcommand is not None:
        given = [name for name, value in context.params.items() if _typed(context, name) and value]
        if given:
            option = "--" + given[0].replace("_", "-")
            raise InputError(f"{option} stands before `file`; write it after: rllib train file FILE {option} ...")
        return
    if algo is None:
        raise InputError("rllib train needs `file FILE` or --algo; see rllib train --help.")
    options = _options(
        results_dir=results_dir,
        resume=resume,
        overwrite=overwrite,
        stop=stop,
        verbose=verbose,
        checkpoint_freq=checkpoint_freq,
        checkpoint_at_end=checkpoint_at_end,
        keep_checkpoints_num=keep_checkpoints_num,
        ray_address=ray_address,
        ray_num_cpus=ray_num_cpus,
        ray_num_gpus=ray_num_gpus,
        ray_wait=ray_wait,
        scheduler=scheduler,
        scheduler_config=scheduler_config,
        wandb_key=wandb_key,
        mlflow_uri=mlflow_uri,
    )
    from rllib_scoreflow.runs.plan import train

    label = "-".join(part for part in (algo, env) if part)
    label = "".join(c if c.isalnum() or c in "-_." else "_" for c in label)
    raw: dict[str, Any] = {"run": algo, "config": parse_mapping(config, "--config")}
    if env is not None:
        raw["env"] = env
    extend_module_path([Path.cwd()])
    train({name or label: raw}, "command line", Path.cwd(), "command-line", options)


@train_app.command("file")
def train_file(
    file: Annotated[
        Path,
        typer.Argument(help="A .yaml file, or a .py file with a variable `config`.", show_default=False),
    ],
    *,
    sets: SetOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run only this experiment of the file; repeatable.", metavar="NAME"),
    ] = None,
    stop: Stop = None,
    results_dir: ResultsDir = Path("results"),
    resume: Resume = False,
    overwrite: Overwrite = False,
    checkpoint_freq: CheckpointFreq = None,
    checkpoint_at_end: CheckpointAtEnd = None,
    keep_checkpoints_num: KeepCheckpoints = None,
    ray_address: RayAddress = None,
    ray_num_cpus: RayCpus = None,
    ray_num_gpus: RayGpus = None,
    ray_wait: RayWait = 900.0,
    scheduler: Scheduler = None,
    scheduler_config: SchedulerConfig = None,
    wandb_key: WandbKey = None,
    mlflow_uri: MlflowUri = None,
    verbose: Verbose = 0,
) -> None:
    """Train the experiments of a file in order; what is finished already is not run again."""
    options = _options(
        results_dir=results_dir,
        resume=resume,
        overwrite=overwrite,
        stop=stop,
        verbose=verbose,
        checkpoint_freq=checkpoint_freq,
        checkpoint_at_end=checkpoint_at_end,
        keep_checkpoints_num=keep_checkpoints_num,
        ray_address=ray_address,
        ray_num_cpus=ray_num_cpus,
        ray_num_gpus=ray_num_gpus,
        ray_wait=ray_wait,
        scheduler=scheduler,
        scheduler_config=scheduler_config,
        wandb_key=wandb_key,
        mlflow_uri=mlflow_uri,
        sets=sets,
        only=only,
    )
    from rllib_scoreflow.experiments.spec import read_experiments
    from rllib_scoreflow.runs.plan import train

    file = expand_user(file)
    extend_module_path([Path.cwd(), file.parent])
    train(read_experiments(file), str(file), file.parent, file.stem, options)


@app.command()
def demo(
    *,
    file: Annotated[Path, typer.Option(help="The experiments to run.")] = Path("tuned_examples/hopper-demo.yaml"),
    results_dir: ResultsDir = Path("results"),
    episodes: Annotated[int, typer.Option(help="Evaluation episodes per policy.", min=2)] = 40,
    resume: Resume = False,
    overwrite: Overwrite = False,
    sets: SetOption = None,
    ray_num_cpus: RayCpus = None,
    verbose: Verbose = 0,
) -> None:
    """Pretrain and fine-tune on Hopper in minutes, and compare both policies in a table."""
    options = _options(
        results_dir=results_dir,
        resume=resume,
        overwrite=overwrite,
        verbose=verbose,
        ray_num_cpus=ray_num_cpus,
        sets=sets,
    )
    from rllib_scoreflow.cli.demo import run_demo

    run_demo(expand_user(file), options, episodes=episodes)


@app.command()
def version() -> None:
    """Print the versions of this package, Ray and PyTorch."""
    from rllib_scoreflow.versions import installed_versions

    for name, number in installed_versions().items():
        typer.echo(f"{name} {number}")


def main() -> NoReturn:
    """Run the command and exit: 0 well, 1 a run failed, 2 the input is wrong, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments: the words after ``rllib``.

    Returns:
        The exit status.
    """
    from rllib_scoreflow.runs.failures import Interrupted, RunFailed, file_system_sentence
    from rllib_scoreflow.terminal import adapt_streams

    adapt_streams()
    traceback = "-vv" in arguments
    try:
        _check_text(arguments)
        ensure_home()
        status = app(args=arguments, prog_name="rllib", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        _complain(error.format_message())
        return error.exit_code
    except (InputError, SimulatorError) as error:
        _complain(str(error))
        if traceback:
            raise
        return 2
    except SystemExit as error:  # in an environment's step, for example: it would end the command in silence
        _complain(f"a module or an environment ended the process (SystemExit: {quote(error.code)}); correct it.")
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as in `rllib ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        sentence = file_system_sentence(error)
        if sentence is None or traceback:
            raise
        _complain(sentence)
        return 2
    except RunFailed as error:
        _complain(str(error))
        return 1
    except Interrupted as error:
        _complain(str(error))
        return 130
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted; unfinished training goes on with the same command and --resume.")
        return 130


def _check_text(arguments: list[str]) -> None:
    """Refuse bytes that are no text: neither Ray's paths nor JSON can hold them."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError(f"the argument {quote(argument)} is not UTF-8 text; rename the file or folder.") from None


def _complain(message: str) -> None:
    from rllib_scoreflow.terminal import one_line

    print(f"rllib: {one_line(message)}", file=sys.stderr)
