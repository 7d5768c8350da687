"""Reader of D4RL's flat HDF5 layout: every column runs over all episodes, one after another."""

from pathlib import Path

import h5py
import numpy as np

from rllib_scoreflow.data.episode_ends import settle_ends
from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.readers.base import READERS, Reader
from rllib_scoreflow.data.readers.hdf5 import HDF5_SUFFIXES, Hdf5File, open_hdf5
from rllib_scoreflow.data.schema import Bool, Float32, RawColumns
from rllib_scoreflow.data.validation import check_finite, check_lengths
from rllib_scoreflow.errors import InputError

# D4RL's own name first, then what other recorders call the same flag.
_TERMINALS = ("terminals", "terminations", "terminateds", "terminated", "terminal")
_TIMEOUTS = ("timeouts", "truncations", "truncateds", "truncated", "timeout")
# Older gymnasium's flag: the episode is over, for either reason.
_DONES = ("dones", "done")


@READERS.register("d4rl")
class D4RLReader(Reader):
    """Any HDF5 file that no other reader claims."""

    what = "a file of D4RL's layout"
    suffixes = HDF5_SUFFIXES

    def read(self, path: Path, options: ReadOptions) -> RawColumns:
        """Read a file; it has no options."""
        return read_d4rl_hdf5(path)


def read_d4rl_hdf5(path: Path) -> RawColumns:
    """Read a file of D4RL's layout; timeouts and next_observations may be missing.

    D4RL's files often end in the middle of an episode: that episode is kept, cut at the last row. The flags may have
    the names of gymnasium (`terminations`, `truncations`) or be one (`dones`). They are checked against
    next_observations, which also tell the ends that no flag tells; see `episode_ends`.

    Returns:
        columns of N steps as float32 and bool; final_observations [E, O] where the file has
        next_observations.

    Raises:
        InputError: no such file, not HDF5, damaged, a key missing or not of the expected shape,
            columns of different lengths, or episode ends that cannot be told or contradict the observations.
    """
    with open_hdf5(path) as file:
        found = {key: file.column(key, 2) for key in ("observations", "actions")}
        found["rewards"] = file.column("rewards", 1)
        names = _find_flags(file)
        found |= {key: file.column(key, 1) for keys in names.values() for key in keys}
        if "next_observations" in file.names():
            found["next_observations"] = file.column("next_observations", 2)
        check_lengths(path, {key: column.shape[0] for key, column in found.items()})
        _check_next_shape(path, found)

        observations = file.read(found["observations"], np.float32)
        check_finite(path, "observations", observations)
        following: Float32 | None = None
        if "next_observations" in found:
            following = file.read(found["next_observations"], np.float32)
            check_finite(path, "next_observations", following)
        terminals, timeouts = _read_flags(file, names, found)
        resolution = max(_resolution(found[key]) for key in ("observations", "next_observations") if key in found)
        ends = settle_ends(path, observations, following, terminals, timeouts, resolution=resolution)
        rows = ends.terminals | ends.timeouts
        return RawColumns(
            observations=observations,
            actions=file.read(found["actions"], np.float32),
            rewards=file.read(found["rewards"], np.float32),
            terminals=ends.terminals,
            timeouts=ends.timeouts,
            final_observations=None if ends.following is None else ends.following[rows],
            env_id=_recorded_env_id(file),
            action_dtype=str(found["actions"].dtype),
            notes=ends.notes,
        )


def _check_next_shape(path: Path, found: dict[str, h5py.Dataset]) -> None:
    expected = found["observations"].shape
    if "next_observations" in found and found["next_observations"].shape != expected:
        raise InputError(
            f"{path}: key 'next_observations' has shape {list(found['next_observations'].shape)} "
            f"but 'observations' {list(expected)}; write both with the same shape"
        )


def _find_flags(file: Hdf5File) -> dict[str, list[str]]:
    """Return the names under which a file has each of the flags; `dones` only where they are needed."""
    held = set(file.names())
    names = {
        "terminals": [name for name in _TERMINALS if name in held],
        "timeouts": [name for name in _TIMEOUTS if name in held],
    }
    dones = [name for name in _DONES if name in held]
    if dones and not all(names.values()):
        names["dones"] = dones
    if not names["terminals"] and not dones:
        names["terminals"] = ["terminals"]  # missing, as the reading of it says
    return names


def _read_flags(
    file: Hdf5File, names: dict[str, list[str]], found: dict[str, h5py.Dataset]
) -> tuple[Bool, Bool | None]:
    """Return terminals [N] and timeouts [N], None where the file does not tell them."""
    flags: dict[str, Bool] = {}
    for flag, keys in names.items():
        read = [_read_flag(file, found[key]) for key in keys]
        for key, values in zip(keys, read, strict=True):
            if not np.array_equal(values, read[0]):
                raise InputError(
                    f"{file.path}: keys '{keys[0]}' and '{key}' mean the same and differ, first in row "
                    f"{int(np.argmax(values != read[0]))}; keep the one that is right"
                )
        if read:
            flags[flag] = read[0]
    if "terminals" not in flags:
        timeouts = flags.get("timeouts")
        return flags["dones"] if timeouts is None else flags["dones"] & ~timeouts, timeouts
    if "dones" in flags:
        return flags["terminals"], flags["dones"] & ~flags["terminals"]
    return flags["terminals"], flags.get("timeouts")


def _read_flag(file: Hdf5File, column: h5py.Dataset) -> Bool:
    values = file.read(column, column.dtype.type)
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"{file.path}: key '{column.name.lstrip('/')}' holds {values[row]} in row {row}; write a flag as 0 or 1"
        )
    return values.astype(np.bool_)


def _resolution(column: h5py.Dataset) -> float:
    """Return the relative precision of a column's values after reading them as float32."""
    single = float(np.finfo(np.float32).eps)
    return max(single, float(np.finfo(column.dtype).eps)) if column.dtype.kind == "f" else single


def _recorded_env_id(file: Hdf5File) -> str | None:
    for key in ("env_id", "env"):
        value = file.attribute("/", key)
        if isinstance(value, str):
            return value
    return None
