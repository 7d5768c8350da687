"""A rollout's episode fragments, dealt to the Learners."""

from typing import Any

import numpy as np
import ray
from ray.rllib.core.learner.training_data import TrainingData


def deal_episodes(episodes: list[Any], num_learners: int) -> TrainingData:
    """Gives every Learner whole fragments, about as many steps each, in the order of the rollout.

    RLlib's own split cuts fragments in two to make the shares equal; the advantages of a cut fragment are not those of
    the whole one.

    Raises:
        RuntimeError: If there are fewer fragments than Learners.
    """
    if num_learners <= 1:
        return TrainingData(episodes=episodes)
    shares = split_evenly(episodes, num_learners)
    return TrainingData(episodes_refs=[ray.put(share) for share in shares])


def split_evenly(episodes: list[Any], parts: int) -> list[list[Any]]:
    """Cuts a list of episodes into `parts` lists of about equal numbers of steps, none of them empty.

    Raises:
        RuntimeError: If there are fewer episodes than parts.
    """
    if len(episodes) < parts:
        raise RuntimeError(
            f"The rollout has {len(episodes)} episode fragments for {parts} Learners; every Learner needs one: "
            "use more environments (num_envs_per_env_runner, num_env_runners) or fewer num_learners."
        )
    ends = np.cumsum([len(episode) for episode in episodes])
    cuts = [0]
    for part in range(1, parts):
        nearest = int(np.argmin(np.abs(ends - ends[-1] * part / parts))) + 1
        cuts.append(min(max(nearest, cuts[-1] + 1), len(episodes) - (parts - part)))
    return [episodes[first:last] for first, last in zip(cuts, [*cuts[1:], len(episodes)], strict=True)]
