"""Refusals of unusable data: one sentence each, before anything is written."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.schema import Bool, DatasetInfo, Float32, RawColumns
from rllib_scoreflow.errors import InputError, quote, shorten

ConstantObservations = Literal["error", "allow"]

# Recorded float32 actions may lie one rounding outside bounds that are float64 in the environment.
_BOUND_TOLERANCE = 1e-5


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


def check_compatible(
    info: DatasetInfo,
    observation_dim: int,
    action_low: NDArray[np.floating],
    action_high: NDArray[np.floating],
    env_id: str,
    *,
    image_shape: tuple[int, int, int, int] | None = None,
) -> None:
    """Refuse a dataset that does not fit an environment.

    Args:
        info: the dataset's info.
        observation_dim: length of the environment's observation.
        action_low: [A] lower action bounds of the environment, in its raw units.
        action_high: [A] upper action bounds.
        env_id: the environment's name, for the message.
        image_shape: (V, H, W, 3) of the environment's camera images, None where it has none.

    Raises:
        InputError: the dimensions differ, or recorded actions lie outside the bounds.
    """
    for key, found, expected in (
        ("observations", info.observation_dim, observation_dim),
        ("actions", info.action_dim, len(action_low)),
    ):
        if found != expected:
            recorded = f" (recorded on {shorten(info.env_id)})" if info.env_id else ""
            raise InputError(
                f"dataset {info.name}{recorded}: key '{key}' has {found} dimensions but {env_id} "
                f"has {expected}; choose the environment of this dataset or a dataset of {env_id}"
            )
    if info.image_shape != image_shape:
        raise InputError(
            f"dataset {info.name}: images of shape {info.image_shape} (cameras, height, width, 3) but {env_id} gives "
            f"{image_shape}; set the same cameras and image size in 'cameras' and in 'env_config'"
        )
    dim = dimension_outside(info.action_min, info.action_max, action_low, action_high)
    if dim is not None:
        raise InputError(
            f"dataset {info.name}: key 'actions' runs from {info.action_min[dim]:g} to "
            f"{info.action_max[dim]:g} in dimension {dim}, outside the bounds {action_low[dim]:g} "
            f"to {action_high[dim]:g} of {env_id}; rescale or clip the recorded actions"
        )


def dimension_outside(
    found_low: NDArray[np.floating],
    found_high: NDArray[np.floating],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
) -> int | None:
    """Return the first dimension in which a range lies outside bounds by more than rounding, None where none does.

    Args:
        found_low: [A] the least actions of a dataset.
        found_high: [A] the largest ones.
        low: [A] lower action bounds of an environment, -inf where there are none.
        high: [A] upper action bounds.
    """
    sizes = np.stack([np.abs(low), np.abs(high)])
    largest = np.max(np.where(np.isfinite(sizes), sizes, 0.0), axis=0)
    # At least 1e-5, but no more than a hundredth of narrow bounds.
    margin = np.maximum(np.minimum(_BOUND_TOLERANCE, 0.01 * largest), 2 * _BOUND_TOLERANCE * largest)
    outside = (found_low < low - margin) | (found_high > high + margin)
    return int(np.argmax(outside)) if outside.any() else None


def _ranges(mask: Bool) -> str:
    """Return the true positions as "3, 27-110"."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    pairs = zip(edges[::2], edges[1::2] - 1, strict=True)
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)
