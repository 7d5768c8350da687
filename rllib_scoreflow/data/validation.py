"""Refusals of unusable data: one sentence each, before anything is written."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from rllib_scoreflow.data.schema import Bool, Float32, RawColumns
from rllib_scoreflow.errors import InputError, quote, shorten

ConstantObservations = Literal["error", "allow"]
# Recordings shrink by a small factor, padded zeros by a large one; files that would fill the memory by more than this.
_SMALL_BYTES, _MOST_COMPRESSED = 256 << 20, 1000


def first_sentence(error: BaseException) -> str:
    """Return the beginning of another library's message, to quote within a sentence of ours."""
    return re.split(r"\n|\. ", str(error).strip())[0].rstrip(". ") or type(error).__name__


def check_lengths(path: Path, lengths: Mapping[str, int]) -> None:
    """Refuse columns of different lengths.

    Raises:
        InputError: naming every column with its number of steps.
    """
    if len(set(lengths.values())) > 1:
        listed = shorten(", ".join(f"'{shorten(key, 60)}' {length}" for key, length in lengths.items()))
        raise InputError(
            f"{path}: columns have different numbers of steps ({listed}); write one row per step in every column"
        )


def check_expansion(path: Path, needed: int, remedy: str) -> None:
    """Refuse a compressed file that would fill the memory, before memory is asked for.

    Args:
        path: the file.
        needed: bytes of the numbers that it says it holds.
        remedy: what the user can do.

    Raises:
        InputError: naming both sizes.
    """
    size = path.stat().st_size
    if needed > max(_SMALL_BYTES, _MOST_COMPRESSED * size):
        raise InputError(
            f"{path}: the file has {size} bytes and says that it holds {needed} bytes of numbers, which no recording "
            f"compresses to; {remedy}"
        )


def check_finite(path: Path, key: str, values: Float32) -> None:
    """Refuse NaN and infinite values; `values` is [N] or [N, D] float32.

    Raises:
        InputError: naming the key, the first offending row (and dimension) and the value.
    """
    finite = np.isfinite(values)
    if finite.all():
        return
    bad = np.argwhere(~finite)
    first = tuple(int(i) for i in bad[0])
    place = f"row {first[0]}" + (f", dimension {first[1]}" if len(first) > 1 else "")
    raise InputError(
        f"{path}: key '{key}' holds {values[first]} at {place} ({len(np.unique(bad[:, 0]))} rows "
        f"of {len(values)} hold NaN or infinite values); remove these episodes from the file"
    )


def check_columns(path: Path, columns: RawColumns) -> None:
    """Refuse columns from which nothing can be learned. Shapes are [N, O], [N, A], [N] as in `RawColumns`.

    Raises:
        InputError: values that are not finite; actions that are no real numbers or never change; every step an episode.
    """
    if np.dtype(columns.action_dtype).kind != "f":
        raise InputError(
            f"{path}: key 'actions' is of type {columns.action_dtype}, while continuous actions are learned; write "
            "them as float32 in the environment's units"
        )
    check_finite(path, "observations", columns.observations)
    check_finite(path, "actions", columns.actions)
    check_finite(path, "rewards", columns.rewards)
    if columns.final_observations is not None:
        check_finite(path, "next_observations", columns.final_observations)
    if len(columns.rewards) == 1:
        return
    if (columns.terminals | columns.timeouts).all():
        key = "terminals" if columns.terminals.all() else "timeouts"
        raise InputError(
            f"{path}: key '{key}' is set in every row, which makes every step an episode of its own; set it in the "
            "last row of every episode only"
        )
    if (columns.actions[0] == columns.actions).all():
        raise InputError(
            f"{path}: key 'actions' never changes (it is {shorten(columns.actions[0].tolist(), 100)} in all "
            f"{len(columns.actions)} rows), so there is nothing to learn; write the actions that were executed"
        )


def check_option(constant_observations: str) -> None:
    """Refuse a value of `constant_observations` other than "error" and "allow".

    Raises:
        InputError: naming the value and the choices.
    """
    choices = get_args(ConstantObservations)
    if constant_observations not in choices:
        raise InputError(f"constant_observations is {quote(constant_observations)}; use one of {', '.join(choices)}")


def check_constant_observations(
    path: Path, observation_min: Float32, observation_max: Float32, known_from: int | None = None
) -> None:
    """Refuse observation dimensions that never change (both arguments [O] float32).

    A constant dimension cannot be normalised, and is usually a mistake in the recording. From `known_from` on (if
    given) they are known to belong to the layout and pass.

    Raises:
        InputError: naming the dimensions and the option that allows them.
    """
    constant: Bool = observation_min == observation_max
    if known_from is not None:
        constant[known_from:] = False
    if constant.any():
        raise InputError(
            f"{path}: key 'observations' is constant in the dimensions {_ranges(constant)} of "
            f"{len(constant)}; if that is meant, set constant_observations: allow"
        )


def _ranges(mask: Bool) -> str:
    """Return the true positions as "3, 27-110"."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    pairs = zip(edges[::2], edges[1::2] - 1, strict=True)
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)
