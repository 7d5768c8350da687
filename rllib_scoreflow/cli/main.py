"""The ``rllib`` command. Imports are late, so that help and mistakes come fast."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from rllib_scoreflow.cli.dataset import dataset_app
from rllib_scoreflow.cli.evaluate_command import evaluate
from rllib_scoreflow.cli.examples import example_app
from rllib_scoreflow.cli.help import App
from rllib_scoreflow.cli.init_command import init
from rllib_scoreflow.cli.old_words import refuse_old_command, usage_sentence
from rllib_scoreflow.cli.policy_commands import policy_app
from rllib_scoreflow.cli.report_commands import report, sweep_app
from rllib_scoreflow.cli.train_arguments import (
    Overwrite,
    RayCpus,
    ResultsDir,
    Resume,
    SetOption,
    TrainChoices,
    Verbose,
)
from rllib_scoreflow.cli.train_command import train_app, train_options
from rllib_scoreflow.errors import InputError, SimulatorError, quote
from rllib_scoreflow.files.user_paths import ensure_home, expand_user

# Read by torch's thread pool when torch is loaded, here and in Ray's workers. Threads that spin while they wait for
# one another come to a standstill as soon as another process wants a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = App(
    name="rllib",
    help="Train, evaluate and inspect RLlib algorithms, among them FlowBC and ScoreFlow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(init)
app.add_typer(train_app, name="train")
app.add_typer(example_app, name="example")
app.add_typer(policy_app, name="policy")
app.add_typer(dataset_app, name="dataset")
app.add_typer(sweep_app, name="sweep")
app.command()(report)
app.command()(evaluate)


@app.command()
def demo(
    *,
    file: Annotated[Path, typer.Option(help="The experiments to run.", metavar="FILE.yaml")] = Path(
        "tuned_examples/hopper-demo.yaml"
    ),
    results_dir: ResultsDir = Path("results"),
    episodes: Annotated[int, typer.Option(help="Evaluation episodes per policy.", min=2)] = 40,
    resume: Resume = False,
    overwrite: Overwrite = False,
    sets: SetOption = None,
    ray_num_cpus: RayCpus = None,
    verbose: Verbose = 0,
) -> None:
    """Pretrain and fine-tune on Hopper in minutes, and compare both policies in a table."""
    choices = TrainChoices(
        results_dir=results_dir,
        resume=resume,
        overwrite=overwrite,
        verbose=verbose,
        ray_num_cpus=ray_num_cpus,
        sets=sets,
    )
    from rllib_scoreflow.cli.demo import run_demo

    run_demo(expand_user(file), train_options(choices), episodes=episodes)


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
        refuse_old_command(arguments)
        ensure_home()
        status = app(args=arguments, prog_name="rllib", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        _complain(usage_sentence(error, arguments))
        return error.exit_code
    except (InputError, SimulatorError) as error:
        _complain(str(error))
        if traceback:
            raise
        return 2
    except SystemExit as error:  # in an environment's step, for example: it would end the command in silence
        if isinstance(error.__context__, BrokenPipeError):  # what Typer makes of it
            return _end_output()
        _complain(f"a module or an environment ended the process (SystemExit: {quote(error.code)}); correct it.")
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as in `rllib ... | head`
        return _end_output()
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


def _end_output() -> int:
    """Let what is still to be written vanish; the exit status of a command whose reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


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
