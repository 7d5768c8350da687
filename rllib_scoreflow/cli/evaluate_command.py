"""``rllib evaluate``: its options. Imports are late, so that help and mistakes come fast."""

from pathlib import Path
from typing import TYPE_CHECKING

from rllib_scoreflow.cli.evaluate_arguments import (
    Algorithm,
    AsJson,
    Attribute,
    Backend,
    Clone,
    Config,
    ContactSheet,
    DenoisingSteps,
    Environment,
    Episodes,
    MaxEpisodeSteps,
    Out,
    Output,
    OverwriteAttribution,
    Plot,
    Render,
    SaveInfo,
    SearchStart,
    Seed,
    Source,
    Start,
    Steps,
    Success,
    Sweep,
    TrackProgress,
    UseShelve,
    Variant,
    Video,
)
from rllib_scoreflow.cli.train_arguments import Plugins, Verbose
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.plugins import extend_module_path, import_plugins

if TYPE_CHECKING:
    from rllib_scoreflow.cli.evaluate_options import EvaluateOptions
    from rllib_scoreflow.cli.evaluate_sweep import Settings


def evaluate(
    path: Source,
    *,
    episodes: Episodes = None,
    seed: Seed = 0,
    denoising_steps: DenoisingSteps = None,
    variant: Variant = None,
    start: Start = None,
    sweep: Sweep = False,
    attribute: Attribute = False,
    clone: Clone = None,
    search_start: SearchStart = None,
    output: Output = None,
    plot: Plot = None,
    overwrite: OverwriteAttribution = False,
    env: Environment = None,
    backend: Backend = "auto",
    max_episode_steps: MaxEpisodeSteps = None,
    success: Success = None,
    video: Video = None,
    contact_sheet: ContactSheet = None,
    algo: Algorithm = None,
    steps: Steps = None,
    render: Render = False,
    out: Out = None,
    config: Config = "{}",
    save_info: SaveInfo = False,
    use_shelve: UseShelve = False,
    track_progress: TrackProgress = False,
    plugins: Plugins = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Play a policy without exploration and print its mean return.

    Exported policies (and checkpoints of FlowBC and ScoreFlow, which hold one) are safe to load.
    Checkpoints of other RLlib algorithms are unpickled, which runs code from them: evaluate only those that you trust.
    """
    from rllib_scoreflow.cli.evaluate_options import EvaluateOptions
    from rllib_scoreflow.cli.evaluate_sweep import read_settings
    from rllib_scoreflow.cli.rollouts import RolloutOptions
    from rllib_scoreflow.experiments.quiet import quieten
    from rllib_scoreflow.experiments.yaml import parse_mapping

    quieten(verbose)
    extend_module_path([Path.cwd()])
    import_plugins(plugins or ())
    path, settings = expand_user(path), read_settings(denoising_steps, variant)
    named = (video, contact_sheet, plot, clone, output, out)
    video, contact_sheet, plot, clone, output, out = (file and expand_user(file) for file in named)
    rollout = RolloutOptions(
        steps or None, render, out, parse_mapping(config, "--config"), save_info, use_shelve, track_progress
    )
    _check_together(
        attribute=attribute,
        sweep=sweep or settings.several,
        search_start=search_start,
        clone=clone,
        output=output,
        overwrite=overwrite,
    )
    options = EvaluateOptions(
        _how_many(episodes, rollout.steps),
        seed,
        start=start,
        env=env,
        backend=backend,
        video=video,
        contact_sheet=contact_sheet,
        max_episode_steps=max_episode_steps,
        success=success,
        algorithm=algo,
        rollout=rollout,
    )
    modes = (attribute, search_start, sweep)
    _play(path, options, settings, modes, clone=clone, output=output, plot=plot, overwrite=overwrite, as_json=as_json)


def _play(
    path: Path,
    options: "EvaluateOptions",
    settings: "Settings",
    modes: tuple[bool, int | None, bool],
    *,
    clone: Path | None,
    output: Path | None,
    plot: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Evaluate in the mode that was asked for: attribution, search of a start, sweep, or plainly."""
    from rllib_scoreflow.cli.evaluate import run_evaluation
    from rllib_scoreflow.cli.evaluate_attribution import run_attribution
    from rllib_scoreflow.cli.evaluate_start import run_start_search
    from rllib_scoreflow.cli.evaluate_sweep import run_sweep
    from rllib_scoreflow.experiments.weights import last_experiment

    attribute, search_start, sweep = modes
    path = last_experiment(path)
    if attribute:
        run_attribution(path, settings.only(options), clone=clone, plot=plot, overwrite=overwrite, as_json=as_json)
    elif search_start is not None:
        assert output is not None
        run_start_search(path, settings.only(options), candidates=search_start, output=output, as_json=as_json)
    elif sweep or settings.several:
        run_sweep(path, options, settings, plot=plot, as_json=as_json)
    elif plot is not None:
        raise InputError(f"--plot {plot} draws a sweep or an attribution; give --sweep, or several --denoising-steps.")
    else:
        run_evaluation(path, settings.only(options), as_json=as_json)


def _how_many(episodes: int | None, steps: int | None) -> int:
    """How many episodes are played, 0 for as many as the steps take."""
    if episodes == 0 and steps is None:
        raise InputError("--episodes 0 is without end; give a number, or --steps too.")
    return (20 if steps is None else 0) if episodes is None else episodes


def _check_together(
    *,
    attribute: bool,
    sweep: bool,
    search_start: int | None,
    clone: Path | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Refuse options of which one would have no effect beside or without another.

    Raises:
        InputError: naming both.
    """
    modes = {"--attribute": attribute, "--search-start": search_start is not None, "--sweep": sweep}
    chosen = [option for option, is_given in modes.items() if is_given]
    if len(chosen) > 1:
        also = " (or several --denoising-steps or --variant)" if chosen[1] == "--sweep" else ""
        raise InputError(f"{chosen[0]} and {chosen[1]}{also} are two ways to play a policy; give one of them.")
    owners = {
        "--clone": (clone, "--attribute"),
        "--overwrite": (overwrite, "--attribute"),
        "--output": (output, "--search-start"),
    }
    for option, (value, owner) in owners.items():
        if value and owner not in chosen:
            raise InputError(f"{option} belongs to {owner}, which is not given; leave it out.")
    if search_start is not None and output is None:
        raise InputError(
            f"--search-start {search_start} stores the best start in a new policy; name it with --output FOLDER."
        )
