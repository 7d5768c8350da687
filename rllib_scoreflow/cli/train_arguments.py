"""The options that both forms of ``rllib train`` have."""

from pathlib import Path
from typing import Annotated

import typer

ResultsDir = Annotated[Path, typer.Option(help="Where results go: DIR/<file>/<experiment>/.", metavar="DIR")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run from its last checkpoint.")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace runs that are unfinished or of another configuration."),
]
Stop = Annotated[
    str | None,
    typer.Option(
        help="When to stop, instead of the file's `stop`; the first reached ends it.",
        metavar="JSON",
    ),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        help="-v: the workers' output; -vv: Ray's too, and tracebacks.",
    ),
]
CheckpointFreq = Annotated[
    int | None, typer.Option(help="Iterations between checkpoints (default 10; 0 for none).", min=0)
]
CheckpointAtEnd = Annotated[
    bool | None,
    typer.Option("--checkpoint-at-end/--no-checkpoint-at-end", help="Checkpoint at the end (default yes)."),
]
KeepCheckpoints = Annotated[int | None, typer.Option(help="Checkpoints to keep (default 2).", min=1)]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        help="Module of your own that registers a part of the policy, such as its velocity field; it is imported. May "
        "be given several times.",
        metavar="MODULE",
    ),
]
RayAddress = Annotated[str | None, typer.Option(help="Join this Ray cluster instead of starting one.")]
RayCpus = Annotated[int | None, typer.Option(help="CPUs of the Ray that is started (default all).", min=1)]
RayGpus = Annotated[int | None, typer.Option(help="GPUs of the Ray that is started (default all).", min=0)]
RayWait = Annotated[
    float,
    typer.Option(help="Seconds to wait for a joined cluster to grow, if it is too small for a trial.", min=0),
]
Scheduler = Annotated[str | None, typer.Option(help="Tune's scheduler of trials, such as asha or pbt.")]
SchedulerConfig = Annotated[str | None, typer.Option(help="Its arguments.", metavar="JSON")]
WandbKey = Annotated[
    str | None,
    typer.Option(help="API key: log to Weights & Biases too."),
]
MlflowUri = Annotated[
    str | None,
    typer.Option(help="Log to MLflow too: a server's address, or sqlite:///FILE.", metavar="URI"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a value, e.g. config.gamma=0.99 or name.stop.env_steps=1e6; repeatable.",
        metavar="KEY=VALUE",
    ),
]
