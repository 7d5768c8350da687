"""``rllib dataset export``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.suggest import hint

if TYPE_CHECKING:
    from rllib_scoreflow.cli.evaluate_options import EvaluateOptions
    from rllib_scoreflow.data.options import ReadOptions
    from rllib_scoreflow.data.schema import DatasetInfo

FORMATS = ("lerobot",)


@dataclass(frozen=True)
class ExportForm:
    """How something is written.

    Attributes:
        layout: the format.
        fps: steps per second; None: as the source says.
        task: the task in words, of a source that has none; None: the environment's id, or the dataset's name.
        lossless: store images as PNG in place of videos.
        overwrite: replace a dataset of this format.
    """

    layout: str
    fps: int | None
    task: str | None
    lossless: bool
    overwrite: bool


def run_dataset_export(
    source: str,
    output: Path,
    options: "ReadOptions",
    *,
    form: ExportForm,
    episodes: int | None,
    seed: int | None,
    env: str | None,
) -> None:
    """Write a dataset, or episodes that a policy plays, in somebody else's format, and say what was written.

    Args:
        source: a dataset as for every command, or the path of a policy, checkpoint or experiment's folder.
        output: a new folder.
        options: what to read of a dataset.
        form: how it is written.
        episodes: how many a policy plays, 20 by default.
        seed: of their initial states, 0 by default.
        env: where it plays; None: where it was trained.

    Raises:
        InputError: an option that does not fit the source, or what reading, playing and writing refuse.
    """
    from rllib_scoreflow.cli.evaluate_options import EvaluateOptions
    from rllib_scoreflow.data.lerobot_writer import check_export
    from rllib_scoreflow.experiments.weights import find_policy
    from rllib_scoreflow.files.user_paths import expand_user

    if form.layout not in FORMATS:
        raise InputError(f"--format {shorten(form.layout)}: {hint(form.layout, FORMATS, 'it is one of')}")
    check_export(output, overwrite=form.overwrite)
    policy = find_policy(expand_user(source))
    if policy is None:
        given = {"--episodes": episodes, "--seed": seed, "--env": env}
        unused = next((option for option, value in given.items() if value is not None), None)
        if unused is not None:
            raise InputError(
                f"{unused} is for policies, which play episodes, and {shorten(source)} is none; leave it out"
            )
        info = _export_dataset(source, output, options, form)
    else:
        options.refuse_all_but(set(), policy, "a policy, whose episodes are recorded as it sees them")
        info = _export_rollouts(policy, output, EvaluateOptions(episodes or 20, seed or 0, env=env), form)
    print(f"{output}: {info.num_steps} steps, {info.num_episodes} episodes, {_megabytes(output):.1f} MB")


def _export_dataset(source: str, output: Path, options: "ReadOptions", form: ExportForm) -> "DatasetInfo":
    from rllib_scoreflow.data.cache import cache_folder
    from rllib_scoreflow.data.lerobot_writer import write_lerobot
    from rllib_scoreflow.data.sources import identify, read_source
    from rllib_scoreflow.evaluation.recording import frames_per_second

    found, sha256, to_read = identify(source, cache_folder(), options)
    columns, info = read_source(found, sha256, to_read, output.absolute().parent)
    if form.task is not None and columns.tasks:
        raise InputError(f"--task is for a dataset without tasks, and {info.name} has its own; leave it out")
    rate = frames_per_second(form.fps, info.fps or _control_rate(info), f"dataset {info.name}")
    write_lerobot(
        columns,
        info,
        output,
        fps=rate,
        task=form.task or info.env_id or info.name,
        videos=not form.lossless,
        overwrite=form.overwrite,
    )
    return info


def _control_rate(info: "DatasetInfo") -> float | None:
    """Steps per second of the environment that a dataset names: robosuite's own argument, or what is registered."""
    import gymnasium

    from rllib_scoreflow.envs import resolve_env

    rate = info.env_config.get("env_kwargs", info.env_config).get("control_freq")
    if isinstance(rate, int | float):
        return float(rate)
    if info.env_id is None or ":" in info.env_id:
        return None
    try:
        entry = resolve_env(info.env_id).spec.entry_point
        made = gymnasium.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
    except (InputError, ImportError, AttributeError, gymnasium.error.Error):
        return None
    known = getattr(made, "metadata", {}).get("render_fps")
    return float(known) if isinstance(known, int | float) else None


def _export_rollouts(policy: Path, output: Path, options: "EvaluateOptions", form: ExportForm) -> "DatasetInfo":
    from rllib_scoreflow.cli.evaluate import Player
    from rllib_scoreflow.data.lerobot_writer import check_video_size, write_lerobot
    from rllib_scoreflow.data.progress import Bar
    from rllib_scoreflow.data.schema import describe
    from rllib_scoreflow.experiments.weights import policy_digest

    player = Player.load(policy, options)
    shape = player.policy.config.image_shape
    if shape is not None and not form.lossless:
        check_video_size(shape[1:3])
    with Bar("playing episodes", options.episodes) as bar:
        played = player.record(options, output.absolute().parent, form.fps, bar.advance)
    info = describe(
        played.columns,
        name=output.name,
        source=f"episodes of a policy, seed {options.seed}",
        source_sha256=policy_digest(policy),
        env_id=player.env_id,
    )
    write_lerobot(
        played.columns,
        info,
        output,
        fps=round(played.columns.fps),
        task=form.task or player.env_id,
        success=played.success,
        videos=not form.lossless,
        overwrite=form.overwrite,
    )
    return info


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
