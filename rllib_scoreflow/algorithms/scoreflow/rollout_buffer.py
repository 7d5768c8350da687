"""Columns of one rollout, and their cut into episode fragments."""

import uuid
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import tree
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer

ENV_STEPS = "env_steps"
"""Extra column: environment steps that a chunk really took, int64 `[T]`."""
EPISODE_METRICS = "episode_metrics"
"""Key of the environment's infos, and of an ended episode's `custom_data`: dict[str, float]."""
GROUP = "group"
"""Key of an episode's `custom_data` where environments share reset seeds: (environments, number of the episode), which
the episodes from one seed share."""
SUCCESS = "success"
"""Extra column: success where an episode ended (NaN: unknown, or not ended), float32 `[T]`."""
_OWN_COLUMNS = {Columns.OBS, Columns.ACTIONS, Columns.REWARDS, Columns.TERMINATEDS, Columns.TRUNCATEDS}
_REWARD_SPACE = gym.spaces.Box(-np.inf, np.inf, (), np.float32)  # which RLlib gives to every list of rewards


class RolloutBuffer:
    """Arrays `[steps, num_envs, ...]` of one `sample()` call.

    The observation after a step is the one that the next step acts on. It is kept by itself only where an episode ended
    and after the last step: a second column of images would double the memory of a rollout.

    Attributes:
        seconds_in_env: Time spent stepping environments.
        seconds_in_policy: Time spent in the policy.
    """

    def __init__(self, steps: int, num_envs: int) -> None:
        """Prepares for `steps` steps; the columns are allocated at the first one."""
        self.steps = steps
        self.num_envs = num_envs
        self.columns: dict[str, Any] = {}
        self.episode_metrics: list[dict[str, Any]] = []
        self._final_observations: dict[tuple[int, int], Any] = {}  # by step and environment, where an episode ended
        self._last_observations: Any = None
        self.seconds_in_env = 0.0
        self.seconds_in_policy = 0.0

    def add(self, step: int, observation: Any, policy: dict[str, Any], results: Any) -> None:
        """Stores one step: the observation acted on, the policy's output, the vector environment's results."""
        _, rewards, terminated, truncated, infos = results
        self.episode_metrics.append(infos.get(EPISODE_METRICS, {}))
        items = {
            Columns.OBS: observation,
            Columns.REWARDS: rewards,
            Columns.TERMINATEDS: terminated,
            Columns.TRUNCATEDS: truncated,
            ENV_STEPS: infos["env_steps"],
            SUCCESS: infos["success"],
            **policy,
        }
        for name, item in items.items():
            if name not in self.columns:
                self.columns[name] = tree.map_structure(self._allocate, item)
            tree.map_structure(partial(_store, step), self.columns[name], item)
        self._last_observations = infos["final_obs"]
        for env in np.flatnonzero(terminated | truncated).tolist():
            self._final_observations[step, env] = tree.map_structure(partial(_row, env), infos["final_obs"])

    def _allocate(self, item: Any) -> Any:
        return np.empty((self.steps, *np.shape(item)), dtype=np.asarray(item).dtype)

    def episodes(self, ids: list[str], started: Any, groups: list[str] | None = None) -> list[SingleAgentEpisode]:
        """Cuts the columns into episode fragments, environment by environment, in the order of time.

        Args:
            ids: Id of the episode that every environment is in, `[num_envs]`; brought up to date.
            started: Chunks that those episodes had before this rollout, int64 `[num_envs]`; brought up to date.
            groups: Name that every environment has in common with those that share its reset seeds, `[num_envs]`.
        """
        fragments = []
        ends = self.columns[Columns.TERMINATEDS] | self.columns[Columns.TRUNCATEDS]
        for env in range(self.num_envs):
            first, number = 0, 0
            for last in [*np.flatnonzero(ends[:, env]), self.steps - 1]:
                if first > last:
                    continue
                done = bool(ends[last, env])
                fragments.append(self._fragment(env, first, last + 1, ids[env], int(started[env])))
                if groups is not None:
                    fragments[-1].custom_data[GROUP] = (groups[env], number)
                number += 1
                started[env] = 0 if done else started[env] + last + 1 - first
                ids[env] = uuid.uuid4().hex if done else ids[env]
                first = last + 1
        return fragments

    def _fragment(self, env: int, first: int, stop: int, id_: str, t_started: int) -> SingleAgentEpisode:
        part = tree.map_structure(lambda column: column[first:stop, env], self.columns)
        terminated = bool(part[Columns.TERMINATEDS][-1])
        truncated = bool(part[Columns.TRUNCATEDS][-1])
        ended = self._final_observations.get((stop - 1, env))
        final = tree.map_structure(partial(_row, env), self._last_observations) if ended is None else ended
        extra = [name for name in part if name not in _OWN_COLUMNS]
        # Whole arrays: RLlib would take lists of their rows, and stack them again.
        episode = SingleAgentEpisode(
            id_,
            observations=InfiniteLookbackBuffer(tree.map_structure(_append, part[Columns.OBS], final)),
            actions=InfiniteLookbackBuffer(part[Columns.ACTIONS].copy()),
            rewards=InfiniteLookbackBuffer(part[Columns.REWARDS].copy(), space=_REWARD_SPACE),
            extra_model_outputs={name: InfiniteLookbackBuffer(part[name].copy()) for name in extra},
            terminated=terminated,
            truncated=truncated and not terminated,
            t_started=t_started,
            len_lookback_buffer=0,
        )
        if terminated or truncated:
            metrics = self.episode_metrics[stop - 1]
            episode.custom_data[EPISODE_METRICS] = {name: float(values[env]) for name, values in metrics.items()}
        return episode


def _store(step: int, column: Any, item: Any) -> None:
    column[step] = item


def _row(env: int, batch: Any) -> Any:
    return batch[env].copy()


def _append(column: Any, last: Any) -> Any:
    return np.concatenate([column, last[np.newaxis]])
