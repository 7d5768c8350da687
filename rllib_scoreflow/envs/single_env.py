"""One gymnasium environment without the wrappers that cost time, and its dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.resolve import EnvSource, resolve_env
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.observations import IMAGES, STATE

Env = gym.Env[Any, Any]

# Keys of `env_config` that belong to a backend and not to the environment.
BACKEND_KEYS = frozenset({"num_threads"})


@dataclass(frozen=True)
class EnvDims:
    """What a policy must know of an environment.

    Attributes:
        env_id: gymnasium id.
        observation_dim: O, of the state, padding included.
        action_dim: A, of one primitive step.
        action_low: float32 [A].
        action_high: float32 [A].
        max_episode_steps: registered time limit in primitive steps, None if there is none.
        image_shape: (V, H, W, 3) of an environment with V cameras, None without cameras.
    """

    env_id: str
    observation_dim: int
    action_dim: int
    action_low: NDArray[np.float32]
    action_high: NDArray[np.float32]
    max_episode_steps: int | None
    image_shape: tuple[int, int, int, int] | None = None


def env_dims(env_id: str, env_config: Mapping[str, Any] | None = None) -> EnvDims:
    """Return the dimensions of an environment, by constructing it once.

    Args:
        env_id: D4RL dataset id, gymnasium id or "module:EnvId".
        env_config: keyword arguments of the environment.

    Raises:
        InputError: unknown id, arguments that the environment refuses, or unsupported spaces, see
            dims_of.
    """
    source = resolve_env(env_id)
    env = make_single_env(source, env_config)
    try:
        return dims_of(env, source)
    finally:
        env.close()  # type: ignore[no-untyped-call]  # gymnasium leaves it without types


def make_single_env(
    source: EnvSource, env_config: Mapping[str, Any] | None = None, render_mode: str | None = None
) -> Env:
    """Construct the environment without checker, order enforcement and time limit.

    The time limit is left to the caller, who counts primitive steps anyway.

    Raises:
        InputError: the environment refuses the arguments or lacks a package.
    """
    kwargs = {k: v for k, v in (env_config or {}).items() if k not in BACKEND_KEYS}
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    try:
        # A negative limit is gymnasium's way to say: no TimeLimit wrapper.
        env = gym.make(source.spec, max_episode_steps=-1, disable_env_checker=True, **kwargs)
    except TypeError as error:
        raise InputError(
            f"environment {source.requested_id!r} refuses env_config {kwargs}: {error}; remove or correct the key"
        ) from error
    except (ImportError, gym.error.Error) as error:
        raise InputError(
            f"environment {source.requested_id!r} cannot be made: {error}; install what it needs"
        ) from error
    while isinstance(env, gym.wrappers.OrderEnforcing | gym.wrappers.PassiveEnvChecker):
        env = env.env
    return env


def dims_of(env: Env, source: EnvSource) -> EnvDims:
    """Return the dimensions of a constructed environment.

    Raises:
        InputError: actions that are not a one-dimensional float box, or observations that are neither
            a one-dimensional box nor a dictionary of such a "state" and of the uint8 "images"
            [V, H, W, 3].
    """
    state_space, image_shape = env.observation_space, None
    if isinstance(state_space, gym.spaces.Dict):
        state_space, image_shape = _camera_spaces(state_space, source)
    observation_space = _flat_box(state_space, "observation", source)
    action_space = _flat_box(env.action_space, "action", source)
    if not np.issubdtype(action_space.dtype, np.floating):
        raise InputError(
            f"environment {source.requested_id!r} takes {action_space.dtype} actions, but a flow "
            "policy makes continuous ones: choose an environment with a float action space"
        )
    return EnvDims(
        env_id=source.env_id,
        observation_dim=source.padded_observation_dim or int(observation_space.shape[0]),
        action_dim=int(action_space.shape[0]),
        action_low=action_space.low.astype(np.float32),
        action_high=action_space.high.astype(np.float32),
        max_episode_steps=source.spec.max_episode_steps,
        image_shape=image_shape,
    )


def _camera_spaces(space: gym.spaces.Dict, source: EnvSource) -> tuple[gym.Space[Any], tuple[int, int, int, int]]:
    """Return the space of the state and the shape of the images."""
    images = space.get(IMAGES)
    shape = (images.shape or ()) if images is not None and images.dtype == np.uint8 else ()
    if set(space) != {STATE, IMAGES} or len(shape) != 4 or shape[3] != 3:
        raise InputError(
            f"environment {source.requested_id!r} has the observation space {space}, but a dictionary must hold "
            f"{STATE!r}, a one-dimensional Box, and {IMAGES!r}, a uint8 Box of shape (cameras, height, width, 3), "
            "and nothing else: rearrange it in a wrapper that is registered under an id of its own"
        )
    return space[STATE], (shape[0], shape[1], shape[2], shape[3])


def _flat_box(space: gym.Space[Any], role: str, source: EnvSource) -> gym.spaces.Box:
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise InputError(
            f"environment {source.requested_id!r} has the {role} space {space}, but only "
            "one-dimensional Box spaces are supported: flatten it in a wrapper that is registered "
            "under an id of its own"
        )
    return space
