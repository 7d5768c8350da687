"""Reader of D4RL's flat HDF5 layout: every column runs over all episodes, one after another.

A reader is a function from a path to `RawColumns`; readers of other layouts stand beside this one.
"""

from pathlib import Path

import h5py
import numpy as np

from rllib_scoreflow.data.hdf5 import find_column, open_hdf5, read_column
from rllib_scoreflow.data.schema import Bool, Float32, RawColumns
from rllib_scoreflow.data.validation import check_lengths
from rllib_scoreflow.errors import InputError

# Two recorded float32 observations of one state agree far better than this.
_SAME_OBSERVATION = 1e-6


def read_d4rl_hdf5(path: Path) -> RawColumns:
    """Read a file of D4RL's layout; timeouts and next_observations may be missing.

    D4RL's files often end in the middle of an episode: that episode is kept, cut at the last row.
    Without timeouts the ends come from terminals and from rows whose next observation is not the
    following row's observation.

    Returns:
        columns of N steps as float32 and bool; final_observations [E, O] where the file has
        next_observations.

    Raises:
        InputError: no such file, not HDF5, damaged, a key missing or not of the expected shape,
            columns of different lengths, or episode ends that cannot be told.
    """
    with open_hdf5(path) as file:
        found = {key: find_column(file, path, key, 2) for key in ("observations", "actions")}
        found |= {key: find_column(file, path, key, 1) for key in ("rewards", "terminals")}
        if "timeouts" in file:
            found["timeouts"] = find_column(file, path, "timeouts", 1)
        if "next_observations" in file:
            found["next_observations"] = find_column(file, path, "next_observations", 2)
        check_lengths(path, {key: column.shape[0] for key, column in found.items()})
        _check_next_shape(path, found)

        observations = read_column(found["observations"], path, np.float32)
        terminals = read_column(found["terminals"], path, np.bool_)
        following: Float32 | None = None
        if "next_observations" in found:
            following = read_column(found["next_observations"], path, np.float32)
        if "timeouts" in found:
            timeouts = read_column(found["timeouts"], path, np.bool_)
        else:
            timeouts = _derive_timeouts(path, observations, following, terminals)
        if not terminals[-1]:
            timeouts[-1] = True
        return RawColumns(
            observations=observations,
            actions=read_column(found["actions"], path, np.float32),
            rewards=read_column(found["rewards"], path, np.float32),
            terminals=terminals,
            timeouts=timeouts,
            final_observations=None if following is None else following[terminals | timeouts],
            env_id=_recorded_env_id(file),
        )


def _check_next_shape(path: Path, found: dict[str, h5py.Dataset]) -> None:
    expected = found["observations"].shape
    if "next_observations" in found and found["next_observations"].shape != expected:
        raise InputError(
            f"{path}: key 'next_observations' has shape {list(found['next_observations'].shape)} "
            f"but 'observations' {list(expected)}; write both with the same shape"
        )


def _derive_timeouts(path: Path, observations: Float32, following: Float32 | None, terminals: Bool) -> Bool:
    timeouts = np.zeros(len(terminals), np.bool_)
    if following is not None:
        jumps = np.abs(following[:-1] - observations[1:]).max(axis=1) > _SAME_OBSERVATION
        timeouts[:-1] = jumps & ~terminals[:-1]
    elif not terminals.any():
        raise InputError(
            f"{path}: key 'timeouts' is missing and 'terminals' is never set, so episodes cannot "
            "be told apart; add 'timeouts' (bool, true at the last step of every episode)"
        )
    return timeouts


def _recorded_env_id(file: h5py.File) -> str | None:
    for key in ("env_id", "env"):
        value = file.attrs.get(key)
        if isinstance(value, str):
            return value
    return None
