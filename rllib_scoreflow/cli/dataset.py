"""``rllib dataset`` and its commands. Imports are late, so that help and mistakes come fast."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rllib_scoreflow.cli.help import App
from rllib_scoreflow.cli.train_arguments import Plugins
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.user_paths import expand_user

if TYPE_CHECKING:
    from rllib_scoreflow.data import DatasetInfo
    from rllib_scoreflow.data.options import ReadOptions

dataset_app = App(help="Generate, convert, inspect, check and render datasets.", no_args_is_help=True)

Dataset = Annotated[
    str,
    typer.Argument(
        help="A path (.hdf5, .npz, .parquet, a LeRobotDataset's folder), minari:ID, lerobot:ID, or an id such as "
        "hopper-medium-v2 or robomimic/can-ph.",
        show_default=False,
    ),
]
FilterKey = Annotated[
    str | None,
    typer.Option(help="Robomimic's subset under mask/, such as train; a task of a LeRobotDataset.", metavar="NAME"),
]
ObservationKeys = Annotated[
    str | None, typer.Option(help="Arrays that make up the observation, in this order.", metavar="A,B,...")
]
Cameras = Annotated[str | None, typer.Option(help="Cameras to read, in this order.", metavar="A,B,...")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataset_app.command()
def convert(
    source: Dataset,
    output: Annotated[Path, typer.Argument(help="A new .parquet file.", show_default=False)],
    *,
    filter_key: FilterKey = None,
    observation_keys: ObservationKeys = None,
    cameras: Cameras = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert a dataset of any format into one Parquet file, which every command takes in its place."""
    from rllib_scoreflow.data.convert import convert_dataset

    options = read_options(filter_key, observation_keys, cameras)
    output = expand_user(output)
    info = convert_dataset(source, output, options, overwrite=overwrite)
    size = output.stat().st_size / 1e6
    print(f"{output}: {info.num_steps} steps, {info.num_episodes} episodes, {size:.1f} MB")
    _print_notes(info)


