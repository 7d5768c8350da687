"""The options of ``rllib evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    Path,
    typer.Argument(
        help="A policy folder, a checkpoint, an experiment's folder, DIR/<file> for its last one, or "
        "hf:ORG/NAME or hf:ORG/NAME@REVISION."
    ),
]
Episodes = Annotated[
    int | None, typer.Option(help="Episodes to play (default 20, or as many as --steps take; 0 with --steps).", min=0)
]
Seed = Annotated[int, typer.Option(help="Same seed, same initial states.", min=0)]
DenoisingSteps = Annotated[
    str | None, typer.Option(help="Steps K of the flow, or several (default: as trained).", metavar="K[,K...]")
]
Variant = Annotated[
    str | None,
    typer.Option(help="flow, scoreflow (the drift it was trained with; the default), or both.", metavar="NAME[,NAME]"),
]
Start = Annotated[
    str | None,
    typer.Option(
        help="Where chains start: normal (drawn), zero, or learned (default: as the policy says).", metavar="NAME"
    ),
]
Sweep = Annotated[
    bool, typer.Option("--sweep", help="Compare K = 1 to 16 and both variants, or those given, in a table.")
]
Attribute = Annotated[
    bool,
    typer.Option(
        "--attribute",
        help="Tell learning, drift and start of a fine-tuned run apart in seven rows on the same episodes.",
    ),
]
Clone = Annotated[
    Path | None, typer.Option(help="The policy that the run started from (default: as the run says).", metavar="POLICY")
]
SearchStart = Annotated[
    int | None,
    typer.Option(help="Try so many random starts, and store the best one in a new policy (--output).", min=1),
]
Output = Annotated[Path | None, typer.Option(help="The new policy folder of --search-start.", metavar="FOLDER")]
Plot = Annotated[
    Path | None, typer.Option(help="Draw the sweep or the attribution into this new .png.", metavar="FILE.png")
]
OverwriteAttribution = Annotated[bool, typer.Option("--overwrite", help="Replace the run's earlier attribution.")]
Environment = Annotated[
    str | None,
    typer.Option(
        "--env",
        "-e",
        help="Environment (default: as trained). One that a policy names by its code has to be named.",
        metavar="ID",
    ),
]
Algorithm = Annotated[
    str | None, typer.Option("--algo", "--run", "-a", "-r", help="Refuse what is of another algorithm.", metavar="NAME")
]
Steps = Annotated[
    int | None,
    typer.Option(help="Checkpoints of RLlib: end after the episode with this step (0: no limit).", min=0),
]
Render = Annotated[bool, typer.Option("--render", help="Checkpoints of RLlib: show the environment in a window.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Checkpoints of RLlib: pickle every step into this new file, a list per episode.", metavar="FILE"
    ),
]
Config = Annotated[
    str,
    typer.Option(
        "--config", "-c", help="Checkpoints of RLlib: env, env_config, explore, over its own.", metavar="JSON"
    ),
]
SaveInfo = Annotated[bool, typer.Option("--save-info", help="With --out: each step's info too.")]
UseShelve = Annotated[bool, typer.Option("--use-shelve", help="With --out: a shelf with an entry per episode.")]
TrackProgress = Annotated[
    bool, typer.Option("--track-progress", help="With --out: keep a file beside it that says how far it is.")
]
Backend = Annotated[str, typer.Option(help="auto, envpool or gymnasium.", metavar="NAME")]
MaxEpisodeSteps = Annotated[
    int | None, typer.Option(help="Time limit in steps (default: as trained, or as registered).", min=1)
]
Success = Annotated[
    str | None,
    typer.Option(
        help="What counts: success in the last step of an episode, or in any (default: last).", metavar="last|any"
    ),
]
Video = Annotated[Path | None, typer.Option(help="Also film one episode into this new .mp4.", metavar="FILE.mp4")]
ContactSheet = Annotated[
    Path | None, typer.Option(help="Also draw frames of that episode on this new .png.", metavar="FILE.png")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
