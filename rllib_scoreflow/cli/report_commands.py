"""``rllib sweep report`` and ``rllib report``. Imports are late, so that help and mistakes come fast."""

from pathlib import Path
from typing import Annotated

import typer

from rllib_scoreflow.cli.help import App
from rllib_scoreflow.files.user_paths import expand_user

sweep_app = App(help="Look at experiments with several trials.", no_args_is_help=True)


@sweep_app.callback()
def sweep() -> None:
    """Look at experiments with several trials."""


@sweep_app.command("report")
def sweep_report(
    folder: Annotated[Path, typer.Argument(help="An experiment's folder: DIR/<file>/<experiment>.")],
    *,
    metric: Annotated[
        str | None, typer.Option(help="Sort by this result (default: the experiment's).", metavar="RESULT")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a table of the trials, the best first, and draw their curves anew into the folder's sweep.png."""
    from rllib_scoreflow.reports.sweep import report_sweep

    report_sweep(expand_user(folder), metric, as_json=as_json)


def report(
    run: Annotated[Path, typer.Argument(help="An experiment's folder, or DIR/<file> for all of a file.")],
    *,
    form: Annotated[str, typer.Option("--format", help="html or md.", metavar="html|md")] = "html",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing report.")] = False,
) -> None:
    """Write one page about a run into its folder: configuration, versions, curves, evaluations, places."""
    from rllib_scoreflow.reports.page import write_report

    print(write_report(expand_user(run), form, overwrite=overwrite))
