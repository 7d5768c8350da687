"""Where episodes end in columns that run over all of them: what the flags say, checked against the observations.

A flag that is missing, late or set too often makes chunks of actions across two episodes, or episodes of one step, and
nothing fails. Where `next_observations` exist they tell the ends exactly: there the next observation is not the
following row's. Where they do not, a reset shows as a step that is far larger than the others.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.schema import Bool, Float32
from rllib_scoreflow.errors import InputError

# Of a dimension's range: recorded twice, an observation agrees far better, and a reset differs far more.
_SAME = 1e-5
_ROUNDINGS = 8
# From this share of the rows on, next observations that do not go on are no ends of episodes but other observations:
# where there are flags, and where there are none.
_MOST_UNFLAGGED, _MOST_ENDS = 0.1, 0.5
# Published files have a cut episode here and there without a flag (two recordings, one after the other).
_FEW = 0.01

# A reset moves most dimensions at once: steps in units of a dimension's usual step, each at most so many, are averaged.
_LARGEST_STEP = 10.0
# An angle that wraps, a phase that begins anew or a goal that is drawn again is one dimension, or a few: no reset.
_LARGE_STEP, _MANY_DIMS = 3.0, 0.35
# Of the size of the flagged jumps: what is smaller may be the first step of a robot at rest.
_AS_LARGE = 0.75
_USUAL_STEP = 0.75  # quantile
_SAMPLED_ROWS = 20_000
_FEWEST_ROWS = 30
# Jumps are the largest steps, if the next smaller one is smaller by this factor: one step alone may be a collision.
_GAP, _GAP_OF_ONE = 1.5, 2.0
_MOST_JUMPS = 0.2
# Where nothing but the flags tells resets from other steps: most flagged steps are at least as large as this quantile.
_SMALL_RESET, _FEWEST_FLAGS = 0.1, 5
# Flags that lie up to so many rows beside jumps, if most do and hardly any lies on one.
_NEIGHBOURS, _MOST_FLAGS, _MOST_OF_THEM, _FEW_OF_THEM = 3, 0.05, 0.6, 0.2


@dataclass(frozen=True, eq=False)
class EpisodeEnds:
    """Ends of episodes in N rows.

    Attributes:
        terminals: [N] bool, the environment ended the episode at this step.
        timeouts: [N] bool, it was cut after this step; the last row ends an episode in any case.
        following: [N, O] float32, the next observations, or None where they say nothing beyond the observations.
        notes: what a user should know of how they were found, a sentence each without its full stop.
    """

    terminals: Bool
    timeouts: Bool
    following: Float32 | None
    notes: tuple[str, ...]


def settle_ends(
    path: Path,
    observations: Float32,
    following: Float32 | None,
    terminals: Bool,
    timeouts: Bool | None,
    *,
    resolution: float = float(np.finfo(np.float32).eps),
) -> EpisodeEnds:
    """Find where episodes end, by the flags and the observations.

    Args:
        path: the file, for messages.
        observations: [N, O] float32.
        following: [N, O] float32, next observations, or None.
        terminals: [N] bool, as recorded.
        timeouts: [N] bool, as recorded, or None where the file has none.
        resolution: relative precision with which observations were stored.

    Raises:
        InputError: flags that contradict the observations, or ends that cannot be told.
    """
    flagged = terminals if timeouts is None else terminals | timeouts
    if flagged.all():  # which `check_columns` refuses, of every format
        return _close(terminals, flagged & ~terminals, None, [])
    unused: str | None = None
    if following is not None:
        differs = _find_differences(observations, following, resolution)
        breaks: Bool = np.logical_or.reduce(differs, axis=1)
        unflagged = int((breaks & ~flagged[:-1]).sum())
        if not breaks.any() and flagged[:-1].any():
            unused = "are the following rows' 'observations' across the ends of episodes, too"
        elif (
            timeouts is not None
            and timeouts[:-1].any()
            and unflagged > _MOST_UNFLAGGED * len(breaks)
            and (differs.mean(axis=0) <= _MOST_UNFLAGGED)[np.ptp(observations, axis=0) > 0].any()
        ):
            dims = int((differs.mean(axis=0) > _MOST_UNFLAGGED).sum())
            unused = f"are not the following rows' 'observations' in {dims} of {differs.shape[1]} dimensions"
        else:
            return _settle_by_next(path, breaks, following, terminals, timeouts)
    notes = _check_steps(path, observations, terminals, timeouts)
    if unused is not None:
        notes.append(f"'next_observations' {unused}, so they are not used")
    return _close(terminals, np.zeros_like(terminals) if timeouts is None else timeouts, None, notes)


def find_breaks(observations: Float32, following: Float32, resolution: float) -> Bool:
    """Return [N - 1] bool: the next observation of a row is not the observation of the following row.

    Args:
        observations: [N, O] float32.
        following: [N, O] float32.
        resolution: relative precision with which they were stored.
    """
    breaks: Bool = np.logical_or.reduce(_find_differences(observations, following, resolution), axis=1)
    return breaks


def _find_differences(observations: Float32, following: Float32, resolution: float) -> Bool:
    """Return [N - 1, O] bool, see `find_breaks`."""
    low, high = observations.min(axis=0), observations.max(axis=0)
    size = np.maximum(np.abs(low), np.abs(high))
    tolerance = _SAME * (high - low) + _ROUNDINGS * resolution * size
    with np.errstate(invalid="ignore", over="ignore"):
        same = np.abs(following[:-1] - observations[1:]) <= tolerance
    differs: Bool = ~same
    return differs


def _settle_by_next(
    path: Path, breaks: Bool, following: Float32, terminals: Bool, timeouts: Bool | None
) -> EpisodeEnds:
    notes = []
    recorded = np.zeros_like(terminals) if timeouts is None else timeouts.copy()
    flagged = (terminals | recorded)[:-1]
    unflagged, silent = breaks & ~flagged, flagged & ~breaks
    found = int(unflagged.sum())
    if found > (_MOST_UNFLAGGED if recorded[:-1].any() else _MOST_ENDS) * len(breaks):
        raise InputError(
            f"{path}: key 'next_observations' differs from the 'observations' of the following row in {found} of "
            f"{len(breaks)} rows within episodes, from row {_first(unflagged)} on; write both of the same steps and in "
            "the same units, or leave it out"
        )
    if silent.any() and found > _FEW * breaks.sum():
        raise InputError(
            f"{path}: 'terminals' and 'timeouts' do not lie where episodes end: 'next_observations' go on after row "
            f"{_first(silent)}, which is flagged, and stop after row {_first(unflagged)}, which is not; set the flags "
            "in the last row of every episode"
        )
    held = silent & terminals[:-1]
    if held.sum() >= 0.5 * terminals.sum() > 0:
        terminals = terminals.copy()
        terminals[:-1] &= ~held
        notes.append(
            f"{int(held.sum())} rows of 'terminals' end no episode, since 'next_observations' go on there (from row "
            f"{_first(held)} on)"
        )
    if found and timeouts is not None:
        notes.append(
            f"{found} episodes end without a flag, where 'next_observations' stop (first in row {_first(unflagged)})"
        )
    recorded[:-1] |= unflagged
    return _close(terminals, recorded, following, notes)


def _close(terminals: Bool, timeouts: Bool, following: Float32 | None, notes: list[str]) -> EpisodeEnds:
    """End the last episode, in the middle of which files often stop."""
    if not terminals[-1]:
        timeouts = timeouts.copy()
        timeouts[-1] = True
    return EpisodeEnds(terminals, timeouts, following, tuple(notes))


def _check_steps(path: Path, observations: Float32, terminals: Bool, timeouts: Bool | None) -> list[str]:
    """Compare the flags with jumps in the observations themselves; return notes."""
    flagged = (terminals if timeouts is None else terminals | timeouts)[:-1]
    if timeouts is None and not terminals.any():
        raise InputError(
            f"{path}: key 'timeouts' is missing and 'terminals' is never set, so episodes cannot "
            "be told apart; add 'timeouts' (bool, true at the last step of every episode)"
        )
    again = int((terminals[1:] & flagged).sum())
    if again > 1 and again >= 0.5 * terminals.sum():
        raise InputError(
            f"{path}: key 'terminals' is set in rows that follow one another ({again} of {int(terminals.sum())}, from "
            f"row {_first(terminals[1:] & flagged)} on), which makes episodes of one step; set it in the last row of "
            "every episode only"
        )
    if not (flagged.any() or terminals[-1] or (timeouts is not None and timeouts[-1])):
        raise InputError(
            f"{path}: 'terminals' and 'timeouts' are set in no row, so episodes cannot be told apart; set 'timeouts' "
            "(bool) in the last row of every episode"
        )
    if len(flagged) < _FEWEST_ROWS:
        return []
    sizes, many = _step_sizes(observations)
    _check_neighbours(path, sizes, flagged)
    jumps = _find_jumps(sizes)
    unflagged = jumps & ~flagged & many
    as_large = unflagged
    if (jumps & flagged).any():
        as_large = unflagged & (sizes >= _AS_LARGE * np.median(sizes[jumps & flagged]))
    found, ends = int(unflagged.sum()), int(flagged.sum())
    if as_large.sum() > 0.5 * ends:
        raise InputError(
            f"{path}: the observations jump as at a reset in {as_large.sum()} rows that 'terminals' and 'timeouts' do "
            f"not flag, from row {_first(as_large)} on, and {ends} rows are flagged; set 'timeouts' (bool) in the last "
            "row of every episode that no terminal ends"
        )
    if not found and ends >= _FEWEST_FLAGS:
        unflagged = (sizes >= np.quantile(sizes[flagged], _SMALL_RESET)) & ~flagged
        found = int(unflagged.sum())
        if not _FEW * ends < found <= 2 * ends:  # of many, resets are steps like others, and say nothing
            return []
    if found:
        first = _first(unflagged)
        return [f"the observations jump as at a reset in {found} rows without a flag (the first is row {first})"]
    return []


def _check_neighbours(path: Path, sizes: NDArray[np.float64], flagged: Bool) -> None:
    """Refuse flags beside the rows in which the observations jump: a row or a few too late, or too early."""
    ends = int(flagged.sum())
    if not _FEWEST_FLAGS - 1 <= ends <= _MOST_FLAGS * len(flagged):
        return
    large = sizes >= np.sort(sizes)[-ends]
    near = large.copy()
    for shift in range(1, _NEIGHBOURS + 1):
        near[shift:] |= large[:-shift]
        near[:-shift] |= large[shift:]
    beside = near & ~large & flagged
    if (large & flagged).sum() <= _FEW_OF_THEM * ends and beside.sum() >= _MOST_OF_THEM * ends:
        row = _first(beside)
        jump = row + min(
            (k for k in range(-_NEIGHBOURS, _NEIGHBOURS + 1) if large[row + k : row + k + 1].any()), key=abs
        )
        raise InputError(
            f"{path}: 'terminals' and 'timeouts' lie beside the ends of episodes: row {row} is flagged, and the "
            f"observations jump as at a reset after row {jump}; set the flags in the last row of every episode"
        )


def _find_jumps(sizes: NDArray[np.float64]) -> Bool:
    """Return [N - 1] bool: steps that are larger than all others by a clear gap."""
    largest = np.sort(sizes)[::-1][: int(_MOST_JUMPS * len(sizes)) + 1]
    ratios = largest[:-1] / np.maximum(largest[1:], np.finfo(np.float32).tiny)
    count = int(np.argmax(ratios)) + 1
    if ratios[count - 1] < (_GAP_OF_ONE if count == 1 else _GAP):
        return np.zeros(len(sizes), np.bool_)
    jumps: Bool = sizes >= largest[count - 1]
    return jumps


def _step_sizes(observations: Float32) -> tuple[NDArray[np.float64], Bool]:
    """Return two [N - 1]: the steps in units of each dimension's usual step, averaged over the dimensions that move.

    The second tells whether a step is large in many of these dimensions.
    """
    sampled = observations[:: max(1, len(observations) // _SAMPLED_ROWS)]
    pairs = np.arange(0, len(observations) - 1, max(1, len(observations) // _SAMPLED_ROWS))
    steps = np.abs(observations[pairs + 1].astype(np.float64) - observations[pairs])
    total: NDArray[np.float64] = np.zeros(len(observations) - 1)
    large = np.zeros(len(total), np.int64)
    moving = 0
    for dim in np.flatnonzero(np.ptp(sampled, axis=0) > 0):
        moved = steps[:, dim][steps[:, dim] > 0]
        if len(moved) < _FEWEST_ROWS:
            continue
        column = observations[:, dim].astype(np.float64)
        scaled = np.abs(np.diff(column)) / np.quantile(moved, _USUAL_STEP)
        total += np.minimum(scaled, _LARGEST_STEP)
        large += scaled > _LARGE_STEP
        moving += 1
    return total / max(moving, 1), large > max(1.0, _MANY_DIMS * moving) if moving > 1 else large > 0


def _first(rows: Bool) -> int:
    return int(np.argmax(rows))
