"""Convert a dataset into a Parquet file of one's own, and check one from end to end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rllib_scoreflow.data.cache import cache_folder
from rllib_scoreflow.data.chunks import ChunkIndex, gather_chunks
from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.resolve import open_to_look
from rllib_scoreflow.data.schema import DatasetInfo, RawColumns, content_sha256
from rllib_scoreflow.data.sources import identify, read_source
from rllib_scoreflow.data.store import TrajectoryDataset, to_table, write_parquet
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import nearest_existing, require_writable

_HORIZON = 4
_CHUNKS = 64


def convert_dataset(
    dataset: str, output: Path, options: ReadOptions, *, overwrite: bool = False, cache_dir: Path | None = None
) -> DatasetInfo:
    """Write a dataset as one Parquet file, whole or not at all; images pass through a file in the same folder.

    Constant observation dimensions are kept: whether they are allowed is asked when the file is loaded.

    Args:
        dataset: as for `load_dataset`.
        output: a path that ends in .parquet; its folder is made if missing.
        options: what to read.
        overwrite: whether to replace an existing file.
        cache_dir: where published datasets are downloaded to, as for `load_dataset`.

    Raises:
        InputError: see `load_dataset`; or the output exists, is the source, or cannot be written.
    """
    check_output(output, overwrite=overwrite)
    source, sha256, options = identify(dataset, cache_folder(cache_dir), options)
    if output.exists() and source.path.samefile(output):
        raise InputError(f"{output}: is the source itself; choose another path")
    with _naming(output):
        columns, info = read_source(source, sha256, options, output.absolute().parent)
    write_columns(columns, info, output, overwrite=overwrite)
    return info


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse, before long work, a path that no dataset can be written to.

    Args:
        output: see `convert_dataset`.
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: another ending, a file that exists, a folder that cannot be written to.
    """
    if output.suffix != ".parquet":
        raise InputError(f"{output}: the output is a Parquet file; give a path that ends in .parquet")
    if output.exists() and not overwrite:
        raise InputError(f"{output}: the file exists already; choose another path or add --overwrite")
    with _naming(output):
        # A folder that is missing is made in the nearest one that is there.
        require_writable(nearest_existing(output.absolute().parent) / output.name)


def write_columns(columns: RawColumns, info: DatasetInfo, output: Path, *, overwrite: bool) -> None:
    """Write checked columns as one Parquet file, whole or not at all.

    Args:
        columns: with their images, if there are any.
        info: from `describe`.
        output: a path that ends in .parquet; its folder is made if missing.
        overwrite: whether to replace an existing file.

    Raises:
        InputError: the file exists, or cannot be written.
    """
    with _naming(output):
        output.absolute().parent.mkdir(parents=True, exist_ok=True)
        write_parquet(to_table(columns, info), output, overwrite=overwrite)


@contextmanager
def _naming(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {output} ({error.strerror or error}); choose another path") from error


@dataclass(frozen=True)
class Check:
    """One thing that was found to be in order: what, and the figures."""

    name: str
    found: str


def verify_dataset(dataset: str, options: ReadOptions, *, cache_dir: Path | None = None) -> list[Check]:
    """Read a dataset again from its source and check all of it, and its converted form, which training reads.

    Args:
        dataset: as for `load_dataset`.
        options: what to read.
        cache_dir: as for `load_dataset`.

    Returns:
        what was checked, in order; then what a user should know of how it was read, each a check of the name "note".

    Raises:
        InputError: the first thing that is wrong.
    """
    cache = cache_folder(cache_dir)
    source, sha256, to_read = identify(dataset, cache, options)
    checks = [Check("source", f"{source.path}, SHA-256 {sha256}")]
    # Reading refuses what is not finite and, in a converted file, what does not match its recorded hash.
    columns, info = read_source(source, sha256, to_read, cache / "converted")
    checks.append(Check("values", f"{info.num_steps} steps finite, content SHA-256 {info.content_sha256}"))
    checks.append(_check_episodes(source.path, columns))
    opened = open_to_look(dataset, options, cache_dir=cache_dir)
    checks.append(_check_converted(opened, info))
    checks.append(_check_chunks(opened))
    constant = int((info.observation_min == info.observation_max).sum())
    checks.append(Check("constant observation dimensions", f"{constant} of {info.observation_dim}"))
    return [*checks, *(Check("note", note) for note in info.notes)]


def _check_episodes(path: os.PathLike[str], columns: RawColumns) -> Check:
    ends = columns.terminals | columns.timeouts
    if not ends[-1]:
        raise InputError(f"{path}: the last episode has no end; convert the original file again")
    lengths = np.diff(np.flatnonzero(np.concatenate([[True], ends])))
    final = columns.final_observations
    if final is not None and len(final) != len(lengths):
        raise InputError(
            f"{path}: {len(lengths)} episodes but {len(final)} final observations; convert the original file again"
        )
    terminal = int(columns.terminals.sum())
    return Check(
        "episodes", f"{len(lengths)} of {lengths.min()} to {lengths.max()} steps, {terminal} end by a terminal"
    )


def _check_converted(opened: TrajectoryDataset, info: DatasetInfo) -> Check:
    mapped = RawColumns(
        observations=opened.observations,
        actions=opened.actions,
        rewards=opened.rewards,
        terminals=opened.terminals,
        timeouts=opened.timeouts,
        final_observations=opened.final_observations,
        cameras=opened.info.cameras,
        images=opened.images,
    )
    found = content_sha256(mapped)
    if found != info.content_sha256 or opened.info.content_sha256 != found:
        raise InputError(
            f"{opened.path}: the converted data in the cache is not the source's (its content has the SHA-256 {found} "
            f"and not {info.content_sha256}); remove the folder 'converted' of the cache"
        )
    return Check("converted form", "equals the source")


def _check_chunks(opened: TrajectoryDataset) -> Check:
    horizon = min(_HORIZON, int(np.median(np.diff(opened.episode_offsets))))
    index = ChunkIndex(opened, horizon)
    starts = index.starts[np.linspace(0, len(index) - 1, min(_CHUNKS, len(index))).astype(np.int64)]
    _, chunks = gather_chunks(opened.observations, opened.actions, starts, horizon)
    direct = np.stack([opened.actions[start : start + horizon].reshape(-1) for start in starts])
    episodes = np.searchsorted(opened.episode_offsets, [starts, starts + horizon - 1], side="right")
    if not (np.array_equal(chunks, direct) and np.array_equal(*episodes)):
        raise InputError(f"dataset {opened.info.name}: chunks of {horizon} steps do not lie within episodes")
    return Check("chunks", f"{len(index)} of {horizon} steps")
