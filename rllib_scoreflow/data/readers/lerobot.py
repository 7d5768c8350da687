"""Reader of LeRobotDatasets of version 3, of a folder or of the hub: Parquet, JSON and videos, nothing is unpickled.

The observation is `observation.state` and, where there is one, `observation.environment_state`; `observation_keys`
chooses others. A camera `observation.images.top` is called `top`. An episode is what the dataset's table of episodes
says; it ends by a terminal where `next.done` is set in its last frame and `next.truncated` is not.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.progress import Bar
from rllib_scoreflow.data.readers.base import READERS, Reader
from rllib_scoreflow.data.readers.lerobot_images import Selection, camera_name, find_images
from rllib_scoreflow.data.readers.lerobot_meta import (
    ACTION,
    DONE,
    ENVIRONMENT_STATE,
    REWARD,
    STATE,
    SUCCESS,
    TASKS,
    TRUNCATED,
    Episodes,
    LeRobotInfo,
    read_environment,
    read_episodes,
    read_info,
    read_tasks,
)
from rllib_scoreflow.data.readers.lerobot_tables import AGAIN, INFO, column_of, read_columns
from rllib_scoreflow.data.schema import RawColumns
from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.files.hub import HubId, snapshot
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.suggest import hint

PREFIX = "lerobot:"
_FOLDERS = ("meta", "data", "videos")
# LeRobot's own repositories bear the version of the format as a tag.
_REVISIONS = ("v3.0", None)


@READERS.register("lerobot")
class LeRobotReader(Reader):
    """The folder of a LeRobotDataset."""

    what = "a LeRobotDataset"
    prefix = PREFIX
    options = frozenset({"filter_key", "observation_keys", "cameras"})

    def claims(self, path: Path) -> bool:
        """Whether it is a folder with `meta/info.json`."""
        return (path / INFO).is_file()

    def locate(self, dataset: str) -> Path:
        """See `locate_lerobot`."""
        return locate_lerobot(dataset)

    def files(self, path: Path) -> list[Path]:
        """All files that the format knows."""
        return sorted(each for folder in _FOLDERS for each in (path / folder).rglob("*") if each.is_file())

    def name(self, path: Path) -> str:
        """The folder's name; of one in the hub's cache the repository's."""
        if path.parent.name == "snapshots":
            return path.parent.parent.name.removeprefix("datasets--").replace("--", "/", 1)
        return path.name

    def origin(self, path: Path) -> str:
        """See `name`."""
        return self.name(path)

    def name_file(self, path: Path, file: Path) -> str:
        """The path within the folder, whose own name tells nothing."""
        return os.path.relpath(file, path)

    def read(self, path: Path, options: ReadOptions) -> RawColumns:
        """See `read_lerobot`."""
        return read_lerobot(path, options)


def locate_lerobot(dataset: str) -> Path:
    """Return the folder of a dataset, downloading it first unless it is there.

    Args:
        dataset: `ORG/NAME`, `ORG/NAME@REVISION`, or the path of a folder. Looked for in $HF_LEROBOT_HOME (else
            ~/.cache/huggingface/lerobot), where LeRobot records and downloads to, and then in the hub's cache.

    Raises:
        InputError: it is no id, or the download fails.
    """
    folder = expand_user(dataset)
    if (folder / INFO).is_file():
        return folder.absolute()
    hub_id = HubId.parse(dataset, PREFIX)
    home = expand_user(os.environ.get("HF_LEROBOT_HOME") or _default_home())
    recorded = home / hub_id.repo
    if hub_id.revision is None and (recorded / INFO).is_file():
        return recorded.absolute()
    remedy = f"or place it by hand as {recorded}, or set HF_LEROBOT_HOME to the folder that holds it"
    patterns = [f"{each}/*" for each in _FOLDERS]
    found = snapshot(
        hub_id, "dataset", patterns=patterns, remedy=remedy, revisions=_REVISIONS, also_cached_in=home / "hub"
    )
    if not (found / INFO).is_file():
        raise InputError(f"{PREFIX}{dataset}: the repository holds no '{INFO}'; choose a LeRobotDataset of version 3")
    return found


