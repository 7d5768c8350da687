"""Small, real HDF5 files in D4RL's flat layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

Columns = dict[str, np.ndarray]


def make_columns(lengths: tuple[int, ...] = (7, 5, 9), *, o: int = 4, a: int = 2) -> Columns:
    """Episodes of the given lengths: odd ones end by a timeout, even ones by a terminal."""
    rng = np.random.default_rng(0)
    n = sum(lengths)
    observations = rng.normal(size=(n, o)).astype(np.float32)
    following = np.roll(observations, -1, axis=0)
    ends = np.cumsum(lengths) - 1
    following[ends] = rng.normal(size=(len(lengths), o))
    terminals = np.zeros(n, bool)
    timeouts = np.zeros(n, bool)
    terminals[ends[::2]] = True
    timeouts[ends[1::2]] = True
    return {
        "observations": observations,
        "actions": rng.uniform(-1, 1, (n, a)).astype(np.float32),
        "rewards": rng.normal(size=n).astype(np.float32),
        "terminals": terminals,
        "timeouts": timeouts,
        "next_observations": following,
    }


def write_hdf5(path: Path, columns: Columns, attrs: dict[str, Any] | None = None) -> Path:
    with h5py.File(path, "w") as file:
        for key, values in columns.items():
            file[key] = values
        file.attrs.update(attrs or {})
    return path


@pytest.fixture
def columns() -> Columns:
    return make_columns()


@pytest.fixture
def columns_of() -> Callable[..., Columns]:
    return make_columns


@pytest.fixture
def write() -> Callable[..., Path]:
    return write_hdf5


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test; it does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RLLIB_SCOREFLOW_CACHE", str(folder))
    return folder
