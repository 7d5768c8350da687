"""Write and open datasets: Parquet to keep and ship, an Arrow file to map into memory.

Parquet is the file of record: compressed, self-describing, read by every tool and by Ray Data. But
a Parquet page is encoded even where it is not compressed, so opening it means decoding all of it
into memory. The uncompressed Arrow IPC file written beside it in the cache holds the columns as
they lie in memory: opening it costs no more than reading its footer, its float columns become numpy
views without a copy, and processes on one machine share its pages.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rllib_scoreflow.data.content_check import check_content
from rllib_scoreflow.data.images import with_images
from rllib_scoreflow.data.progress import Bar
from rllib_scoreflow.data.schema import (
    IMAGES_COLUMN,
    METADATA_KEY,
    Bool,
    DatasetInfo,
    Float32,
    ImageSource,
    Int64,
    RawColumns,
    UInt8,
    arrow_schema,
    episode_offsets,
)
from rllib_scoreflow.data.validation import check_columns, check_expansion, first_sentence
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.atomic import atomic_path

# Parquet's paths of the float columns.
_FLOAT_LEAVES = [
    "observation.list.element",
    "action.list.element",
    "reward",
    "final_observation.list.element",
]
# Small enough that a reader that streams (Ray Data) holds little, large enough to compress well.
_ROWS_PER_GROUP = 65_536
_IMAGE_BYTES_PER_GROUP = 64 << 20


@dataclass(frozen=True, eq=False)
class TrajectoryDataset:
    """A dataset opened for training: N steps in E episodes.

    The float arrays are read-only views of the memory-mapped Arrow file: rows are read from disk
    when touched. Arrow packs bools into bits, so the two bool columns are copies.

    Attributes:
        info: dimensions, statistics, origin.
        path: the Parquet file of record.
        observations: [N, O] float32.
        actions: [N, A] float32, raw units of the environment.
        rewards: [N] float32.
        terminals: [N] bool.
        timeouts: [N] bool.
        episode_offsets: [E + 1] int64; episode e holds rows offsets[e] to offsets[e + 1] - 1.
        final_observations: [E, O] float32, observation after each episode's last step, or None.
        images: [N, V, H, W, 3] uint8, upright RGB of the cameras `info.cameras`, mapped like the float arrays; None
            without cameras.
    """

    info: DatasetInfo
    path: Path
    observations: Float32
    actions: Float32
    rewards: Float32
    terminals: Bool
    timeouts: Bool
    episode_offsets: Int64
    final_observations: Float32 | None
    images: UInt8 | None = None


def to_table(columns: RawColumns, info: DatasetInfo) -> pa.Table:
    """Return the Arrow table of validated columns; float columns and images share memory with `columns`."""
    schema = arrow_schema(info.observation_dim, info.action_dim, info.image_shape)
    final = columns.final_observations
    ends = columns.terminals | columns.timeouts
    width = 0 if final is None else info.observation_dim
    offsets = np.concatenate([[0], np.cumsum(ends)]).astype(np.int32) * width
    values = np.empty(0, np.float32) if final is None else final.reshape(-1)
    arrays = [
        pa.FixedSizeListArray.from_arrays(
            pa.array(columns.observations.reshape(-1)), type=schema.field("observation").type
        ),
        pa.FixedSizeListArray.from_arrays(pa.array(columns.actions.reshape(-1)), type=schema.field("action").type),
        pa.array(columns.rewards),
        pa.array(columns.terminals),
        pa.array(columns.timeouts),
        pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values), type=schema.field(5).type),
    ]
    if columns.images is not None:
        buffers = [None, pa.py_buffer(np.ascontiguousarray(columns.images))]
        arrays.append(pa.Array.from_buffers(schema.field(IMAGES_COLUMN).type, len(columns.images), buffers))
    return pa.Table.from_arrays(arrays, schema=schema.with_metadata({METADATA_KEY: info.to_json().encode()}))


def write_parquet(table: pa.Table, path: Path, *, compression_level: int = 3, overwrite: bool = False) -> None:
    """Write the dataset as zstd-compressed Parquet, whole or not at all.

    Raises:
        InputError: `path` exists and `overwrite` is false.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path}: the file exists already; remove it or choose another path")
    rows = _ROWS_PER_GROUP
    if IMAGES_COLUMN in table.schema.names:
        rows = max(1, min(rows, _IMAGE_BYTES_PER_GROUP // table.schema.field(IMAGES_COLUMN).type.byte_width))
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(
            temporary,
            table.schema,
            compression="zstd",
            compression_level=compression_level,
            # Splitting floats by byte puts the slowly changing exponents side by side.
            use_dictionary=False,
            use_byte_stream_split=_FLOAT_LEAVES,
            # The smallest and largest image of a group tell nobody anything.
            write_statistics=[*_FLOAT_LEAVES, "terminal", "timeout"],
        ) as writer,
        Bar(f"writing {path.name}", len(table)) as bar,
    ):
        for start in range(0, len(table), rows):
            group = table.slice(start, rows)
            writer.write_table(group, row_group_size=rows)
            bar.advance(len(group))


def write_arrow(table: pa.Table, path: Path) -> None:
    """Write the dataset as one uncompressed record batch (one batch, so that views are whole)."""
    batch = table.combine_chunks().to_batches()[0]
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def read_parquet(path: Path, scratch: Path | None = None) -> tuple[RawColumns, DatasetInfo]:
    """Read a Parquet dataset into memory, its images (where there are any) into a file in the folder `scratch`.

    Raises:
        InputError: no such file, not Parquet, damaged, not written by this package, another schema
            version, or contents that do not match its metadata.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of an existing Parquet file")
    with _reading(path, "Parquet file", "fetch or convert it again"):
        info, table = _read_state(path)
    columns = _columns(_one_batch(table), info)
    if info.image_shape is not None:
        source = ImageSource((len(table), *info.image_shape), partial(_image_blocks, path, info.image_shape))
        columns = with_images(replace(columns, image_source=source), scratch)
    check_columns(path, columns)
    check_content(columns, info, path)
    return columns, info


def read_parquet_info(path: Path) -> DatasetInfo:
    """Read what a Parquet dataset says of itself, without its rows.

    Raises:
        InputError: no such file, not Parquet, or not written by this package.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of an existing Parquet file")
    with _reading(path, "Parquet file", "fetch or convert it again"):
        schema = pq.read_schema(path)
    return _read_info(schema, path)


def _read_state(path: Path) -> tuple[DatasetInfo, pa.Table]:
    with pq.ParquetFile(path) as file:
        info = _read_info(file.schema_arrow, path)
        names = [name for name in _check_schema(file.schema_arrow, info, path).names if name != IMAGES_COLUMN]
        _check_size(file.metadata, info, path)
        return info, file.read(names)


def _check_schema(found: pa.Schema, info: DatasetInfo, path: Path) -> pa.Schema:
    """Return the schema that the metadata asks for.

    Raises:
        InputError: the file has another one.
    """
    try:
        expected = arrow_schema(info.observation_dim, info.action_dim, info.image_shape)
    except (OverflowError, ValueError, pa.ArrowException):  # images of more than 2 GB each
        expected = None
    if expected is None or not found.remove_metadata().equals(expected):
        raise InputError(
            f"{path}: the columns {shorten(found.names)} are not those of schema version "
            f"{info.schema_version}; convert the original file again"
        )
    return expected


def _check_size(footer: pq.FileMetaData, info: DatasetInfo, path: Path) -> None:
    """Refuse numbers that contradict each other, before memory is asked for by them.

    Raises:
        InputError: naming both numbers.
    """
    if footer.num_rows != info.num_steps:
        raise InputError(
            f"{path}: the columns were changed after the file was written ({footer.num_rows} rows and not "
            f"{info.num_steps}); convert the original file again"
        )
    needed = info.num_steps * 4 * (2 * info.observation_dim + info.action_dim + 2)
    check_expansion(path, needed, "convert the original file again")


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    return table.combine_chunks().to_batches()[0]


def _image_blocks(path: Path, shape: tuple[int, int, int, int]) -> Iterator[UInt8]:
    with _reading(path, "Parquet file", "fetch or convert it again"), pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for chunk in file.read_row_group(group, [IMAGES_COLUMN]).column(0).chunks:
                yield _image_view(chunk, shape)


@contextmanager
def _reading(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Catches all: on damaged bytes pyarrow raises more than ArrowException, such as UnicodeDecodeError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not a readable {what} ({first_sentence(error)}); {remedy}") from error


def open_arrow(arrow_path: Path, parquet_path: Path) -> TrajectoryDataset:
    """Map an Arrow file written by `write_arrow` into memory.

    Args:
        arrow_path: the Arrow file.
        parquet_path: the file of record, for `TrajectoryDataset.path`.

    Raises:
        InputError: the file is missing, damaged or of another schema version.
    """
    info, columns = _map_arrow(arrow_path)
    return TrajectoryDataset(
        info=info,
        path=parquet_path,
        observations=columns.observations,
        actions=columns.actions,
        rewards=columns.rewards,
        terminals=columns.terminals,
        timeouts=columns.timeouts,
        episode_offsets=episode_offsets(columns.terminals, columns.timeouts),
        final_observations=columns.final_observations,
        images=columns.images,
    )


def check_arrow(arrow_path: Path) -> str:
    """Read all of an Arrow file written by `write_arrow` and check it against its metadata.

    Returns:
        the SHA-256 of its content.

    Raises:
        InputError: the file is missing, damaged or altered.
    """
    info, columns = _map_arrow(arrow_path)
    check_content(columns, info, arrow_path)
    return info.content_sha256


def _map_arrow(path: Path) -> tuple[DatasetInfo, RawColumns]:
    with _reading(path, "Arrow file", "remove it"):
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if reader.num_record_batches != 1:
            raise pa.ArrowInvalid(f"{reader.num_record_batches} batches in place of one")
        batch = reader.get_batch(0)
        # Reads the few offsets and flags; the values of fixed width need none.
        batch.validate(full=True)
    info = _read_info(batch.schema, path)
    _check_schema(batch.schema, info, path)
    if batch.num_rows != info.num_steps:
        raise InputError(f"{path}: {batch.num_rows} rows and not {info.num_steps}; remove it")
    return info, _columns(batch, info)


def _read_info(schema: pa.Schema, path: Path) -> DatasetInfo:
    metadata: dict[bytes, bytes] = schema.metadata or {}
    if METADATA_KEY not in metadata:
        raise InputError(
            f"{path}: the file holds no dataset metadata under the key '{METADATA_KEY.decode()}'; "
            "give the HDF5 file it was made from"
        )
    try:
        return DatasetInfo.from_json(metadata[METADATA_KEY])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _columns(batch: pa.RecordBatch, info: DatasetInfo) -> RawColumns:
    def floats(values: Any, width: int) -> Float32:
        flat: Float32 = values.to_numpy(zero_copy_only=True)
        return flat.reshape(-1, width)

    final = batch.column("final_observation").flatten()
    shape = info.image_shape if IMAGES_COLUMN in batch.schema.names else None
    return RawColumns(
        observations=floats(batch.column("observation").flatten(), info.observation_dim),
        actions=floats(batch.column("action").flatten(), info.action_dim),
        rewards=floats(batch.column("reward"), 1)[:, 0],
        terminals=batch.column("terminal").to_numpy(zero_copy_only=False),
        timeouts=batch.column("timeout").to_numpy(zero_copy_only=False),
        final_observations=floats(final, info.observation_dim) if len(final) else None,
        env_id=info.env_id,
        env_config=info.env_config,
        notes=info.notes,
        fps=info.fps,
        tasks=info.tasks,
        episode_tasks=info.episode_tasks,
        provenance=info.provenance,
        observation_keys=info.observation_keys,
        cameras=info.cameras,
        images=None if shape is None else _image_view(batch.column(IMAGES_COLUMN), shape),
    )


def _image_view(values: Any, shape: tuple[int, int, int, int]) -> UInt8:
    """Return a column of images as a read-only view [n, V, H, W, 3]."""
    width = values.type.byte_width
    flat = np.frombuffer(values.buffers()[1], np.uint8, len(values) * width, values.offset * width)
    return flat.reshape(-1, *shape)
