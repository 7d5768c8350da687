"""A rollout's episode fragments, dealt to the Learners."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import ray
from ray.rllib.core.learner.training_data import TrainingData

from rllib_scoreflow.algorithms.scoreflow.rollout_buffer import GROUP


def deal_episodes(episodes: list[Any], num_learners: int) -> TrainingData:
    """Gives every Learner whole fragments, about as many steps each, in the order of the rollout.

    RLlib's own split cuts fragments in two to make the shares equal; the advantages of a cut fragment are not those of
    the whole one. The episodes of environments that share reset seeds stay together, too.

    Raises:
        RuntimeError: If there are fewer fragments, or groups of environments, than Learners.
    """
    if num_learners <= 1:
        return TrainingData(episodes=episodes)
    units = [_Unit(each) for _, each in groupby(episodes, key=_environments)]
    shares = split_evenly(units, num_learners)
    return TrainingData(episodes_refs=[ray.put([each for unit in share for each in unit.episodes]) for share in shares])


class _Unit:
    """Episodes that stay together; as long as all of them."""

    def __init__(self, episodes: Iterable[Any]) -> None:
        self.episodes = list(episodes)

    def __len__(self) -> int:
        return sum(len(episode) for episode in self.episodes)


def _environments(episode: Any) -> Any:
    """What the episodes of environments that share reset seeds have in common, and no two others."""
    group = getattr(episode, "custom_data", {}).get(GROUP)
    return id(episode) if group is None else group[0]


def split_evenly(episodes: Sequence[Any], parts: int) -> list[Any]:
    """Cuts a list of episodes, or of groups of them, into `parts` lists of about equal numbers of steps, none empty.

    Raises:
        RuntimeError: If there are fewer episodes than parts.
    """
    if len(episodes) < parts:
        raise RuntimeError(
            f"The rollout has {len(episodes)} episode fragments, or groups of them, for {parts} Learners; every "
            "Learner needs one: use more environments (num_envs_per_env_runner, num_env_runners) or fewer num_learners."
        )
    ends = np.cumsum([len(episode) for episode in episodes])
    cuts = [0]
    for part in range(1, parts):
        nearest = int(np.argmin(np.abs(ends - ends[-1] * part / parts))) + 1
        cuts.append(min(max(nearest, cuts[-1] + 1), len(episodes) - (parts - part)))
    return [episodes[first:last] for first, last in zip(cuts, [*cuts[1:], len(episodes)], strict=True)]
