"""What every HDF5 reader needs: open a file and take columns out of it, with clear refusals."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.errors import InputError

Scalar = TypeVar("Scalar", bound=np.generic)

_SHAPE_NAMES = {1: "[steps]", 2: "[steps, dimensions]", 4: "[steps, height, width, 3]"}


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        InputError: there is no such file, it is not HDF5, or it is damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of an existing HDF5 file")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: not an HDF5 file; give a file in D4RL's or Robomimic's HDF5 layout")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(_damaged(path, error)) from error
    with file:
        yield file


D4RL_LAYOUT = "give a file in D4RL's flat layout (observations, actions, rewards, terminals, timeouts)"
ROBOMIMIC_LAYOUT = "give a file in Robomimic's layout (data/demo_N/actions, rewards, dones, obs/...)"


def find_column(file: h5py.File, path: Path, key: str, ndim: int, layout: str = D4RL_LAYOUT) -> h5py.Dataset:
    """Return the numeric HDF5 dataset `key` (its parts divided by "/") without reading its values.

    Raises:
        InputError: the key is missing (its remedy is `layout`), is no numeric array, or has not `ndim` axes.
    """
    if key not in file:
        parent = file.get(key.rpartition("/")[0] or "/")
        held = sorted(parent) if isinstance(parent, h5py.Group) else sorted(file)
        raise InputError(f"{path}: key '{key}' is missing, the file holds {held}; {layout}")
    column = file[key]
    if not isinstance(column, h5py.Dataset) or column.dtype.kind not in "biuf":
        raise InputError(
            f"{path}: key '{key}' is not a numeric array; write it as an array of numbers of shape {_SHAPE_NAMES[ndim]}"
        )
    if len(column.shape) != ndim or 0 in column.shape:
        raise InputError(
            f"{path}: key '{key}' has shape {list(column.shape)}; write it with the shape "
            f"{_SHAPE_NAMES[ndim]} and at least one step"
        )
    return column


def read_column(column: h5py.Dataset, path: Path, dtype: type[Scalar], rows: slice | tuple[()] = ()) -> NDArray[Scalar]:
    """Return all values (or some rows) of a column as a C-contiguous array of `dtype`.

    Raises:
        InputError: the stored bytes are damaged.
    """
    try:
        values: NDArray[Any] = column[rows]
    except OSError as error:
        raise InputError(_damaged(path, error)) from error
    # float64 beyond float32's range becomes infinite here and is refused by the validation.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=dtype)


def _damaged(path: Path, error: OSError) -> str:
    return f"{path}: the HDF5 file is damaged or truncated ({error}); fetch or write it again"
