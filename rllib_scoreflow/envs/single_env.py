"""One gymnasium environment without the wrappers that cost time, and its dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.contract import Env, close_env, reason_of
from rllib_scoreflow.envs.d4rl.locomotion import PadObservation
from rllib_scoreflow.envs.resolve import EnvSource, resolve_env
from rllib_scoreflow.envs.settings import EnvSettings
from rllib_scoreflow.envs.wrappers import wrap
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.interface import ImageShape, Interface
from rllib_scoreflow.observations import IMAGES, STATE


@dataclass(frozen=True, kw_only=True, eq=False)
class EnvDims(Interface):
    """What a policy must know of an environment; its bounds are float32, rounded inwards where they have more digits.

    Attributes:
        max_episode_steps: time limit in primitive steps, of `env_config` or else registered; None if there is none.
        action_dtype: "float32", or the name of the environment's own type where that is narrower.
    """

    kind: Literal["environment"] = "environment"
    max_episode_steps: int | None
    action_dtype: str = "float32"

    def fit_actions(self, actions: NDArray[np.float32]) -> NDArray[Any]:
        """Return actions [..., A] as the environment takes them.

        What lies outside its bounds by a rounding of the arithmetic before is clipped; the type is float32, or the
        environment's where that is narrower.
        """
        fitting: NDArray[Any] = np.clip(actions, self.action_low, self.action_high)
        return fitting if fitting.dtype == self.action_dtype else fitting.astype(self.action_dtype)


def env_dims(env_id: str, env_config: Mapping[str, Any] | None = None) -> EnvDims:
    """Return the dimensions of an environment, by constructing it once.

    Args:
        env_id: D4RL dataset id, gymnasium id or "module:EnvId".
        env_config: keyword arguments of the environment and the keys of EnvSettings.

    Raises:
        InputError: unknown id, arguments that the environment refuses, or unsupported spaces, see
            dims_of.
    """
    source = resolve_env(env_id)
    env = make_single_env(source, env_config)
    try:
        return dims_of(env, source, EnvSettings.of(env_config).max_episode_steps)
    finally:
        close_env(env, source.requested_id)


def make_single_env(
    source: EnvSource, env_config: Mapping[str, Any] | None = None, render_mode: str | None = None
) -> Env:
    """Construct the environment without checker, order enforcement and time limit.

    The time limit is left to the caller, who counts primitive steps anyway.

    Raises:
        InputError: the environment refuses the arguments, lacks a package, or raises any other exception.
    """
    settings = EnvSettings.of(env_config)
    kwargs = dict(settings.kwargs)
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    try:
        # A negative limit is gymnasium's way to say: no TimeLimit wrapper.
        env = gym.make(source.spec, max_episode_steps=-1, disable_env_checker=True, **kwargs)
    except InputError:
        raise
    except TypeError as error:
        raise InputError(
            f"environment {source.requested_id!r} refuses env_config {shorten(kwargs)}: {shorten(str(error))}; remove "
            "or correct the key"
        ) from error
    except (ImportError, gym.error.Error) as error:
        raise InputError(
            f"environment {source.requested_id!r} cannot be made: {shorten(str(error))}; install what it needs"
        ) from error
    # Whatever an environment's constructor raises, and one that ends the process, which would end in silence.
    except (Exception, SystemExit) as error:
        raise InputError(
            f"environment {source.requested_id!r} cannot be made, its constructor raised {reason_of(error)}; correct "
            "it, or its env_config"
        ) from error
    while isinstance(env, gym.wrappers.OrderEnforcing | gym.wrappers.PassiveEnvChecker):
        env = env.env
    env = wrap(env, settings.wrappers, source.requested_id)
    return env if source.padded_observation_dim is None else PadObservation(env, source.padded_observation_dim)


def dims_of(env: Env, source: EnvSource, max_episode_steps: int | None = None) -> EnvDims:
    """Return the dimensions of a constructed environment.

    Args:
        env: the environment.
        source: where it is from.
        max_episode_steps: time limit instead of the registered one.

    Raises:
        InputError: actions that are not a one-dimensional float box, or observations that are neither
            a one-dimensional box nor a dictionary of such a "state" and of the uint8 "images"
            [V, H, W, 3].
    """
    # An environment that sets no spaces has no such attributes.
    state_space, image_shape = getattr(env, "observation_space", None), None
    if isinstance(state_space, gym.spaces.Dict):
        state_space, image_shape = _camera_spaces(state_space, source)
    observation_space = _flat_box(state_space, "observation", source)
    action_space = _flat_box(getattr(env, "action_space", None), "action", source)
    if not np.issubdtype(action_space.dtype, np.floating):
        raise InputError(
            f"environment {source.requested_id!r} takes {action_space.dtype} actions, but a flow "
            "policy makes continuous ones: choose an environment with a float action space"
        )
    return EnvDims(
        name=source.requested_id,
        observation_dim=int(observation_space.shape[0]),
        action_dim=int(action_space.shape[0]),
        action_low=_float32_within(action_space.low, np.less, np.inf),
        action_high=_float32_within(action_space.high, np.greater, -np.inf),
        max_episode_steps=max_episode_steps or source.spec.max_episode_steps,
        image_shape=image_shape,
        cameras=_camera_names(env, image_shape),
        action_dtype="float16" if action_space.dtype == np.float16 else "float32",
    )


def _float32_within(bound: NDArray[Any], outside: np.ufunc, inwards: float) -> NDArray[np.float32]:
    """Return the nearest float32 of an action bound [A] that does not lie `outside` of it."""
    with np.errstate(over="ignore"):  # infinity, from where the step inwards leads to the largest number
        rounded = bound.astype(np.float32)
    stepped: NDArray[np.float32] = np.where(
        outside(rounded.astype(bound.dtype), bound), np.nextafter(rounded, np.float32(inwards)), rounded
    )
    return stepped


def _camera_spaces(space: gym.spaces.Dict, source: EnvSource) -> tuple[gym.Space[Any], ImageShape]:
    """Return the space of the state and the shape of the images."""
    images = space.get(IMAGES)
    shape = (images.shape or ()) if images is not None and images.dtype == np.uint8 else ()
    if set(space) != {STATE, IMAGES} or len(shape) != 4 or shape[3] != 3:
        raise InputError(
            f"environment {source.requested_id!r} has the observation space {shorten(str(space))}, but a dictionary "
            f"must hold {STATE!r}, a one-dimensional Box, and {IMAGES!r}, a uint8 Box of shape (cameras, height, "
            "width, 3), and nothing else: rearrange it in a wrapper that is registered under an id of its own"
        )
    return space[STATE], (shape[0], shape[1], shape[2], shape[3])


def _camera_names(env: Env, image_shape: ImageShape | None) -> tuple[str, ...]:
    """Return the names that an environment gives the cameras of its images in `cameras`, none where it does not."""
    names = getattr(env.unwrapped, "cameras", ())
    known = isinstance(names, tuple | list) and all(isinstance(name, str) for name in names)
    return tuple(names) if known and image_shape is not None and len(names) == image_shape[0] else ()


def _flat_box(space: gym.Space[Any] | None, role: str, source: EnvSource) -> gym.spaces.Box:
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise InputError(
            f"environment {source.requested_id!r} has the {role} space {shorten(str(space))}, but only "
            "one-dimensional Box spaces are supported: flatten it in a wrapper that is registered "
            "under an id of its own"
        )
    return space
