"""One episode, played step by step where it can be looked at."""

import math
import os
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs import EnvSettings, make_single_env, require_time_limit, resolve_env, sub_env_seeds
from rllib_scoreflow.envs.contract import CheckedEnv, Env, close_env
from rllib_scoreflow.envs.single_env import dims_of
from rllib_scoreflow.errors import InputError, SimulatorError
from rllib_scoreflow.evaluation.evaluate import Act
from rllib_scoreflow.interface import check_act_steps
from rllib_scoreflow.observations import IMAGES, STATE, Observation

Frame = NDArray[np.uint8]

_REMEDY = (
    "install the package it names, or on a machine without a display apt-get install -y libegl1 "
    "libgl1-mesa-dri and set MUJOCO_GL=egl"
)


class Episode:
    """An episode that can be looked at after every primitive step; a context manager.

    It begins in the state in which the first sub environment of an evaluation with the same seed on the
    gymnasium backend begins.

    Attributes:
        env_id: the id that was asked for.
        fps: primitive steps per second of real time, 30 where the environment does not say.
        total: undiscounted return so far.
        length: primitive steps so far.
        ended: whether it is over.
        success: at its end 1.0 or 0.0, None where the environment does not say.

    Args:
        env_id: D4RL dataset id, gymnasium id or "module:EnvId".
        seed: of the initial state.
        env_config: keyword arguments of the environment, its camera and image size among them, and the keys of
            EnvSettings.
        max_episode_steps: time limit instead of that of `env_config` or the registered one.

    Raises:
        InputError: the environment has no time limit, it cannot be made or rendered here, or it breaks gymnasium's
            contract.
    """

    def __init__(
        self,
        env_id: str,
        *,
        seed: int,
        env_config: Mapping[str, Any] | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        self.env_id = env_id
        self.total, self.length, self.ended = 0.0, 0, False
        self.success: float | None = None
        source, settings = resolve_env(env_id), EnvSettings.of(env_config)
        limit = max_episode_steps or settings.max_episode_steps or source.spec.max_episode_steps
        self._limit = require_time_limit(env_id, limit)
        chosen = _choose_headless_rendering()
        env: Env | None = None
        try:
            env = make_single_env(source, env_config, render_mode="rgb_array")
            self._dims = dims_of(env, source)
            self._checked = CheckedEnv(env, env_id, settings.success)
            self._observation = self._checked.reset(seed=sub_env_seeds(seed, 1)[0])
            _as_frame(env.render())
        # OpenGL, EGL, GLFW and pygame each raise exceptions of their own, mujoco when it is imported.
        except Exception as error:
            if env is not None:
                close_env(env, env_id)
            if isinstance(error, InputError | SimulatorError):
                raise
            if chosen:
                del os.environ["MUJOCO_GL"]
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"environment {env_id!r} cannot be rendered here ({reason}): {_REMEDY}") from error
        self._env = env
        self.fps = float(env.metadata.get("render_fps") or 30)

    def play(self, act: Act, *, act_steps: int, horizon: int) -> Iterator[int]:
        """Yield the number of primitive steps done: 0, and after each of them until the episode ends.

        Args:
            act: observations [1, ...] -> [1, horizon * A], raw units.
            act_steps: primitive steps executed per chunk.
            horizon: actions per chunk.

        Raises:
            InputError: act_steps is not between 1 and horizon, or the environment breaks gymnasium's contract.
            SimulatorError: the environment raises an exception.
        """
        check_act_steps(act_steps, horizon)
        yield 0
        while not self.ended:
            chunk = np.asarray(act(self._batch_of_one()), np.float32).reshape(horizon, self._dims.action_dim)
            for action in self._dims.fit_actions(chunk[:act_steps]):
                self._step(action)
                yield self.length
                if self.ended:
                    break

    def _step(self, action: NDArray[Any]) -> None:
        self._observation, reward, terminated, truncated = self._checked.step(action)
        self.total += reward
        self.length += 1
        self.ended = terminated or truncated or self.length >= self._limit
        success = self._checked.success()
        if self.ended and not math.isnan(success):
            self.success = success

    def frame(self) -> Frame:
        """Return a picture of the present state, uint8 [H, W, 3]."""
        return _as_frame(self._env.render())

    def views(self) -> NDArray[np.uint8] | None:
        """Return the present images of the policy's cameras, uint8 [V, H, W, 3], None without cameras."""
        return None if self._dims.image_shape is None else np.array(self._observation[IMAGES])

    def _batch_of_one(self) -> Observation:
        """Return the observation with a first axis of length 1, its state float32."""
        observation = self._observation
        if self._dims.image_shape is None:
            return np.asarray(observation, np.float32)[None]
        return {STATE: np.asarray(observation[STATE], np.float32)[None], IMAGES: observation[IMAGES][None]}

    def __enter__(self) -> "Episode":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._checked.close()


def _choose_headless_rendering() -> bool:
    """Let MuJoCo render through EGL where there is no display; return whether that was set now."""
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform != "linux" or any(map(os.environ.get, (*displays, "MUJOCO_GL"))):
        return False
    # gymnasium reads it when the first image is rendered, mujoco when it is first imported.
    os.environ["MUJOCO_GL"] = "egl"
    return True


def _as_frame(image: Any) -> Frame:
    frame = np.asarray(image)
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"rendered an image of shape {frame.shape} instead of [H, W, 3]")
    return frame.astype(np.uint8, copy=False)
