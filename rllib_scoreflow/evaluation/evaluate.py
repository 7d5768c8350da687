"""Mean return of a policy over exactly N episodes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs import (
    ChunkVectorEnv,
    EnvSettings,
    is_standard,
    make_chunk_vector_env,
    require_time_limit,
    resolve_env,
)
from rllib_scoreflow.envs.make import Backend
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation.result import EvaluationResult

# Raw observations [N, ...] (see rllib_scoreflow.observations) -> raw action chunks float32 [N, horizon * A].
Act = Callable[[Any], NDArray[np.float32]]

# Large enough to amortise the policy network, small enough that episodes of unequal length do not
# leave most of it idle.
_MAX_ENVS = 40


def evaluate_policy(
    act: Act,
    env_id: str,
    *,
    episodes: int,
    seed: int,
    act_steps: int,
    horizon: int,
    num_envs: int | None = None,
    env_config: Mapping[str, Any] | None = None,
    backend: Backend = "auto",
    max_episode_steps: int | None = None,
) -> EvaluationResult:
    """Play exactly `episodes` episodes.

    Every sub environment plays a quota fixed beforehand: counting the first N episodes to end
    would favour short ones. A sub environment that has filled its quota is stepped no more.
    The same seed, backend and num_envs give the same initial states.

    Args:
        act: observations [N, ...] -> [N, horizon * A], raw units on both sides; it is given all N rows
            in every call, also those of sub environments that have finished.
        env_id: D4RL dataset id, gymnasium id or "module:EnvId".
        episodes: number of episodes.
        seed: of the initial states.
        act_steps: primitive steps executed per chunk.
        horizon: actions per chunk.
        num_envs: N, by default up to 40 and never more than `episodes`.
        env_config: keyword arguments of the environment and the keys of EnvSettings.
        backend: see make_chunk_vector_env.
        max_episode_steps: time limit instead of that of `env_config` or the registered one.

    Raises:
        InputError: see make_chunk_vector_env; or an environment that has no time limit, or that breaks gymnasium's
            contract.
        SimulatorError: the environment raises an exception, or returns NaN.
    """
    if episodes < 1:
        raise InputError(f"episodes is {episodes}: choose at least 1")
    env = make_chunk_vector_env(
        env_id,
        min(episodes, num_envs or _MAX_ENVS),
        act_steps=act_steps,
        horizon=horizon,
        backend=backend,
        env_config=env_config,
        max_episode_steps=max_episode_steps,
        seed=seed,
    )
    try:
        require_time_limit(env_id, env.max_episode_steps)
        returns, lengths, successes, metrics = _play(act, env, episodes)
        return EvaluationResult(
            env_id,
            env.backend,
            seed,
            returns,
            lengths,
            successes,
            metrics,
            is_standard=is_standard(resolve_env(env_id), env_config, env.max_episode_steps),
            success_rule=EnvSettings.of(env_config).success,
        )
    finally:
        env.close()


def _play(
    act: Act, env: ChunkVectorEnv, episodes: int
) -> tuple[tuple[float, ...], tuple[int, ...], tuple[float | None, ...], dict[str, tuple[float, ...]]]:
    """Play the quotas; returns, lengths, successes and metrics ordered by sub environment and time."""
    n = env.num_envs
    quota = np.full(n, episodes // n) + (np.arange(n) < episodes % n)
    played = np.zeros(n, np.int64)
    first = np.concatenate([[0], np.cumsum(quota)[:-1]])
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    successes = np.full(episodes, np.nan)
    metrics: dict[str, NDArray[np.float64]] = {}

    observations, _ = env.reset()
    while (active := played < quota).any():
        actions = act(observations)
        observations, rewards, terminated, truncated, info = env.step(actions, active=active)
        ids = np.flatnonzero(active)
        rows = (first + played)[ids]
        returns[rows] += rewards[ids]
        lengths[rows] += info["env_steps"][ids]
        ended = terminated | truncated
        rows = (first + played)[ended]
        successes[rows] = info["success"][ended]
        for name, values in info["episode_metrics"].items():
            metrics.setdefault(name, np.full(episodes, np.nan))[rows] = values[ended]
        played += ended
    return (
        tuple(returns.tolist()),
        tuple(lengths.tolist()),
        tuple(None if math.isnan(s) else s for s in successes.tolist()),
        {name: tuple(values.tolist()) for name, values in metrics.items()},
    )