@dataset_app.command()
def generate(
    task: Annotated[
        str,
        typer.Argument(help="Such as metaworld/door-open-v3 or ogbench/cube-single-singletask-v0.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Argument(
            help="A new .parquet file (default: the task's name, in the working folder).", show_default=False
        ),
    ] = None,
    *,
    episodes: Annotated[int, typer.Option(help="Demonstrations to keep.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same demonstrations.", min=0)] = 0,
    keep_failures: Annotated[
        bool, typer.Option("--keep-failures", help="Also keep demonstrations that did not succeed.")
    ] = False,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Let the expert that comes with a task play it, and write what it did as a dataset; nothing is downloaded."""
    from rllib_scoreflow.data.progress import Bar
    from rllib_scoreflow.envs.generators import generate_dataset
    from rllib_scoreflow.plugins import extend_module_path, import_plugins

    extend_module_path([Path.cwd()])
    import_plugins(plugins or ())
    output = Path(f"{task.replace('/', '-')}.parquet") if output is None else expand_user(output)
    with Bar("playing demonstrations", episodes) as bar:
        info = generate_dataset(
            task,
            output,
            episodes=episodes,
            seed=seed,
            keep_failures=keep_failures,
            overwrite=overwrite,
            progress=bar.advance,
        )
    made, size = info.provenance, output.stat().st_size / 1e6
    print(f"{output}: {info.num_steps} steps, {info.num_episodes} episodes, {size:.1f} MB")
    print(f"{made['episodes_tried']} demonstrations were played, {made['successes']} of those kept succeeded")


@dataset_app.command()
def export(
    source: Annotated[
        str,
        typer.Argument(
            help="A dataset as for the other commands, or a policy, whose episodes are played and recorded: its "
            "folder, a checkpoint, or an experiment's folder.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
    *,
    layout: Annotated[
        str, typer.Option("--format", help="lerobot: a LeRobotDataset of version 3.", metavar="NAME")
    ] = "lerobot",
    fps: Annotated[
        int | None, typer.Option(help="Steps per second (default: as the dataset or environment says).", min=1)
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="The task in words, of a source that has none (default: the environment's id).")
    ] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Store images as PNG in place of videos.")] = False,
    episodes: Annotated[int | None, typer.Option(help="Episodes that a policy plays (default: 20).", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Of their initial states (default: 0).", min=0)] = None,
    env: Annotated[
        str | None, typer.Option(help="Environment it plays in (default: as trained).", metavar="ID")
    ] = None,
    filter_key: FilterKey = None,
    observation_keys: ObservationKeys = None,
    cameras: Cameras = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing LeRobotDataset.")] = False,
) -> None:
    """Write a dataset, or episodes that a policy plays, for another library."""
    from rllib_scoreflow.cli.dataset_export import ExportForm, run_dataset_export
    from rllib_scoreflow.plugins import extend_module_path

    extend_module_path([Path.cwd()])
    run_dataset_export(
        source,
        expand_user(output),
        read_options(filter_key, observation_keys, cameras),
        form=ExportForm(layout, fps, task, lossless, overwrite),
        episodes=episodes,
        seed=seed,
        env=env,
    )


@dataset_app.command()
def info(
    dataset: Dataset,
    *,
    filter_key: FilterKey = None,
    observation_keys: ObservationKeys = None,
    cameras: Cameras = None,
    as_json: Json = False,
) -> None:
    """Print what a dataset holds; it is converted into the cache first, if it is not there."""
    from rllib_scoreflow.data.resolve import open_to_look

    opened = open_to_look(dataset, read_options(filter_key, observation_keys, cameras))
    content = {"path": str(opened.path), **json.loads(opened.info.to_json())}
    if as_json:
        print(json.dumps(content, indent=2))
        return
    _print_table(_rows(opened.info, opened.path))
    _print_notes(opened.info)


@dataset_app.command()
def verify(
    dataset: Dataset,
    *,
    filter_key: FilterKey = None,
    observation_keys: ObservationKeys = None,
    cameras: Cameras = None,
) -> None:
    """Read a dataset again and check hashes, values, episodes, the converted form and chunks; exit 2 on a failure."""
    from rllib_scoreflow.data.convert import verify_dataset

    checks = verify_dataset(dataset, read_options(filter_key, observation_keys, cameras))
    _print_table([(check.name, check.found) for check in checks])
    print(f"{dataset}: in order")


@dataset_app.command()
def render(
    source: Annotated[
        Path, typer.Argument(help="A Robomimic or robosuite .hdf5 file with states.", show_default=False)
    ],
    output: Annotated[Path, typer.Argument(help="A new .hdf5 file.", show_default=False)],
    *,
    cameras: Annotated[
        str, typer.Option(help="Cameras to render; none: low-dim observations only.", metavar="A,B,...")
    ] = "agentview,robot0_eye_in_hand",
    size: Annotated[int, typer.Option(help="Height and width of the images.", min=8, max=1024)] = 84,
    overwrite: Overwrite = False,
) -> None:
    """Simulate recorded states again, for observations and images that a file lacks (needs robosuite 1.4.1)."""
    from rllib_scoreflow.data.progress import Bar

    source, output = expand_user(source), expand_user(output)
    options = read_options(None, None, cameras)
    if output.suffix not in {".hdf5", ".h5"}:
        raise InputError(f"{output}: the output is an HDF5 file; give a path that ends in .hdf5")
    if not source.is_file():
        raise InputError(f"{source}: no such file; give an .hdf5 file of Robomimic or robosuite")
    if output.exists() and not overwrite:
        raise InputError(f"{output}: the file exists already; choose another path or add --overwrite")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output.absolute().parent}: no such folder; make it first")
    from rllib_scoreflow.envs.robosuite.render import render_dataset

    with Bar("rendering", 1) as bar:
        note = render_dataset(
            source,
            output,
            cameras=options.cameras or (),
            image_size=(size, size),
            progress=bar.update,
            overwrite=overwrite,
        )
    if note:
        print(f"Note: {note}.")
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


def read_options(filter_key: str | None, observation_keys: str | None, cameras: str | None) -> "ReadOptions":
    """Take what the user typed apart.

    Args:
        filter_key: a subset.
        observation_keys: names with commas between.
        cameras: likewise.

    Raises:
        InputError: a name is empty or given twice.
    """
    from rllib_scoreflow.data.options import ReadOptions

    def words(text: str | None) -> list[str] | None:
        return None if text is None else [word.strip() for word in text.split(",")] if text else []

    return ReadOptions.of(filter_key, words(observation_keys), words(cameras))


def _rows(info: "DatasetInfo", path: Path) -> list[tuple[str, str]]:
    def spread(values: Any) -> str:
        return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"

    config = [f"{key}: {'see --json' if isinstance(value, dict) else value}" for key, value in info.env_config.items()]
    return [
        ("name", info.name),
        ("source", info.source),
        ("file", str(path)),
        ("environment", shorten(info.env_id or "-")),
        ("episodes", str(info.num_episodes)),
        ("steps", str(info.num_steps)),
        ("mean return", f"{info.mean_return:.2f}"),
        ("observation dimensions", str(info.observation_dim)),
        ("observation keys", ", ".join(info.observation_keys) or "-"),
        ("observation min", spread(info.observation_min)),
        ("observation max", spread(info.observation_max)),
        ("action dimensions", str(info.action_dim)),
        ("action min", spread(info.action_min)),
        ("action max", spread(info.action_max)),
        ("steps per second", "-" if info.fps is None else f"{info.fps:g}"),
        ("tasks", shorten(", ".join(info.tasks)) or "-"),
        ("cameras", ", ".join(info.cameras) or "-"),
        ("image size", "-" if info.image_size is None else "{} x {}".format(*info.image_size)),
        ("generated by", "\n".join(f"{key}: {value}" for key, value in info.provenance.items()) or "-"),
        ("environment config", "\n".join(config) or "-"),
        ("source SHA-256", info.source_sha256),
        ("content SHA-256", info.content_sha256),
        ("schema version", str(info.schema_version)),
    ]


def _print_notes(info: "DatasetInfo") -> None:
    for note in info.notes:
        print(f"note: {note}")


def _print_table(rows: list[tuple[str, str]]) -> None:
    from rich.table import Table

    from rllib_scoreflow.terminal import new_console

    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    new_console().print(table)
