"""What a LeRobotDataset of version 3 says of itself: `meta/info.json`, `meta/tasks.parquet`, `meta/episodes/`.

Its files hold many episodes each. Which of them holds an episode, and where in a video it begins, stands in the table
of episodes; the names of the files follow from templates in `info.json`.
"""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from rllib_scoreflow.data.readers.lerobot_tables import AGAIN, INFO, column_of, read_columns
from rllib_scoreflow.data.schema import Int64
from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.files.json import check_form, read_json

EPISODES, TASKS = "meta/episodes", "meta/tasks.parquet"
# Not LeRobot's: the environment of what this package has written.
ENVIRONMENT = "meta/scoreflow_environment.json"
STATE, ENVIRONMENT_STATE, ACTION = "observation.state", "observation.environment_state", "action"
REWARD, DONE, TRUNCATED, SUCCESS = "next.reward", "next.done", "next.truncated", "next.success"
_PLACES = {"chunk_index", "file_index", "video_key"}

Count = Annotated[int, Field(ge=1, le=2**48)]


class Feature(BaseModel):
    """A column of the dataset, or the images of a camera."""

    model_config = ConfigDict(extra="ignore", strict=True)

    dtype: str
    shape: Annotated[list[Annotated[int, Field(ge=1, le=1_000_000)]], Field(max_length=8)]
    names: Any = None
    info: dict[str, Any] | None = None

    @property
    def is_camera(self) -> bool:
        """Whether it is images, of a video or in the table."""
        return self.dtype in ("video", "image")

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(H, W) of colour images whose channels are last or first; None for anything else, such as depth."""
        depth = self.info is not None and any(key.endswith("is_depth_map") and on for key, on in self.info.items())
        if depth or len(self.shape) != 3 or 3 not in (self.shape[0], self.shape[2]):
            return None
        first = isinstance(self.names, list) and bool(self.names) and str(self.names[0]).startswith("channel")
        if self.shape[2] == 3 and not first:
            return self.shape[0], self.shape[1]
        return self.shape[1], self.shape[2]


class LeRobotInfo(BaseModel):
    """What is used of `meta/info.json`."""

    model_config = ConfigDict(extra="ignore", strict=True)

    codebase_version: str
    fps: Annotated[float, Field(gt=0, le=100_000)]
    total_episodes: Count
    total_frames: Count
    data_path: str = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    video_path: str | None = None
    features: dict[str, Feature]


class RecordedEnvironment(BaseModel):
    """What `meta/scoreflow_environment.json` holds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    env_id: str | None = None
    env_config: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Episodes:
    """The table of E episodes, in their order.

    Attributes:
        index: [E] int64, their numbers, increasing.
        length: [E] int64, frames.
        tasks: of each the texts of its tasks.
        data: [E, 2] int64, chunk and file of its rows.
        video: of each camera [E, 2] int64, chunk and file of its frames.
        video_start: of each camera [E] float64, seconds from the start of that file.
    """

    index: Int64
    length: Int64
    tasks: tuple[tuple[str, ...], ...]
    data: Int64
    video: Mapping[str, Int64]
    video_start: Mapping[str, NDArray[np.float64]]


def read_info(folder: Path) -> LeRobotInfo:
    """Read `meta/info.json`.

    Raises:
        InputError: it cannot be read, or is of another version of the format.
    """
    path = folder / INFO
    content = read_json(path, remedy=AGAIN)
    version = content.get("codebase_version") if isinstance(content, dict) else None
    if not isinstance(version, str) or not re.match(r"v?3\.", version):
        raise InputError(
            f"{path}: the version of the format is {quote(version)} and not v3.0; convert the dataset with LeRobot's "
            "convert_dataset_v21_to_v30"
        )
    info: LeRobotInfo = check_form(content, LeRobotInfo, path, "a LeRobotDataset", AGAIN)
    return info


