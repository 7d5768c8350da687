"""``rllib policy``. Imports are late, so that help and mistakes come fast."""

from pathlib import Path
from typing import Annotated

import typer

from rllib_scoreflow.cli.help import App
from rllib_scoreflow.cli.train_arguments import Plugins
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.plugins import extend_module_path, import_plugins

policy_app = App(
    help="Inspect exported policies, share them on the Hub, and export them to ONNX.", no_args_is_help=True
)


@policy_app.command("info")
def policy_info(
    path: Annotated[
        Path,
        typer.Argument(help="A policy folder, a checkpoint or experiment's folder with one, or hf:ORG/NAME@REVISION."),
    ],
    plugins: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what an exported policy says of itself; only its JSON is read."""
    from rllib_scoreflow.cli.policy_info import print_policy_info
    from rllib_scoreflow.experiments.weights import last_experiment

    extend_module_path([Path.cwd()])
    import_plugins(plugins or ())
    print_policy_info(last_experiment(expand_user(path)), as_json=as_json)


@policy_app.command("export")
def policy_export(
    path: Annotated[
        Path,
        typer.Argument(help="A policy folder, a checkpoint or experiment's folder with one, or hf:ORG/NAME@REVISION."),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .onnx file to write.", metavar="FILE.onnx", show_default=False)
    ],
    variant: Annotated[
        str | None,
        typer.Option(help="flow, or scoreflow (the drift it was trained with; the default).", metavar="NAME"),
    ] = None,
    denoising_steps: Annotated[
        int | None, typer.Option(help="Steps K of the flow, fixed in the file (default: as trained).", min=1)
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Where chains start: normal (an input), zero, or learned (default: the policy's).", metavar="NAME"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    plugins: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a policy as an ONNX file, from observation and noise to action chunk; checked against torch."""
    from rllib_scoreflow.cli.policy_export import run_policy_export
    from rllib_scoreflow.experiments.weights import last_experiment

    extend_module_path([Path.cwd()])
    import_plugins(plugins or ())
    run_policy_export(
        last_experiment(expand_user(path)),
        expand_user(output),
        variant=variant,
        denoising_steps=denoising_steps,
        start=start,
        overwrite=overwrite,
        as_json=as_json,
    )


@policy_app.command("push")
def policy_push(
    path: Annotated[
        Path,
        typer.Argument(help="An experiment's folder, DIR/<file> for the last of a file, or a policy folder."),
    ],
    target: Annotated[str, typer.Argument(help="hf:ORG/NAME, which is made if it is missing.")],
    *,
    private: Annotated[bool, typer.Option("--private", help="The repository has to be private.")] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch, which is made if it is missing (default: main).", metavar="BRANCH")
    ] = None,
    license_id: Annotated[
        str | None, typer.Option("--license", help="Licence for the model card, such as apache-2.0.", metavar="ID")
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(help="An .mp4 for the model card (default: that in the run's folder).", metavar="FILE.mp4"),
    ] = None,
    plugins: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put a policy on Hugging Face's Hub with a model card made from its run; the token is HF_TOKEN's."""
    from rllib_scoreflow.cli.policy_push import PushOptions, run_policy_push

    extend_module_path([Path.cwd()])
    import_plugins(plugins or ())
    options = PushOptions(private, revision, license_id, None if video is None else expand_user(video))
    run_policy_push(expand_user(path), target, options, as_json=as_json)


@policy_app.command("pull")
def policy_pull(
    source: Annotated[str, typer.Argument(help="hf:ORG/NAME, or hf:ORG/NAME@REVISION: a branch, a tag or a commit.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The new policy folder (default: NAME).", metavar="FOLDER")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the policy that is there.")] = False,
    plugins: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Get a policy from Hugging Face's Hub at one commit, its hashes checked; nothing is unpickled."""
    from rllib_scoreflow.cli.policy_pull import run_policy_pull

    extend_module_path([Path.cwd()])
    import_plugins(plugins or ())
    run_policy_pull(source, None if output is None else expand_user(output), overwrite=overwrite, as_json=as_json)
