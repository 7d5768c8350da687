"""Reading what RLlib's old API stack recorded: lines of JSON, each a sample batch of one or several episodes.

RLlib's own reader takes a line for one whole episode, whose observations it can only unpack in part. Here each line is
cut into its episodes, so that nothing is learnt across the end of one; what a recording's end or its fragment cuts off
is truncated, and never terminal.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns
from ray.rllib.offline.offline_prelearner import OfflinePreLearner
from ray.rllib.utils.compression import unpack_if_needed
from ray.rllib.utils.spaces.space_utils import clip_action, normalize_action

_DONES = "dones"  # of recordings from before episodes could be truncated


class SampleBatchPreLearner(OfflinePreLearner):  # type: ignore[misc, unused-ignore]
    """RLlib's own, given one recorded episode, or the recorded part of one, at a time.

    Actions are recorded in the environment's range and are brought into that of the policy, as
    ``actions_in_input_normalized: false`` said, which was the default.
    """

    actions_are_normalized = False

    def __call__(self, batch: dict[str, Any]) -> Any:
        """Turn recorded sample batches into what a Learner learns from.

        Args:
            batch: column -> one entry for each recorded sample batch.
        """
        return super().__call__(split_episodes(batch, self._as_the_policy_gives_them))

    def _as_the_policy_gives_them(self, actions: NDArray[Any]) -> Any:
        if self.config.clip_actions:
            actions = clip_action(actions, self.action_space)
        if self.config.normalize_actions and not self.actions_are_normalized:
            actions = normalize_action(actions, self.action_space)
        return actions


class NormalizedSampleBatchPreLearner(SampleBatchPreLearner):
    """The same of ``actions_in_input_normalized: true``, whose actions are the policy's own, within -1 and 1."""

    actions_are_normalized = True


def split_episodes(
    batch: Mapping[str, Any], change_actions: Callable[[NDArray[Any]], NDArray[Any]]
) -> dict[str, NDArray[np.object_]]:
    """Cut recorded sample batches into their episodes.

    Args:
        batch: column -> one entry for each sample batch: an array, or what `pack` of RLlib makes of one.
        change_actions: what is done to the actions, an array of shape (steps, ...).

    Returns:
        The columns that learning needs, with one entry for each episode. The end of each is marked as terminated or
        truncated. Episodes have the same id whenever they are read.
    """
    pieces = [piece for row in range(len(batch[Columns.ACTIONS])) for piece in _episodes(batch, row, change_actions)]
    found = {}
    for column in pieces[0] if pieces else ():
        found[column] = np.empty(len(pieces), dtype=object)
        for index, piece in enumerate(pieces):
            found[column][index] = piece[column]
    return found


def _episodes(
    batch: Mapping[str, Any], row: int, change_actions: Callable[[NDArray[Any]], NDArray[Any]]
) -> Iterator[dict[str, Any]]:
    column = {name: dense(batch[name][row]) for name in (Columns.OBS, Columns.ACTIONS, Columns.REWARDS)}
    steps = len(column[Columns.ACTIONS])
    if not steps:
        return
    # RLlib looks at an episode's last one alone, and where it was not recorded takes the one before.
    known = Columns.NEXT_OBS in batch and batch[Columns.NEXT_OBS][row] is not None
    following = dense(batch[Columns.NEXT_OBS][row]) if known else column[Columns.OBS]
    terminated = _flags(batch, row, steps, Columns.TERMINATEDS if Columns.TERMINATEDS in batch else _DONES)
    truncated = _flags(batch, row, steps, Columns.TRUNCATEDS)
    ends = terminated | truncated
    if Columns.EPS_ID in batch:
        names = dense(batch[Columns.EPS_ID][row])
        ends[:-1] |= names[1:] != names[:-1]
    ends[-1] = True
    start = 0
    for last in np.flatnonzero(ends):
        part = slice(start, int(last) + 1)
        actions = column[Columns.ACTIONS][part]
        digest = hashlib.blake2b(column[Columns.OBS][part].tobytes() + actions.tobytes(), digest_size=16)
        yield {
            Columns.EPS_ID: [digest.hexdigest()],
            Columns.OBS: column[Columns.OBS][part],
            Columns.NEXT_OBS: following[part],
            Columns.ACTIONS: change_actions(actions),
            Columns.REWARDS: column[Columns.REWARDS][part],
            Columns.TERMINATEDS: terminated[part],
            Columns.TRUNCATEDS: np.append(np.zeros(int(last) - start, bool), not terminated[last]),
        }
        start = int(last) + 1


def _flags(batch: Mapping[str, Any], row: int, steps: int, name: str) -> NDArray[np.bool_]:
    if name not in batch or batch[name][row] is None:
        return np.zeros(steps, bool)
    return dense(batch[name][row]).astype(bool)


def dense(entry: Any) -> NDArray[Any]:
    """Return a recorded column as an array, whether it is compressed, or an array of arrays of equal shapes.

    Args:
        entry: of shape (steps, ...).
    """
    unpacked = np.asarray(unpack_if_needed(entry))
    if unpacked.dtype != object:
        return unpacked
    if unpacked.ndim == 0:
        raise ValueError(f"a recorded column holds {type(entry).__name__}, and only arrays are read")
    return np.stack([dense(part) for part in unpacked])
