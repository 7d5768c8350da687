"""``rllib policy``. Imports are late, so that help and mistakes come fast."""

from pathlib import Path
from typing import Annotated

import typer

from rllib_scoreflow.cli.train_arguments import Plugins
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.plugins import extend_module_path, import_plugins

policy_app = typer.Typer(help="Inspect exported policies, and export them to ONNX.", no_args_is_help=True)


@policy_app.command("info")
def policy_info(
    path: Annotated[
        Path,
        typer.Argument(help="A policy folder, or a checkpoint or experiment's folder with one."),
    ],
    plugins: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what an exported policy says of itself; only its JSON is read."""
    from rllib_scoreflow.cli.policy_info import print_policy_info

    extend_module_path([Path.cwd()])
    import_plugins(plugins or ())
    print_policy_info(expand_user(path), as_json=as_json)


@policy_app.command("export")
def policy_export(
    path: Annotated[
        Path,
        typer.Argument(help="A policy folder, or a checkpoint or experiment's folder with one."),
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.", show_default=False)],
    variant: Annotated[
        str | None, typer.Option(help="flow, or scoreflow (the drift it was trained with; the default).")
    ] = None,
    denoising_steps: Annotated[
        int | None, typer.Option(help="Steps K of the flow, fixed in the file (default: as trained).", min=1)
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Where chains start: normal (an input), zero, or learned (default: the policy's)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    plugins: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a policy as an ONNX file, from observation and noise to action chunk; checked against torch."""
    from rllib_scoreflow.cli.policy_export import run_policy_export

    extend_module_path([Path.cwd()])
    import_plugins(plugins or ())
    run_policy_export(
        expand_user(path),
        expand_user(output),
        variant=variant,
        denoising_steps=denoising_steps,
        start=start,
        overwrite=overwrite,
        as_json=as_json,
    )
