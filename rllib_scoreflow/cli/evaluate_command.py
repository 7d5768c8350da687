"""``rllib evaluate``: its options. Imports are late, so that help and mistakes come fast."""

from pathlib import Path
from typing import Annotated

import typer

from rllib_scoreflow.cli.train_arguments import Plugins, Verbose
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.plugins import extend_module_path, import_plugins


def evaluate(
    path: Annotated[Path, typer.Argument(help="A policy folder, a checkpoint, or an experiment's folder.")],
    *,
    episodes: Annotated[int, typer.Option(help="Episodes to play.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Same seed, same initial states.", min=0)] = 0,
    denoising_steps: Annotated[
        str | None, typer.Option(help="Steps K of the flow, or several (default: as trained).", metavar="K[,K...]")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="flow, scoreflow (the drift it was trained with; the default), or both.")
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Compare K = 1 to 16 and both variants, or those given, in a table.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the sweep into this new .png.")] = None,
    env: Annotated[
        str | None,
        typer.Option(
            help="Environment (default: as trained). One of the form module:Id has to be named: it runs code."
        ),
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, envpool or gymnasium.")] = "auto",
    max_episode_steps: Annotated[
        int | None, typer.Option(help="Time limit in steps (default: as trained, or as registered).", min=1)
    ] = None,
    success: Annotated[
        str | None, typer.Option(help="What counts: success in the last step of an episode, or in any (default: last).")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Also film one episode into this new .mp4.")] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Also draw frames of that episode on this new .png.")
    ] = None,
    plugins: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    verbose: Verbose = 0,
) -> None:
    """Play a policy without exploration and print its mean return.

    Exported policies (and checkpoints of FlowBC and ScoreFlow, which hold one) are safe to load.
    Checkpoints of other
    RLlib algorithms are unpickled, which runs code from them: evaluate only those that you trust.
    """
    from rllib_scoreflow.cli.evaluate import run_evaluation
    from rllib_scoreflow.cli.evaluate_options import EvaluateOptions
    from rllib_scoreflow.cli.evaluate_sweep import read_settings, run_sweep
    from rllib_scoreflow.experiments.quiet import quieten

    quieten(verbose)
    extend_module_path([Path.cwd()])
    import_plugins(plugins or ())
    path, settings = expand_user(path), read_settings(denoising_steps, variant)
    video, contact_sheet, plot = (target and expand_user(target) for target in (video, contact_sheet, plot))
    options = EvaluateOptions(
        episodes,
        seed,
        env=env,
        backend=backend,
        video=video,
        contact_sheet=contact_sheet,
        max_episode_steps=max_episode_steps,
        success=success,
    )
    if sweep or settings.several:
        run_sweep(path, options, settings, plot=plot, as_json=as_json)
    elif plot is not None:
        raise InputError(f"--plot {plot} draws a sweep; give --sweep, or several --denoising-steps.")
    else:
        run_evaluation(path, settings.only(options), as_json=as_json)
