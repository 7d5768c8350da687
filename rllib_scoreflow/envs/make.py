"""The one way to make a chunked vector environment."""

from collections.abc import Mapping
from typing import Any, Literal

from rllib_scoreflow.envs.chunk_vector_env import ChunkVectorEnv
from rllib_scoreflow.envs.envpool_backend import EnvPoolChunkEnv, refusal
from rllib_scoreflow.envs.gymnasium_backend import GymnasiumChunkEnv
from rllib_scoreflow.envs.resolve import resolve_env
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.interface import check_act_steps

Backend = Literal["auto", "envpool", "gymnasium"]


def make_chunk_vector_env(
    env_id: str,
    num_envs: int,
    *,
    act_steps: int,
    horizon: int,
    backend: Backend = "auto",
    env_config: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    seed: int | None = None,
    group_size: int = 1,
) -> ChunkVectorEnv:
    """Make N environments that execute chunks of actions.

    Args:
        env_id: D4RL dataset id ("hopper-medium-v2"), gymnasium id ("Hopper-v4") or "module:EnvId".
        num_envs: N.
        act_steps: primitive steps executed per chunk, at most `horizon`.
        horizon: actions per chunk.
        backend: "auto" takes EnvPool where it is installed and its parity with gymnasium is tested
            for the environment and its options, gymnasium otherwise.
        env_config: keyword arguments of the environment, "num_threads" (EnvPool, default 1), and the keys of
            EnvSettings: "max_episode_steps", "success", "additional_wrappers".
        max_episode_steps: time limit in primitive steps instead of that of `env_config` or the registered one.
        seed: of the first reset; None draws one.
        group_size: how many neighbouring environments share every seed; it divides `num_envs`.

    Raises:
        InputError: unknown id, unsupported spaces, options that do not fit, numbers out of range.
    """
    check_act_steps(act_steps, horizon)
    if num_envs < 1:
        raise InputError(f"num_envs is {num_envs}: choose at least 1")
    if max_episode_steps is not None and max_episode_steps < 1:
        raise InputError(f"max_episode_steps is {max_episode_steps}: choose at least 1")
    if backend not in ("auto", "envpool", "gymnasium"):
        raise InputError(f"backend is {backend!r}: choose 'auto', 'envpool' or 'gymnasium'")
    source = resolve_env(env_id)
    env_config = dict(env_config or {})
    use_envpool = backend == "envpool" or (backend == "auto" and refusal(source, env_config) is None)
    make = EnvPoolChunkEnv if use_envpool else GymnasiumChunkEnv
    return make(
        source,
        num_envs,
        act_steps=act_steps,
        horizon=horizon,
        env_config=env_config,
        max_episode_steps=max_episode_steps,
        seed=seed,
        group_size=group_size,
    )


def require_time_limit(env_id: str, limit: int | None) -> int:
    """Return the time limit of an environment that is to play whole episodes.

    Args:
        env_id: the environment's name, for the message.
        limit: from EnvDims.max_episode_steps.

    Raises:
        InputError: it has none.
    """
    if limit is None:
        raise InputError(
            f"environment {env_id!r} has no time limit, so that an evaluation might never end: give max_episode_steps "
            "(an option of the algorithms, and --max-episode-steps of rllib evaluate)"
        )
    return limit
