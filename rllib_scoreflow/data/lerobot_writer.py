"""Write a dataset as a LeRobotDataset of version 3, which LeRobot's own tools read.

Rows go to `data/`, images to one video a camera under `videos/` or, without loss, as PNG into the rows. Of our form two
things have no place there: the observation after an episode's last action is left out, and in which environment the
recording was made stands in a file of its own, `meta/scoreflow_environment.json`.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rllib_scoreflow.data.lerobot_columns import as_arrow, as_png, describe_feature, describe_video, tasks_table
from rllib_scoreflow.data.lerobot_stats import ImageHistogram, Statistics, describe_column
from rllib_scoreflow.data.progress import Bar
from rllib_scoreflow.data.readers.lerobot_meta import (
    ACTION,
    DONE,
    ENVIRONMENT,
    EPISODES,
    REWARD,
    STATE,
    SUCCESS,
    TASKS,
    TRUNCATED,
)
from rllib_scoreflow.data.readers.lerobot_tables import INFO
from rllib_scoreflow.data.schema import Bool, DatasetInfo, RawColumns, episode_offsets
from rllib_scoreflow.data.video import VideoWriter, import_av
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.atomic import atomic_folder, find_obstacle

_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_DATA, _VIDEO = f"data/{_FILE}.parquet", f"videos/{{video_key}}/{_FILE}.mp4"
# LeRobot's own limits: bytes of a file, and files of a folder.
_DATA_MB, _VIDEO_MB, _CHUNK = 100, 200, 1000
_IMAGES = "observation.images."


def check_export(folder: Path, *, overwrite: bool = False) -> None:
    """Refuse, before long work, a folder that cannot be written.

    Raises:
        InputError: it exists and is no LeRobotDataset that may be replaced, or it cannot be made.
    """
    if folder.exists() or folder.is_symlink():
        if not overwrite:
            raise InputError(f"{folder}: exists already; choose another path or add --overwrite")
        if folder.is_symlink() or not (folder / INFO).is_file():
            raise InputError(f"{folder}: is no LeRobotDataset, so that it is not replaced; choose another path")
    if not folder.absolute().parent.is_dir():
        raise InputError(f"{folder.absolute().parent}: no such folder; make it first")
    reason = find_obstacle(folder.absolute())
    if reason is not None:
        raise InputError(f"{folder}: cannot be written ({reason}); choose another place")


def check_video_size(size: tuple[int, int]) -> None:
    """Refuse images of (H, W) that no video can hold, or that cannot be encoded here.

    Raises:
        InputError: a side is odd, or PyAV is missing.
    """
    import_av()
    if size[0] % 2 or size[1] % 2:
        raise InputError(f"images of {size[0]} x {size[1]} fit in no video, whose sides are even; add --lossless")


def write_lerobot(
    columns: RawColumns,
    info: DatasetInfo,
    folder: Path,
    *,
    fps: int,
    task: str,
    success: Bool | None = None,
    videos: bool = True,
    overwrite: bool = False,
) -> None:
    """Write a recording as a LeRobotDataset, whole or not at all.

    Args:
        columns: N steps in E episodes, with the images of its cameras.
        info: what is known of them.
        folder: a new one.
        fps: steps per second.
        task: text of the task, of episodes that have none of their own.
        success: of each episode whether it succeeded, [E] bool, or None where that is not known.
        videos: whether images become videos (which lose a little) or PNG in the rows.
        overwrite: whether to replace a LeRobotDataset that is there.

    Raises:
        InputError: see `check_export`; images that no video can hold.
        OSError: it cannot be written.
    """
    check_export(folder, overwrite=overwrite)
    size = info.image_size
    if size is not None and videos:
        check_video_size(size)
    with atomic_folder(folder.absolute()) as staging:
        writer = _Writer(columns, info, staging, fps, videos=videos)
        writer.write(columns.tasks or (task,), success)


@dataclass
class _Shard:
    """Where the next episode goes: chunk and file."""

    chunk: int = 0
    file: int = 0

    def advance(self) -> None:
        self.file += 1
        if self.file == _CHUNK:
            self.chunk, self.file = self.chunk + 1, 0

    def path(self, folder: Path, template: str, **values: str) -> Path:
        path = folder / template.format(chunk_index=self.chunk, file_index=self.file, **values)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass
class _Camera:
    """The video that a camera's frames go to."""

    key: str
    shard: _Shard = field(default_factory=_Shard)
    writer: VideoWriter | None = None
    histograms: list[ImageHistogram] = field(default_factory=list)


