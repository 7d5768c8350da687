"""The one place that opens and reads HDF5: what a file may contain, and how every fault of it is said.

HDF5 can point elsewhere (links to other files, columns stored in other files, columns put together from several
files), and can declare any number of rows that nobody has written. A dataset from somebody else must not be able to
bring files of this machine into the converted set, and its hash must cover all that is read: so a file consists of
itself, by hard links only, and its columns hold as many values as they say.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.errors import InputError, shorten

Scalar = TypeVar("Scalar", bound=np.generic)

HDF5_SUFFIXES = (".hdf5", ".h5")
_SHAPE_NAMES = {0: "[]", 1: "[steps]", 2: "[steps, dimensions]", 4: "[steps, height, width, 3]"}
_LINK_KINDS = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
# Deflate makes at most 1032 bytes of one; what is small enough to be harmless may be compressed further.
_MAX_EXPANSION = 1100
_HARMLESS_BYTES = 64 << 20
# What all columns together may take of a file that reaches the same column by many names.
_HARMLESS_TOTAL_BYTES = 512 << 20
# A file system that compresses stores less than a file's size, but not this much less: there it is a hole.
_MAX_HOLES = 100
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FLAGS_LEFT = "already open for write"

D4RL_LAYOUT = "give a file in D4RL's flat layout (observations, actions, rewards, terminals, timeouts)"
ROBOMIMIC_LAYOUT = "give a file in Robomimic's layout (data/demo_N/actions, rewards, dones, obs/...)"


class Hdf5File:
    """An open file of hard links only; the readers take everything that they need of it from here.

    Attributes:
        path: where the file lies, for messages.
        root: the file itself.
    """

    def __init__(self, path: Path, root: h5py.File) -> None:
        """Check that an opened file consists of itself.

        Raises:
            InputError: naming the first link that is not hard, or an array that is stored in other files.
        """
        self.path = path
        self.root = root
        stat = path.stat()
        # Some file systems do not tell how much of a file they hold.
        held = stat.st_blocks * 512 * _MAX_HOLES or stat.st_size
        self._bytes = min(stat.st_size, held)
        self._left = max(_HARMLESS_TOTAL_BYTES, _MAX_EXPANSION * self._bytes)
        self._check_links()
        self._check_places()

    def is_group(self, key: str) -> bool:
        """Whether `key` (its parts divided by "/") is a group."""
        return isinstance(self.root.get(key), h5py.Group)

    def is_column(self, key: str) -> bool:
        """Whether `key` is an array."""
        return isinstance(self.root.get(key), h5py.Dataset)

    def names(self, key: str = "/") -> list[str]:
        """Return the names in a group, sorted; nothing where `key` is no group."""
        group = self.root.get(key)
        return sorted(group) if isinstance(group, h5py.Group) else []

    def attribute(self, key: str, name: str) -> Any:
        """Return an attribute of a group or array, or None.

        Raises:
            InputError: it is larger than the file.
        """
        attributes = self.root[key].attrs
        if name not in attributes:
            return None
        stored = attributes.get_id(name)
        if math.prod(stored.shape or ()) * stored.dtype.itemsize > self._bytes:
            raise InputError(f"{self.path}: the attribute '{name}' is larger than the file; write the file again")
        return attributes[name]

    def column(self, key: str, ndim: int, layout: str = D4RL_LAYOUT) -> h5py.Dataset:
        """Return the numeric array `key` without reading its values.

        Raises:
            InputError: the key is missing (its remedy is `layout`), is no numeric array, has not `ndim` axes, or
                declares more than it holds.
        """
        if key not in self.root:
            held = shorten(self.names(key.rpartition("/")[0] or "/") or self.names())
            raise InputError(f"{self.path}: key '{shorten(key)}' is missing, the file holds {held}; {layout}")
        column = self.root[key]
        if not isinstance(column, h5py.Dataset) or column.dtype.kind not in "biuf":
            raise InputError(
                f"{self.path}: key '{shorten(key)}' is not a numeric array; write it as an array of numbers of shape "
                f"{_SHAPE_NAMES[ndim]}"
            )
        if column.shape is None or len(column.shape) != ndim or 0 in column.shape:
            raise InputError(
                f"{self.path}: key '{shorten(key)}' has shape {shorten(list(column.shape or ()))}; write it with the "
                f"shape {_SHAPE_NAMES[ndim]} and at least one step"
            )
        self.check_storage(column)
        return column

    def read(self, column: h5py.Dataset, dtype: type[Scalar], rows: slice | tuple[()] | int = ()) -> NDArray[Scalar]:
        """Return all values (or some rows) of a column as a C-contiguous array of `dtype`.

        Raises:
            InputError: the columns of this file take more memory than a file of its size can hold.
        """
        if rows == ():
            self.reserve(math.prod(column.shape) * max(column.dtype.itemsize, np.dtype(dtype).itemsize))
        values: NDArray[Any] = column[rows]
        # float64 beyond float32's range becomes infinite here and is refused by the validation.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.ascontiguousarray(values, dtype=dtype)

    def words(self, key: str) -> list[str]:
        """Return the texts of an array, such as the names under `mask/`.

        Raises:
            InputError: it is no array of texts, or see `column`.
        """
        column = self.root[key]
        if not isinstance(column, h5py.Dataset) or column.dtype.kind not in "SO" or column.shape is None:
            raise InputError(f"{self.path}: key '{shorten(key)}' is not an array of texts; write it as names")
        self.check_storage(column)
        self.reserve(math.prod(column.shape) * column.dtype.itemsize)
        values = np.atleast_1d(column[()]).reshape(-1)
        return [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in values]

    def reserve(self, size: int) -> None:
        """Count `size` bytes that are about to be read.

        Raises:
            InputError: it is more than a file of this size can hold.
        """
        self._left -= size
        if self._left < 0:
            raise InputError(
                f"{self.path}: its columns add up to more values than a file of {self._bytes} bytes can hold; write "
                "every column once"
            )

    def check_storage(self, column: h5py.Dataset) -> None:
        """Refuse an array that declares more than the file holds, before memory is asked for.

        Raises:
            InputError: naming the key and what was found.
        """
        name = f"{self.path}: key '{shorten(column.name.lstrip('/'))}'"
        declared = math.prod(column.shape or ()) * column.dtype.itemsize
        if not declared:
            return
        stored = column.id.get_storage_size()
        if not stored:
            raise InputError(f"{name} declares {shorten(list(column.shape))} values but none was written; write them")
        decoded = declared
        if column.chunks is not None:
            needed = math.prod(-(-n // chunk) for n, chunk in zip(column.shape, column.chunks, strict=True))
            written = column.id.get_num_chunks()
            if written < needed:
                raise InputError(
                    f"{name} declares {shorten(list(column.shape))} values but only {written} of its {needed} chunks "
                    "were written; write all rows, or as many rows as there are"
                )
            decoded = max(declared, written * math.prod(column.chunks) * column.dtype.itemsize)
        if stored > self._bytes or decoded > max(_HARMLESS_BYTES, _MAX_EXPANSION * stored):
            raise InputError(
                f"{name} declares {decoded} bytes of values, more than a file of {self._bytes} bytes can hold; write "
                "as many rows as there are"
            )

    def check_all_storage(self) -> None:
        """Check every array of the file, for a library that reads it by itself.

        Raises:
            InputError: see `check_storage`; or the arrays together are more than the file can hold.
        """
        found: list[h5py.Dataset] = []
        self.root.visititems(lambda _, each: found.append(each) if isinstance(each, h5py.Dataset) else None)
        for column in found:
            self.check_storage(column)
            self.reserve(math.prod(column.shape or ()) * column.dtype.itemsize)

    def _check_links(self) -> None:
        def refuse(name: bytes, info: Any) -> str | None:
            if info.type == h5py.h5l.TYPE_HARD:
                return None
            return (
                f"'{shorten(name.decode(errors='replace'))}' is {_LINK_KINDS.get(info.type, 'a link of its own kind')}"
            )

        found = self.root.id.links.visit(refuse, info=True)
        if found is not None:
            raise InputError(f"{self.path}: key {found}; copy what it points to into this file")

    def _check_places(self) -> None:
        """Refuse an array that lies in another file, or is put together; also one that is not read."""

        def is_elsewhere(name: bytes, info: Any) -> bytes | None:
            if info.type != h5py.h5o.TYPE_DATASET:
                return None
            plan = h5py.h5d.open(self.root.id, name).get_create_plist()
            return name if plan.get_external_count() or plan.get_layout() == h5py.h5d.VIRTUAL else None

        found = h5py.h5o.visit(self.root.id, is_elsewhere, info=True)
        if found is not None:
            key = shorten(found.decode(errors="replace"))
            raise InputError(
                f"{self.path}: key '{key}' is stored in other files; write all of its values into this one"
            )


@contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5File]:
    """Open an HDF5 file for reading; what goes wrong in reading it within the block is said as its fault.

    Raises:
        InputError: there is no such file, it is not HDF5, may not be read, is being written, is damaged, or does not
            consist of itself.
    """
    with reading(path), open_checked_hdf5(path) as file:
        yield file


@contextmanager
def open_checked_hdf5(path: Path) -> Iterator[Hdf5File]:
    """Open an HDF5 file for reading in blocks of `reading`, between which something else happens.

    Raises:
        InputError: see `open_hdf5`; what goes wrong within the block is raised as it is.
    """
    with reading(path):
        _check_openable(path)
        root = h5py.File(path, "r")
    with root:
        with reading(path):
            file = Hdf5File(path, root)
        yield file


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say every exception of h5py and the libraries below it as one sentence about the file.

    What a damaged file makes them raise is not told anywhere: OSError, RuntimeError, KeyError, ValueError, TypeError,
    OverflowError, MemoryError and others were seen. So all are caught, here and nowhere else.

    Raises:
        InputError: in place of any exception.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: {_fault(path, error)}") from error


def hdf5_fault(path: Path) -> str | None:
    """What keeps a file from being a whole HDF5 file, or None; its values are not read.

    HDF5 writes down where a file ends, so that one that was cut short is found.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if not head.startswith(_SIGNATURE):
        return f"it is no HDF5 file but begins with '{shorten(head.decode('ascii', 'replace'), 60)}'"
    try:
        with open_hdf5(path):
            return None
    except InputError as error:
        return shorten(str(error).removeprefix(f"{path}: ").partition("; ")[0])


def _check_openable(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of an existing HDF5 file")
    with path.open("rb"):  # h5py calls what may not be read no HDF5 file
        pass
    if not h5py.is_hdf5(path):
        raise InputError(
            f"{path}: cannot be read as HDF5 (not an HDF5 file); give a file in D4RL's or Robomimic's HDF5 layout"
        )


def _fault(path: Path, error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "its values do not fit into the memory; give a smaller file"
    if isinstance(error, PermissionError):
        return "the file may not be read (permission denied); change its permissions"
    if isinstance(error, BlockingIOError):
        return "the file is locked by a program that writes it; wait until it has closed the file, or copy it"
    if _FLAGS_LEFT in str(error):
        return (
            "the file is being written, or its writer ended without closing it; close it there, or run: "
            f"h5clear -s {path.name}"
        )
    if isinstance(error, OSError) and error.errno is not None and not str(error).startswith("Unable"):
        return f"the file cannot be read ({os.strerror(error.errno)}); give the path of an existing HDF5 file"
    reason = shorten(" ".join(str(error).split()) or type(error).__name__, 120)
    return f"the HDF5 file is damaged or truncated ({reason}); fetch or write it again"
