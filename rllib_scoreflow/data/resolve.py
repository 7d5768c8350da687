"""From the name of a dataset to an open one: find it, fetch it, convert it once, map it."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rllib_scoreflow.data.cache import cache_folder, cached_digest
from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.schema import SCHEMA_VERSION
from rllib_scoreflow.data.sources import identify, read_source
from rllib_scoreflow.data.store import (
    TrajectoryDataset,
    check_arrow,
    open_arrow,
    to_table,
    write_arrow,
    write_parquet,
)
from rllib_scoreflow.data.validation import ConstantObservations, check_option
from rllib_scoreflow.errors import InputError


def load_dataset(
    dataset: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    constant_observations: ConstantObservations = "error",
    filter_key: str | None = None,
    observation_keys: Sequence[str] | None = None,
    cameras: Sequence[str] | None = None,
) -> TrajectoryDataset:
    """Open a dataset, after converting it once into the cache folder.

    The cache is keyed by the SHA-256 of the source file and by the options, so a changed file is converted again.
    Files that are refused leave no file in it.

    Args:
        dataset: the shipped "hopper-small", an id such as "hopper-medium-v2" or "robomimic/can-ph" (downloaded at
            first use), "minari:ID", "lerobot:ORG/NAME" (see `locate_lerobot`), or the path of a D4RL or Robomimic
            .hdf5/.h5 file, of a ReinFlow train.npz, of a LeRobotDataset's folder, or of a .parquet file that was
            converted before.
        cache_dir: folder to convert and download into; by default $RLLIB_SCOREFLOW_CACHE, else
            ~/.cache/rllib_scoreflow.
        constant_observations: whether observation dimensions that never change are an "error" or
            "allow"ed. The constant dimensions of D4RL's ant and kitchen and of Humanoid are known and pass in any
            case.
        filter_key: Robomimic's subset of episodes under `mask/`, such as "train", or one task of a
            LeRobotDataset by its text or number; by default all episodes.
        observation_keys: which arrays make up the observation, in this order; by default the reader's
            (`robomimic_hdf5`, `minari_dataset`, `lerobot_dataset`).
        cameras: whose images to read (Robomimic: "agentview", ...), in this order; by default none, and of a
            converted file those it holds.

    Returns:
        the dataset with float32 columns (and uint8 images) mapped from disk, N steps in E episodes.

    Raises:
        InputError: an unknown id, a file that is missing, of another format, damaged or with
            unusable values, an option that does not fit it, a download that fails, or a cache folder that cannot be
            written.
    """
    check_option(constant_observations)
    options = ReadOptions.of(filter_key, observation_keys, cameras)
    cache = cache_folder(cache_dir)
    digest = partial(cached_digest, cache=cache)
    source, sha256, options = identify(os.fspath(dataset), cache, options, digest)
    folder = cache / "converted"
    stem = f"{source.file_stem}-{sha256[:16]}{options.tag()}-v{SCHEMA_VERSION}"
    parquet_path = source.path if source.is_parquet else folder / f"{stem}.parquet"
    arrow_path = folder / f"{stem}.arrow"

    opened = _reopen(arrow_path, parquet_path, cache)
    if opened is not None:
        if constant_observations == "error":
            source.check_constants(opened.info)
        return opened
    try:
        columns, info = read_source(source, sha256, options, folder)
        if constant_observations == "error":
            source.check_constants(info)
        table = to_table(columns, info)
        folder.mkdir(parents=True, exist_ok=True)
        if not source.is_parquet:
            write_parquet(table, parquet_path, overwrite=True)
        write_arrow(table, arrow_path)
    except OSError as error:
        raise InputError(
            f"cannot write the converted dataset into {folder} "
            f"({error.strerror or error}); free or unlock the folder, or set RLLIB_SCOREFLOW_CACHE "
            "to another one"
        ) from error
    return open_arrow(arrow_path, parquet_path)


def open_to_look(
    dataset: str | os.PathLike[str], options: ReadOptions, *, cache_dir: str | os.PathLike[str] | None = None
) -> TrajectoryDataset:
    """As `load_dataset`, for who looks at a dataset and does not learn from it: its dimensions may be constant.

    Args:
        dataset: see `load_dataset`.
        options: what to read of it.
        cache_dir: see `load_dataset`.

    Raises:
        InputError: see `load_dataset`.
    """
    return load_dataset(
        dataset,
        cache_dir=cache_dir,
        constant_observations="allow",
        filter_key=options.filter_key,
        observation_keys=options.observation_keys,
        cameras=options.cameras,
    )


def _reopen(arrow_path: Path, parquet_path: Path, cache: Path) -> TrajectoryDataset | None:
    """The converted dataset, if it is there and what was written: an altered one would be trained on in silence."""
    if not (arrow_path.is_file() and parquet_path.is_file()):
        return None
    try:
        cached_digest(arrow_path, cache, check_arrow)
        return open_arrow(arrow_path, parquet_path)
    except (InputError, OSError):
        # The cache is ours: what cannot be opened in it is made again from the source.
        return None