class _Writer:
    def __init__(self, columns: RawColumns, info: DatasetInfo, folder: Path, fps: int, *, videos: bool) -> None:
        self._columns, self._info, self._folder, self._fps = columns, info, folder, fps
        self._offsets = episode_offsets(columns.terminals, columns.timeouts)
        self._task_of = np.array(columns.episode_tasks or [0] * (len(self._offsets) - 1), np.int64)
        self._cameras = [_Camera(f"{_IMAGES}{_plain(name)}") for name in info.cameras]
        self._videos = videos and bool(self._cameras)
        self._tasks: Sequence[str] = ()
        self._rows: dict[str, NDArray[Any]] = {}
        self._episodes: list[dict[str, Any]] = []

    def write(self, tasks: Sequence[str], success: Bool | None) -> None:
        self._tasks, self._rows = tasks, self._all_rows(success)
        shard, written, writer = _Shard(), 0, None
        with ExitStack() as files, Bar("writing episodes", len(self._offsets) - 1) as bar:
            for number in range(len(self._offsets) - 1):
                table, episode = self._episode(number)
                if writer is None or written + table.nbytes > _DATA_MB << 20:
                    if writer is not None:
                        writer.close()
                        shard.advance()
                    path = shard.path(self._folder, _DATA)
                    writer = files.enter_context(pq.ParquetWriter(path, table.schema, compression="zstd"))
                    written = 0
                writer.write_table(table)
                written += table.nbytes
                episode |= {"data/chunk_index": shard.chunk, "data/file_index": shard.file}
                self._episodes.append(episode | self._add_videos(number))
                bar.advance()
        for camera in self._cameras:
            if camera.writer is not None:
                camera.writer.close()
        self._write_meta()

    def _all_rows(self, success: Bool | None) -> dict[str, NDArray[Any]]:
        """The columns of all N frames by their keys, in LeRobot's types."""
        columns, length = self._columns, np.diff(self._offsets)
        frame = np.arange(len(columns.rewards)) - np.repeat(self._offsets[:-1], length)
        rows: dict[str, NDArray[Any]] = {
            STATE: columns.observations,
            ACTION: columns.actions,
            REWARD: columns.rewards,
            DONE: columns.terminals | columns.timeouts,
            TRUNCATED: columns.timeouts & ~columns.terminals,
        }
        if success is not None:
            rows[SUCCESS] = np.zeros(len(frame), np.bool_)
            rows[SUCCESS][self._offsets[1:] - 1] = success
        return {
            **rows,
            "timestamp": (frame / self._fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.repeat(np.arange(len(length)), length),
            "index": np.arange(len(frame)),
            "task_index": np.repeat(self._task_of, length),
        }

    def _episode(self, number: int) -> tuple[pa.Table, dict[str, Any]]:
        """The rows of an episode, and what the table of episodes says of it."""
        start, end = map(int, self._offsets[number : number + 2])
        rows = {key: values[start:end] for key, values in self._rows.items()}
        arrays = {key: as_arrow(values) for key, values in rows.items()}
        statistics: dict[str, Statistics] = {key: describe_column(values) for key, values in rows.items()}
        for view, camera in enumerate(self._cameras):
            images = self._images(view, start, end)
            camera.histograms.append(ImageHistogram.of(images))
            statistics[camera.key] = camera.histograms[-1].describe()
            if not self._videos:
                arrays[camera.key] = as_png(images)
        episode = {
            "episode_index": number,
            "tasks": [self._tasks[self._task_of[number]]],
            "length": end - start,
            "dataset_from_index": start,
            "dataset_to_index": end,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            **{f"stats/{key}/{name}": value for key, each in statistics.items() for name, value in each.items()},
        }
        return pa.table(arrays), episode

    def _images(self, view: int, start: int, end: int) -> NDArray[np.uint8]:
        assert self._columns.images is not None
        return self._columns.images[start:end, view]

    def _add_videos(self, number: int) -> dict[str, Any]:
        """Add an episode's frames to the videos; where they lie, for the table of episodes."""
        start, end = map(int, self._offsets[number : number + 2])
        places: dict[str, Any] = {}
        for view, camera in enumerate(self._cameras if self._videos else ()):
            if camera.writer is not None and camera.writer.size_bytes > _VIDEO_MB << 20:
                camera.writer.close()
                camera.writer = None
                camera.shard.advance()
            if camera.writer is None:
                path = camera.shard.path(self._folder, _VIDEO, video_key=camera.key)
                assert self._info.image_size is not None
                camera.writer = VideoWriter(path, self._info.image_size, self._fps)
            first = camera.writer.frames
            camera.writer.add(self._images(view, start, end))
            places |= {
                f"videos/{camera.key}/chunk_index": camera.shard.chunk,
                f"videos/{camera.key}/file_index": camera.shard.file,
                f"videos/{camera.key}/from_timestamp": first / self._fps,
                f"videos/{camera.key}/to_timestamp": camera.writer.frames / self._fps,
            }
        return places

    def _write_meta(self) -> None:
        episodes = pa.Table.from_pylist(self._episodes)
        path = _Shard().path(self._folder, f"{EPISODES}/{_FILE}.parquet")
        pq.write_table(episodes, path, compression="zstd")
        pq.write_table(tasks_table(self._tasks), self._folder / TASKS)
        statistics = {key: describe_column(values) for key, values in self._rows.items()}
        statistics |= {camera.key: ImageHistogram.sum(camera.histograms).describe() for camera in self._cameras}
        recorded = {"env_id": self._info.env_id, "env_config": self._info.env_config}
        for name, content in (
            (INFO, self._about()),
            ("meta/stats.json", statistics),
            (ENVIRONMENT, recorded),
        ):
            (self._folder / name).write_text(json.dumps(content, indent=4, ensure_ascii=False), encoding="utf-8")

    def _about(self) -> dict[str, Any]:
        features = {key: describe_feature(values) for key, values in self._rows.items()}
        kind = "video" if self._videos else "image"
        for camera in self._cameras:
            assert self._info.image_size is not None
            height, width = self._info.image_size
            features[camera.key] = {
                "dtype": kind,
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
            }
            if self._videos:
                features[camera.key]["info"] = describe_video(height, width, self._fps)
        episodes = len(self._offsets) - 1
        return {
            "codebase_version": "v3.0",
            "robot_type": self._info.env_id,
            "total_episodes": episodes,
            "total_frames": int(self._offsets[-1]),
            "total_tasks": len(self._tasks),
            "chunks_size": _CHUNK,
            "data_files_size_in_mb": _DATA_MB,
            "video_files_size_in_mb": _VIDEO_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{episodes}"},
            "data_path": _DATA,
            "video_path": _VIDEO if self._videos else None,
            "features": features,
        }


def _plain(camera: str) -> str:
    """A camera's name as part of a path, of which LeRobot allows no separator."""
    if "/" in camera or camera in (".", "..") or "\\" in camera or "{" in camera:
        raise InputError(f"camera '{shorten(camera)}' has a name that no folder can have; choose other cameras")
    return camera