def _default_home() -> Path:
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home) / "lerobot"


def read_lerobot(folder: Path, options: ReadOptions) -> RawColumns:
    """Read a dataset.

    Args:
        folder: holds `meta/info.json`.
        options: `observation_keys`; `cameras`; `filter_key`, a task by its text or number: its episodes alone.

    Returns:
        columns of N frames without final observations, with frame rate and tasks; rewards are `next.reward`, else
        `next.success`, else 0.

    Raises:
        InputError: a missing, damaged or contradictory file, or an unknown key, camera or task.
    """
    info = read_info(folder)
    keys = _choose_keys(folder, info, options.observation_keys)
    cameras = tuple(_choose_camera(folder, info, name) for name in options.cameras or ())
    videos = [key for key in cameras if info.features[key].dtype == "video"]
    table = read_episodes(folder, info, videos)
    tasks = read_tasks(folder)
    chosen = _choose_episodes(folder, table, tasks, options.filter_key)
    selection = Selection(folder, info, table, cameras, chosen)
    rows = _read_rows(selection, keys)
    length = table.length[chosen]
    ends = np.cumsum(length) - 1
    terminals, timeouts = np.zeros(length.sum(), np.bool_), np.zeros(length.sum(), np.bool_)
    if DONE in rows:
        cut = rows.get(TRUNCATED, timeouts)  # without such a column, nothing was cut
        terminals[ends] = rows[DONE][ends] & ~cut[ends]
    timeouts[ends] = ~terminals[ends]
    used = {text for each in chosen for text in table.tasks[each]}
    names = tuple(text for text in tasks if text in used)
    positions = {text: position for position, text in enumerate(names)}
    recorded = read_environment(folder)
    with np.errstate(over="ignore"):  # what becomes infinite is refused by the validation
        actions = rows[ACTION].astype(np.float32)
    return RawColumns(
        observations=np.concatenate([rows[key] for key in keys], axis=1),
        actions=actions,
        action_dtype=str(rows[ACTION].dtype),
        rewards=rows[REWARD] if REWARD in rows else rows.get(SUCCESS, np.zeros(len(terminals), np.float32)),
        terminals=terminals,
        timeouts=timeouts,
        env_id=recorded.env_id,
        env_config=recorded.env_config,
        observation_keys=keys,
        cameras=tuple(map(camera_name, cameras)),
        image_source=find_images(selection, rows["timestamp"]) if cameras else None,
        notes=_notes(names, rows, ends),
        fps=info.fps,
        tasks=names,
        episode_tasks=tuple(positions[table.tasks[each][0]] for each in chosen),
    )


def _notes(tasks: tuple[str, ...], rows: dict[str, NDArray[Any]], ends: NDArray[np.int64]) -> tuple[str, ...]:
    notes = []
    if len(tasks) > 1:
        notes.append(
            f"{len(tasks)} tasks are read as one; filter_key chooses one of them, such as '{shorten(tasks[0], 60)}'"
        )
    if REWARD not in rows:
        instead = f"'{SUCCESS}' stands for them" if SUCCESS in rows else "they are 0"
        notes.append(f"no rewards were recorded ('{REWARD}'), {instead}")
    if SUCCESS in rows:
        # An episode that has succeeded may be recorded on.
        starts = np.concatenate([[0], ends[:-1] + 1])
        notes.append(f"{int((np.maximum.reduceat(rows[SUCCESS], starts) > 0).sum())} of {len(ends)} episodes succeed")
    if DONE in rows and (early := int(np.delete(rows[DONE], ends).sum())):
        notes.append(f"'{DONE}' is set {early} times before the end of an episode, which its number alone decides")
    return tuple(notes)


