"""From the name of a dataset to an open one: find it, fetch it, convert it once, map it."""

import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from rllib_scoreflow.data.cache import cache_folder, file_digest
from rllib_scoreflow.data.catalog import D4RL_DATASETS, SHIPPED, env_id_of_file, find_dataset
from rllib_scoreflow.data.d4rl_hdf5 import read_d4rl_hdf5
from rllib_scoreflow.data.download import check_recorded_hash, download
from rllib_scoreflow.data.schema import SCHEMA_VERSION, DatasetInfo, RawColumns, describe
from rllib_scoreflow.data.store import (
    TrajectoryDataset,
    open_arrow,
    read_parquet,
    to_table,
    write_arrow,
    write_parquet,
)
from rllib_scoreflow.data.validation import (
    ConstantObservations,
    check_columns,
    check_constant_observations,
    check_option,
)
from rllib_scoreflow.errors import InputError

_HDF5_SUFFIXES = (".hdf5", ".h5")
_SHIPPED_FOLDER = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class _Located:
    path: Path
    name: str
    env_id: str | None
    allow_constant: bool


def load_dataset(
    dataset: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    constant_observations: ConstantObservations = "error",
) -> TrajectoryDataset:
    """Open a dataset, after converting it once into the cache folder.

    The cache is keyed by the SHA-256 of the source file, so a changed file is converted again.
    Files that are refused leave nothing in it.

    Args:
        dataset: the shipped "hopper-small", a D4RL id such as "hopper-medium-v2" (downloaded at
            first use), or the path of a D4RL-style .hdf5/.h5 file or of a .parquet file that was
            converted before.
        cache_dir: folder to convert and download into; by default $RLLIB_SCOREFLOW_CACHE, else
            ~/.cache/rllib_scoreflow.
        constant_observations: whether observation dimensions that never change are an "error" or
            "allow"ed. D4RL's ant and kitchen, asked for by id, are known to have some and allow
            them in any case.

    Returns:
        the dataset with float32 columns mapped from disk, N steps in E episodes.

    Raises:
        InputError: an unknown id, a file that is missing, of another format, damaged or with
            unusable values, a download that fails, or a cache folder that cannot be written.
    """
    check_option(constant_observations)
    cache = cache_folder(cache_dir)
    located = _locate(os.fspath(dataset), cache)
    sha256 = file_digest(located.path)
    check_recorded_hash(located.path, sha256)
    allow = located.allow_constant or constant_observations == "allow"
    stem = cache / "converted" / f"{located.name}-{sha256[:16]}-v{SCHEMA_VERSION}"
    is_parquet = located.path.suffix == ".parquet"
    parquet_path = located.path if is_parquet else Path(f"{stem}.parquet")
    arrow_path = Path(f"{stem}.arrow")

    opened = _reopen(arrow_path, parquet_path)
    if opened is None:
        columns, info = _read(located, sha256)
        if not allow:
            check_constant_observations(located.path, info.observation_min, info.observation_max)
        _convert(to_table(columns, info), arrow_path, None if is_parquet else parquet_path)
        opened = open_arrow(arrow_path, parquet_path)
    elif not allow:
        info = opened.info
        check_constant_observations(located.path, info.observation_min, info.observation_max)
    return opened


def _locate(dataset: str, cache: Path) -> _Located:
    if dataset in SHIPPED:
        return _Located(_SHIPPED_FOLDER / SHIPPED[dataset], dataset, None, False)
    path = Path(dataset).expanduser()
    looks_like_path = path.suffix in (*_HDF5_SUFFIXES, ".parquet") or len(path.parts) > 1
    if dataset in D4RL_DATASETS or not (looks_like_path or path.is_file()):
        entry = find_dataset(dataset)
        target = cache / "downloads" / entry.file_name
        if not target.is_file():
            download(entry.url, target)
        return _Located(target, dataset, entry.env_id, entry.constant_observations)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an existing .hdf5, .h5 or .parquet file")
    if path.suffix not in (*_HDF5_SUFFIXES, ".parquet"):
        raise InputError(
            f"{path}: cannot tell the format from the ending {path.suffix!r}; give an .hdf5, .h5 or .parquet file"
        )
    return _Located(path.absolute(), path.stem, None, False)


def _reopen(arrow_path: Path, parquet_path: Path) -> TrajectoryDataset | None:
    if not (arrow_path.is_file() and parquet_path.is_file()):
        return None
    try:
        return open_arrow(arrow_path, parquet_path)
    except InputError:
        # The cache is ours: what cannot be opened in it is made again from the source.
        return None


def _read(located: _Located, sha256: str) -> tuple[RawColumns, DatasetInfo]:
    if located.path.suffix == ".parquet":
        columns, info = read_parquet(located.path)
        check_columns(located.path, columns)
        return columns, info
    columns = read_d4rl_hdf5(located.path)
    check_columns(located.path, columns)
    info = describe(
        columns,
        name=located.name,
        source=located.path.name,
        source_sha256=sha256,
        env_id=located.env_id or columns.env_id or env_id_of_file(located.path.name),
    )
    return columns, info


def _convert(table: pa.Table, arrow_path: Path, parquet_path: Path | None) -> None:
    try:
        arrow_path.parent.mkdir(parents=True, exist_ok=True)
        if parquet_path is not None:
            write_parquet(table, parquet_path, overwrite=True)
        write_arrow(table, arrow_path)
    except OSError as error:
        raise InputError(
            f"cannot write the converted dataset into {arrow_path.parent} "
            f"({error.strerror or error}); free or unlock the folder, or set RLLIB_SCOREFLOW_CACHE "
            "to another one"
        ) from error
