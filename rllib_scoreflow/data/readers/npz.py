"""The one place that opens .npz files: nothing is unpickled, sizes are checked first, every fault is one sentence."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.validation import first_sentence
from rllib_scoreflow.errors import InputError, shorten

# Deflate makes at most 1032 bytes of one; what is small enough to be harmless may be compressed further.
_MAX_EXPANSION = 1100
_HARMLESS_BYTES = 64 << 20


@contextmanager
def open_npz(path: Path, layout: str) -> Iterator[zipfile.ZipFile]:
    """Open an .npz file; what goes wrong in reading it within the block is said as its fault.

    What a damaged archive or header makes zipfile, zlib and NumPy raise is not told anywhere: BadZipFile, zlib.error,
    NotImplementedError, RuntimeError, TokenError, MemoryError and others were seen. So all are caught, here and nowhere
    else.

    Args:
        path: the file.
        layout: what the user can do about a file of another form.

    Raises:
        InputError: in place of any exception.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path}: the file may not be read (permission denied); change its permissions") from error
    except Exception as error:
        raise InputError(
            f"{path}: not a readable .npz file ({shorten(first_sentence(error), 100)}); {layout}, plain "
            "arrays of numbers"
        ) from error


def read_npz(path: Path, required: tuple[str, ...], optional: tuple[str, ...], layout: str) -> dict[str, NDArray[Any]]:
    """Read arrays of numbers.

    Args:
        path: the file.
        required: arrays that it must hold.
        optional: arrays that are read if it holds them.
        layout: what the user can do about a file of another form.

    Raises:
        InputError: it is damaged, or an array is missing, not of numbers, or larger than the file can hold.
    """
    with open_npz(path, layout) as archive:
        held = [name.removesuffix(".npy") for name in archive.namelist()]
        missing = [key for key in required if key not in held]
        if missing:
            raise InputError(
                f"{path}: array '{missing[0]}' is missing, the file holds {shorten(sorted(held))}; {layout}"
            )
        return {key: _read_array(path, archive, key, layout) for key in (*required, *optional) if key in held}


def read_header(
    path: Path, archive: zipfile.ZipFile, key: str, layout: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the order is Fortran's, and type of an array, after checking that the file can hold it.

    Raises:
        InputError: it cannot, or the array is not of numbers.
    """
    info = archive.getinfo(f"{key}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Other methods take as much memory as their headers ask for, and NumPy writes none of them.
        raise InputError(f"{path}: array '{key}' is compressed as NumPy never does it; write it with numpy.savez")
    with archive.open(info) as member:
        shape, fortran, dtype = skip_header(member)
        header = member.tell()
    if dtype.hasobject:
        raise InputError(
            f"{path}: array '{key}' is {dtype} and it holds pickled objects; {layout}, plain arrays of numbers"
        )
    if dtype.kind not in "biuf":
        raise InputError(f"{path}: array '{key}' is of type {shorten(str(dtype))}; write it as numbers")
    needed = math.prod(shape) * dtype.itemsize
    stored = min(info.compress_size, path.stat().st_size)
    if needed > info.file_size - header or needed > max(_HARMLESS_BYTES, _MAX_EXPANSION * stored):
        raise InputError(
            f"{path}: array '{key}' has the shape {shorten(list(shape))}, of which the file can hold a part at most; "
            "fetch or write the file again"
        )
    return shape, fortran, dtype


def skip_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an opened array: shape, whether the order is Fortran's, type."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(member)


def _read_array(path: Path, archive: zipfile.ZipFile, key: str, layout: str) -> NDArray[Any]:
    read_header(path, archive, key, layout)
    with archive.open(f"{key}.npy") as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return array