def read_environment(folder: Path) -> RecordedEnvironment:
    """Read in which environment it was recorded, which only this package's own export says.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / ENVIRONMENT
    if not path.is_file():
        return RecordedEnvironment()
    content = read_json(path, finite=True, remedy=AGAIN)
    found: RecordedEnvironment = check_form(content, RecordedEnvironment, path, "an export", AGAIN)
    return found


def fill_path(folder: Path, template: str, **values: int | str) -> Path:
    """Return the file that a template of `meta/info.json` names.

    Args:
        folder: the dataset's.
        template: such as "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet".
        values: of its places.

    Raises:
        InputError: another place, or the path leaves the folder.
    """
    remedy = f"{folder / INFO}: the path '{shorten(template, 100)}'"
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InputError(f"{remedy} is no template ({error}); {AGAIN}") from None
    for _, name, form, conversion in parts:
        # What a template may do beyond this, such as to ask for attributes of the values, nobody needs.
        known = name in _PLACES & values.keys() and not conversion
        if name is not None and not (known and re.fullmatch(r"|0?\d?d", form or "")):
            raise InputError(f"{remedy} has the place '{{{shorten(name, 60)}}}', which it may not have; {AGAIN}")
    try:
        relative = PurePosixPath(template.format(**values))
    except ValueError:  # a text for {video_key:03d}
        raise InputError(f"{remedy} cannot be filled in; {AGAIN}") from None
    path = folder / relative
    if relative.is_absolute() or ".." in relative.parts or "\0" in str(relative) or not _is_within(folder, path):
        raise InputError(f"{remedy} leads out of the folder, to '{shorten(str(relative), 100)}'; {AGAIN}")
    return path


def _is_within(folder: Path, path: Path) -> bool:
    """Whether a file lies in the folder, behind all links; those of the hub's cache lead to `blobs` beside it."""
    home, found = folder.resolve(), path.resolve()
    places = [home]
    if home.parent.name == "snapshots":
        places.append(home.parent.parent / "blobs")
    return any(found.is_relative_to(place) for place in places)


def read_tasks(folder: Path) -> dict[str, int]:
    """Read the tasks: their texts, and the numbers that stand for them in the rows.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / TASKS
    table = read_columns(path, ["task_index"])
    numbers = table.column(0).to_pylist()
    # A data frame's index, under pandas' name for one without a name, or its own.
    texts = next((name for name in _names_of(path) if name in ("task", "__index_level_0__")), None)
    if texts is None:
        raise InputError(f"{path}: holds no texts of tasks; {AGAIN}")
    found = read_columns(path, [texts]).column(0).to_pylist()
    if not all(isinstance(text, str) for text in found) or not all(isinstance(number, int) for number in numbers):
        raise InputError(f"{path}: a task is no text with a number; {AGAIN}")
    return dict(zip(found, numbers, strict=True))


def _names_of(path: Path) -> list[str]:
    names: list[str] = pq.read_schema(path).names
    return names


def read_episodes(folder: Path, info: LeRobotInfo, cameras: Sequence[str]) -> Episodes:
    """Read the table of episodes.

    Args:
        folder: the dataset's.
        info: what it says of itself.
        cameras: keys of the cameras whose videos are wanted.

    Raises:
        InputError: it is missing, damaged, or contradicts `info`.
    """
    where = folder / EPISODES
    files = sorted(path for path in where.rglob("*.parquet") if path.is_file())
    if not files:
        raise InputError(f"{where}: holds no table of episodes; {AGAIN}")
    places = [f"videos/{key}/{part}" for key in cameras for part in ("chunk_index", "file_index", "from_timestamp")]
    names = ["episode_index", "length", "tasks", "data/chunk_index", "data/file_index", *places]
    tables = [read_columns(path, names) for path in files]

    def numbers(name: str, dtype: Any = np.int64) -> NDArray[Any]:
        return np.concatenate([column_of(path, table, name, dtype) for path, table in zip(files, tables, strict=True)])

    index, length = numbers("episode_index"), numbers("length")
    if len(index) != info.total_episodes or (np.diff(index) <= 0).any() or (length < 1).any():
        raise InputError(
            f"{where}: lists {len(index)} episodes, '{INFO}' {info.total_episodes}, and each has a number of its own, "
            f"in their order, and at least one frame; {AGAIN}"
        )
    if (frames := int(length.sum())) != info.total_frames:
        raise InputError(f"{where}: its episodes have {frames} frames, '{INFO}' says {info.total_frames}; {AGAIN}")
    tasks = [each for table in tables for each in table.column("tasks").to_pylist()]
    if not all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in tasks):
        raise InputError(f"{where}: the tasks of an episode are no list of texts; {AGAIN}")

    def files_of(kind: str) -> Int64:
        return np.stack([numbers(f"{kind}/chunk_index"), numbers(f"{kind}/file_index")], axis=1)

    return Episodes(
        index=index,
        length=length,
        tasks=tuple(tuple(each) for each in tasks),
        data=files_of("data"),
        video={key: files_of(f"videos/{key}") for key in cameras},
        video_start={key: numbers(f"videos/{key}/from_timestamp", np.float64) for key in cameras},
    )
