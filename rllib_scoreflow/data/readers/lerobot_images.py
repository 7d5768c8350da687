"""Images of a LeRobotDataset: frames of its videos, or PNG and JPEG in its tables."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rllib_scoreflow.data.readers.lerobot_meta import Episodes, LeRobotInfo, fill_path
from rllib_scoreflow.data.readers.lerobot_tables import AGAIN, INFO
from rllib_scoreflow.data.schema import Bool, ImageSource, Int64, UInt8
from rllib_scoreflow.data.validation import first_sentence
from rllib_scoreflow.data.video import VideoReader
from rllib_scoreflow.errors import InputError, shorten

_BLOCK_STEPS = 64
_CAMERA_PREFIXES = ("observation.images.", "observation.", "")


@dataclass(frozen=True, eq=False)
class Selection:
    """What of a dataset is read.

    Attributes:
        folder: the dataset's.
        info: what it says of itself.
        table: all episodes.
        cameras: keys of the cameras.
        episodes: positions in the table, increasing.
    """

    folder: Path
    info: LeRobotInfo
    table: Episodes
    cameras: tuple[str, ...]
    episodes: Int64

    @property
    def wanted(self) -> Bool:
        """Of each episode of the table whether it is read."""
        mask: Bool = np.isin(np.arange(len(self.table.index)), self.episodes)
        return mask

    def shards(self) -> Iterator[tuple[Path, slice, Bool]]:
        """Yield the files of rows that hold something wanted: path, episodes within, and of each row whether it is.

        Raises:
            InputError: a path leaves the folder.
        """
        files, wanted = self.table.data, self.wanted
        changes = (np.diff(files, axis=0) != 0).any(axis=1)
        starts = np.flatnonzero(np.concatenate([[True], changes])).tolist()
        for start, end in zip(starts, [*starts[1:], len(files)], strict=True):
            here, (chunk, file) = slice(start, end), files[start].tolist()
            path = fill_path(self.folder, self.info.data_path, chunk_index=chunk, file_index=file)
            if wanted[here].any():
                yield path, here, np.repeat(wanted[here], self.table.length[here])


def camera_name(key: str) -> str:
    """What a camera's key is called: the part after "observation.images."."""
    return key.removeprefix(next(prefix for prefix in _CAMERA_PREFIXES if key.startswith(prefix)))


def find_images(selection: Selection, times: NDArray[np.float64]) -> ImageSource:
    """Return where the images are to be read from.

    Args:
        selection: of V cameras, and episodes of N frames in all.
        times: [N] float64, seconds from the start of the episode.

    Raises:
        InputError: the cameras have images of different sizes.
    """
    sizes = {key: selection.info.features[key].image_size for key in selection.cameras}
    size = sizes[selection.cameras[0]]
    assert size is not None
    if len(set(sizes.values())) > 1:
        text = ", ".join(f"{camera_name(key)} {each}" for key, each in sizes.items())
        raise InputError(
            f"{selection.folder}: the cameras have images of different sizes ({shorten(text)}); choose cameras of one"
        )
    shape = (len(times), len(selection.cameras), *size, 3)
    return ImageSource(shape, partial(_image_blocks, selection, times, size))


def _image_blocks(selection: Selection, times: NDArray[np.float64], size: tuple[int, int]) -> Iterator[UInt8]:
    streams = [
        _video_frames(selection, key, times, size)
        if selection.info.features[key].dtype == "video"
        else _table_images(selection, key, size)
        for key in selection.cameras
    ]
    frames = zip(*streams, strict=True)
    while block := list(islice(frames, _BLOCK_STEPS)):
        yield np.stack([np.stack(views) for views in block])


def _video_frames(selection: Selection, key: str, times: NDArray[np.float64], size: tuple[int, int]) -> Iterator[UInt8]:
    info, table = selection.info, selection.table
    if info.video_path is None:
        raise InputError(f"{selection.folder / INFO}: has no 'video_path', but a video '{shorten(key)}'; {AGAIN}")
    row = 0
    with VideoReader(size, 0.49 / info.fps, AGAIN) as video:
        for episode in selection.episodes.tolist():
            chunk, file = table.video[key][episode].tolist()
            path = fill_path(selection.folder, info.video_path, video_key=key, chunk_index=chunk, file_index=file)
            length = int(table.length[episode])
            yield from video.frames(path, table.video_start[key][episode] + times[row : row + length])
            row += length


def _table_images(selection: Selection, key: str, size: tuple[int, int]) -> Iterator[UInt8]:
    for path, _, kept in selection.shards():
        rows = iter(kept.tolist())
        try:
            with pq.ParquetFile(path) as parquet:
                for batch in parquet.iter_batches(_BLOCK_STEPS, columns=[key]):
                    for value in batch.column(0):
                        if next(rows):
                            yield _decode(value.as_py(), size)
        except InputError:
            raise
        # Of pyarrow and of Pillow, which raise many.
        except Exception as error:
            reason = shorten(first_sentence(error), 120)
            raise InputError(f"{path}: column '{shorten(key)}' holds no readable images ({reason}); {AGAIN}") from error


def _decode(value: Any, size: tuple[int, int]) -> UInt8:
    from PIL import Image

    with Image.open(io.BytesIO(value["bytes"]), formats=("PNG", "JPEG")) as image:
        if (image.height, image.width) != size:
            raise ValueError(f"one of {image.height} x {image.width} and not {size[0]} x {size[1]}")
        return np.asarray(image.convert("RGB"), np.uint8)
