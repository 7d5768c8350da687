"""From the name of a dataset to its file, and from the file to the reader of its format."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rllib_scoreflow.data.catalog import (
    D4RL_DATASETS,
    ROBOMIMIC_DATASETS,
    SHIPPED,
    DatasetEntry,
    env_id_of_file,
    find_dataset,
    first_constant_dimension,
)
from rllib_scoreflow.data.download import check_recorded_hash, download
from rllib_scoreflow.data.images import with_images
from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.readers import Reader, known_suffixes, reader_of, readers
from rllib_scoreflow.data.readers.hdf5 import hdf5_fault
from rllib_scoreflow.data.schema import DatasetInfo, RawColumns, describe
from rllib_scoreflow.data.store import read_parquet, read_parquet_info
from rllib_scoreflow.data.validation import check_columns, check_constant_observations
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.digest import file_digest
from rllib_scoreflow.files.user_paths import expand_user

PARQUET = ".parquet"
_SHIPPED_FOLDER = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class Source:
    """A dataset's file (or folder) before it is read.

    Attributes:
        path: absolute.
        name: what the dataset is called: the id, or the stem of the file.
        env_id: the environment that the id stands for, or None.
        allow_constant: whether constant observation dimensions are known of this id.
        published: what is known of its file, for an id; None for a file of the user's.
    """

    path: Path
    name: str
    env_id: str | None = None
    allow_constant: bool = False
    published: DatasetEntry | None = None

    @property
    def is_parquet(self) -> bool:
        """Whether it was converted before."""
        return self.path.suffix == PARQUET

    @property
    def file_stem(self) -> str:
        """The name without what may not stand in a file's name."""
        return re.sub(r"[^\w.=+-]+", "-", self.name)

    def check_constants(self, info: DatasetInfo) -> None:
        """Refuse constant observation dimensions, unless this dataset is known to have them.

        Raises:
            InputError: naming the dimensions.
        """
        if not self.allow_constant:
            folder = self.path.parent.name if self.path.suffix == ".npz" else None
            known = first_constant_dimension((self.path.stem, folder, info.env_id), info.observation_dim)
            check_constant_observations(self.path, info.observation_min, info.observation_max, known)


def identify(
    dataset: str, cache: Path, options: ReadOptions, digest: Callable[[Path], str] = file_digest
) -> tuple[Source, str, ReadOptions]:
    """Find a dataset, and hash what it is read from.

    Args:
        dataset: see `locate`.
        cache: the cache folder.
        options: what a user wants of it.
        digest: hashes one file.

    Returns:
        the source, its SHA-256, and the options that are left to apply (none to a converted file, which holds what
        it holds).

    Raises:
        InputError: see `locate`; a download that was changed since; options that a converted file does not meet.
    """
    source = locate(dataset, cache, options)
    if source.is_parquet:
        _check_parquet_options(source.path, read_parquet_info(source.path), options)
        options = ReadOptions()
    sha256 = source_digest(source, digest)
    if source.path.is_file():
        check_recorded_hash(source.path, sha256)
    if source.published is not None:
        _check_published(source.path, sha256, source.published)
    return source, sha256, options


def locate(dataset: str, cache: Path, options: ReadOptions) -> Source:
    """Find a dataset, downloading it into `cache` if it is published and not there.

    Args:
        dataset: a shipped name, a published id, `minari:ID`, `lerobot:ID` or a path.
        cache: the cache folder.
        options: what will be read, to refuse images of a published set before the download.

    Raises:
        InputError: unknown id, no such file, an ending that tells no format, or a failing download.
    """
    if dataset in SHIPPED:
        return Source(_SHIPPED_FOLDER / SHIPPED[dataset], dataset)
    for reader in readers():
        if reader.prefix and dataset.startswith(reader.prefix):
            return Source(reader.locate(dataset.removeprefix(reader.prefix)), dataset)
    path, suffixes = expand_user(dataset), (*known_suffixes(), PARQUET)
    looks_like_path = path.suffix in suffixes or (len(path.parts) > 1 and not dataset.startswith("robomimic/"))
    try:
        exists = path.is_file()
        if dataset and path.is_dir() and dataset not in D4RL_DATASETS | ROBOMIMIC_DATASETS:
            return Source(path.absolute(), reader_of(path.absolute()).name(path.absolute()))
    except OSError as error:  # a name that is too long, a folder that may not be searched
        raise InputError(f"{shorten(str(path))}: cannot be read ({error.strerror}); give the path of a file") from error
    if dataset in D4RL_DATASETS or not (looks_like_path or exists):
        return _find_published(dataset, cache, options)
    if not exists:
        raise InputError(f"{path}: no such file; give an existing {_one_of(suffixes)} file")
    if path.suffix not in suffixes:
        raise InputError(
            f"{path}: cannot tell the format from the ending {path.suffix!r}; give an {_one_of(suffixes)} file"
        )
    path = path.absolute()
    return Source(path, path.stem if path.suffix == PARQUET else reader_of(path).name(path))


