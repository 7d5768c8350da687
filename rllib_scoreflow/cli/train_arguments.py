"""The options that all forms of ``rllib train`` have, old spellings among them."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

Plugins = Annotated[
    list[str] | None,
    typer.Option(
        help="Module of your own that registers a part of the policy, such as its velocity field; it is imported. May "
        "be given several times.",
        metavar="MODULE",
    ),
]
ResultsDir = Annotated[
    Path,
    typer.Option("--results-dir", "--local-dir", help="Where results go: DIR/<file>/<experiment>/.", metavar="DIR"),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run from its last checkpoint.")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace runs that are unfinished or of another configuration."),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        help="-v: the workers' output, and a line for every epoch; -vv: Ray's too, and tracebacks.",
        show_default=False,
    ),
]
RayCpus = Annotated[int | None, typer.Option(help="CPUs of the Ray that is started (default all).", min=1)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a value, e.g. config.gamma=0.99 or name.stop.env_steps=1e6; repeatable.",
        metavar="KEY=VALUE",
    ),
]
Environment = Annotated[
    str | None,
    typer.Option(
        "--env",
        "-e",
        help="The environment: CartPole-v1, module:Id, a class's dotted path, or file.py:Class.",
        metavar="ID",
    ),
]


@dataclass(frozen=True, kw_only=True)
class TrainChoices:
    """What ``rllib train`` was given, in whichever form; each field is an option, see `takes_train_choices`."""

    sets: SetOption = None
    stop: Annotated[
        str | None,
        typer.Option(
            "--stop",
            "-s",
            help="When to stop, instead of the file's `stop`; the first reached ends it.",
            metavar="JSON",
        ),
    ] = None
    results_dir: ResultsDir = Path("results")
    resume: Resume = False
    overwrite: Overwrite = False
    restore: Annotated[
        Path | None,
        typer.Option(
            help="Start trials from this RLlib checkpoint, counters included (it is unpickled: trust it).",
            metavar="FOLDER",
        ),
    ] = None
    num_samples: Annotated[
        int | None, typer.Option(help="How often grids are repeated, or drawn from domains (default 1).")
    ] = None
    max_failures: Annotated[
        int | None, typer.Option(help="Restarts of a trial that has lost a process (default 3; -1: without end).")
    ] = None
    checkpoint_freq: Annotated[
        int | None, typer.Option(help="Iterations between checkpoints (default 10; 0 for none).", min=0)
    ] = None
    checkpoint_at_end: Annotated[
        bool | None,
        typer.Option("--checkpoint-at-end/--no-checkpoint-at-end", help="Checkpoint at the end (default yes)."),
    ] = None
    keep_checkpoints_num: Annotated[int | None, typer.Option(help="Checkpoints to keep (default 2).", min=1)] = None
    checkpoint_score_attr: Annotated[
        str | None,
        typer.Option(
            help="Keep the checkpoints with the highest result of this name, or with min- the lowest.", metavar="RESULT"
        ),
    ] = None
    framework: Annotated[
        str | None, typer.Option(help="torch: RLlib's new API stack has no other.", metavar="NAME")
    ] = None
    torch: Annotated[bool, typer.Option("--torch", help="The same as --framework torch.")] = False
    ray_address: Annotated[
        str | None, typer.Option(help="Join this Ray cluster instead of starting one.", metavar="ADDRESS")
    ] = None
    ray_num_cpus: RayCpus = None
    ray_num_gpus: Annotated[int | None, typer.Option(help="GPUs of the Ray that is started (default all).", min=0)] = (
        None
    )
    ray_object_store_memory: Annotated[
        int | None, typer.Option(help="Bytes of the object store of the Ray that is started.", metavar="BYTES", min=1)
    ] = None
    ray_ui: Annotated[
        bool, typer.Option("--ray-ui/--no-ray-ui", help="Serve Ray's dashboard (default no).", show_default=False)
    ] = False
    ray_wait: Annotated[
        float,
        typer.Option(
            help="Seconds to wait for a joined cluster to grow, if it is too small for a trial.",
            metavar="SECONDS",
            min=0,
        ),
    ] = 900.0
    scheduler: Annotated[
        str | None, typer.Option(help="Tune's scheduler of trials, such as asha or pbt.", metavar="NAME")
    ] = None
    scheduler_config: Annotated[str | None, typer.Option(help="Its arguments.", metavar="JSON")] = None
    wandb_key: Annotated[str | None, typer.Option(help="API key: log to Weights & Biases too.", metavar="KEY")] = None
    wandb_project: Annotated[
        str | None, typer.Option(help="The project there (default: the file's name).", metavar="NAME")
    ] = None
    wandb_run_name: Annotated[str | None, typer.Option(help="The run's name there.", metavar="NAME")] = None
    mlflow_uri: Annotated[
        str | None,
        typer.Option(help="Log to MLflow too: a server's address, or sqlite:///FILE.", metavar="URI"),
    ] = None
    verbose: Verbose = 0
    log_info: Annotated[bool, typer.Option("--log-info", help="The same as -v.")] = False
    log_debug: Annotated[bool, typer.Option("--log-debug", help="The same as -vv.")] = False


def takes_train_choices(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command every field of `TrainChoices` as an option; it gets them together as `choices`.

    Args:
        command: a function with an argument `choices`, for typer.
    """
    own = inspect.signature(command)
    hints = get_type_hints(TrainChoices, include_extras=True)
    shared = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name])
        for each in fields(TrainChoices)
    ]
    kept = [parameter for parameter in own.parameters.values() if parameter.name != "choices"]

    @functools.wraps(command)
    def run(*arguments: Any, **values: Any) -> None:
        choices = TrainChoices(**{each.name: values.pop(each.name) for each in shared})
        command(*arguments, choices=choices, **values)

    # What typer reads.
    vars(run).update(__signature__=own.replace(parameters=[*kept, *shared]))
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*kept, *shared]}
    return run