def _choose_keys(folder: Path, info: LeRobotInfo, chosen: tuple[str, ...] | None) -> tuple[str, ...]:
    features = info.features
    flat = [key for key, each in features.items() if key.startswith("observation.") and not each.is_camera]
    keys = tuple(key for key in (STATE, ENVIRONMENT_STATE) if key in features) if chosen is None else chosen
    if not keys:
        raise InputError(f"{folder}: has no '{STATE}'; choose observation_keys of {shorten(flat)}")
    for key in keys:
        if key not in features or features[key].is_camera:
            raise InputError(f"{folder}: observation key {quote(key)} is missing; {hint(key, flat, 'it holds')}")
    if ACTION not in features:
        raise InputError(f"{folder}: column '{ACTION}' is missing; {AGAIN}")
    for key in (*keys, ACTION):
        if len(features[key].shape) != 1:
            shape = features[key].shape
            raise InputError(
                f"{folder}: '{shorten(key)}' has the shape {shape}, and rows of numbers are read; choose other "
                "observation_keys"
            )
    return keys


def _choose_camera(folder: Path, info: LeRobotInfo, name: str) -> str:
    """The key of a camera; options.cameras has no ending `_image`."""
    held = {key: camera_name(key) for key, each in info.features.items() if each.is_camera}
    for key, own in held.items():
        if name in (key, own, own.removesuffix("_image")):
            if info.features[key].image_size is None:
                raise InputError(
                    f"{folder}: camera '{shorten(own)}' has images of shape {info.features[key].shape} that are not in "
                    "colour; choose other cameras"
                )
            return key
    known = hint(name, list(held.values()), "it has") if held else "it has none, so leave cameras out"
    raise InputError(f"{folder}: camera {quote(name)} is missing; {known}")


def _choose_episodes(folder: Path, table: Episodes, tasks: dict[str, int], task: str | None) -> NDArray[np.int64]:
    unknown = next((text for each in table.tasks for text in each if text not in tasks), None)
    if unknown is not None or any(not each for each in table.tasks):
        which = "an episode has no task" if unknown is None else f"the task {quote(unknown)} of an episode is missing"
        raise InputError(f"{folder / TASKS}: {which}; {AGAIN}")
    if task is None:
        return np.arange(len(table.index))
    text = next((text for text, number in tasks.items() if task in (text, str(number))), None)
    found = np.flatnonzero([text in each for each in table.tasks])
    if text is None or not len(found):
        raise InputError(f"{folder}: no episode has the task {quote(task)}; {hint(task, list(tasks), 'its tasks are')}")
    return found


def _read_rows(selection: Selection, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return the columns of the chosen episodes: float32 [N, D] or [N], flags bool [N], actions as they are stored.

    Raises:
        InputError: a file is damaged, or has other rows than the table of episodes says.
    """
    info, table = selection.info, selection.table
    flags = {key: np.bool_ for key in (DONE, TRUNCATED) if key in info.features}
    plain = {key: np.float32 for key in (REWARD, SUCCESS) if key in info.features}
    scalars: dict[str, Any] = {**flags, **plain, "timestamp": np.float64}
    vectors: dict[str, Any] = {**dict.fromkeys(keys, np.float32), ACTION: None}
    parts: dict[str, list[NDArray[Any]]] = {key: [] for key in (*scalars, *vectors)}
    with Bar("reading episodes", len(selection.episodes)) as bar:
        for path, here, kept in selection.shards():
            length = table.length[here]
            rows = read_columns(path, [*parts, "frame_index", "episode_index"], len(kept))
            expected = np.repeat(table.index[here], length), np.concatenate([np.arange(n) for n in length])
            found = column_of(path, rows, "episode_index", np.int64), column_of(path, rows, "frame_index", np.int64)
            if not all(map(np.array_equal, expected, found)):
                raise InputError(f"{path}: its rows are not the frames of the episodes that the table lists; {AGAIN}")
            for key, dtype in scalars.items():
                parts[key].append(column_of(path, rows, key, dtype, 1)[kept, 0])
            for key, dtype in vectors.items():
                parts[key].append(column_of(path, rows, key, dtype, info.features[key].shape[0])[kept])
            bar.advance(int(selection.wanted[here].sum()))
    return {key: np.concatenate(values) for key, values in parts.items()}