def _one_of(suffixes: Sequence[str]) -> str:
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"


def _find_published(dataset: str, cache: Path, options: ReadOptions) -> Source:
    entry = find_dataset(dataset)
    if options.cameras is not None and entry.demonstrations_url is not None:
        raise InputError(
            f"{dataset} is published without images; download {entry.demonstrations_url}, make them with: rllib "
            f"dataset render demo_v141.hdf5 OUT.hdf5 --cameras {','.join(options.cameras)}, and give the path of "
            "OUT.hdf5 as the dataset"
        )
    target = cache / "downloads" / entry.file_name
    if not target.is_file():
        download(entry.url, target, size=entry.size, sha256=entry.sha256, fault=hdf5_fault)
    return Source(target, dataset, entry.env_id, entry.constant_observations, entry)


def _check_published(path: Path, sha256: str, entry: DatasetEntry) -> None:
    """Name a file in the cache that is not the published one, however it came there.

    Raises:
        InputError: it is no HDF5 file, damaged, or has another hash than is known.
    """
    fault = hdf5_fault(path)
    if fault is None and entry.sha256 not in (None, sha256):
        fault = f"its SHA-256 is {sha256} and not {entry.sha256}"
    if fault is not None:
        raise InputError(
            f"{path}: the file in the cache is not {entry.dataset_id} as it is published ({fault}); remove it to "
            "download it again, or give the path of a file of your own as the dataset"
        )


def source_digest(source: Source, digest: Callable[[Path], str] = file_digest) -> str:
    """Return the SHA-256 of all files that a dataset is read from; for a single file, its own.

    Args:
        source: from `locate`.
        digest: hashes one file.
    """
    path = source.path
    # A published set is one file, which is judged when its hash is known.
    alone = source.is_parquet or source.published is not None
    reader = Reader() if alone else reader_of(path)
    files = reader.files(path)
    hashes = [f"{reader.name_file(path, each)} {digest(each)}" for each in files if each.is_file()]
    return hashes[0].split()[-1] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def read_source(
    source: Source, sha256: str, options: ReadOptions, scratch: Path | None
) -> tuple[RawColumns, DatasetInfo]:
    """Read and check a dataset.

    Args:
        source: from `locate`.
        sha256: from `source_digest`, for the info.
        options: what to read of it.
        scratch: folder for images that are larger than memory (see `with_images`), or None.

    Raises:
        InputError: see the readers; an option that the format has not; values that are not finite.
    """
    if source.is_parquet:
        return read_parquet(source.path, scratch)
    reader = reader_of(source.path)
    options.refuse_all_but(set(reader.options), source.path, reader.what)
    columns = reader.read(source.path, options)
    check_columns(source.path, columns)
    columns = with_images(columns, scratch)
    info = describe(
        columns,
        name=source.name,
        source=reader.origin(source.path),
        source_sha256=sha256,
        env_id=source.env_id or columns.env_id or env_id_of_file(source.path.name),
    )
    return columns, info


def _check_parquet_options(path: Path, info: DatasetInfo, options: ReadOptions) -> None:
    if options.filter_key is not None:
        raise InputError(f"{path}: the option 'filter_key' does not apply to a converted file; convert the original")
    for name in ("observation_keys", "cameras"):
        wanted, held = getattr(options, name), getattr(info, name)
        if wanted is not None and wanted != held:
            raise InputError(
                f"{path}: was converted with {name} {list(held)} and not {list(wanted)}; leave the option out or "
                "convert the original again"
            )
