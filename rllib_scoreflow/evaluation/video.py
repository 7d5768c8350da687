"""A video of one episode."""

import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs import EnvDims, make_single_env, resolve_env, sub_env_seeds
from rllib_scoreflow.envs.single_env import Env, dims_of
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation.evaluate import Act
from rllib_scoreflow.observations import IMAGES, STATE, Observation

Frame = NDArray[np.uint8]

_REMEDY = (
    "install the package it names, or on a machine without a display apt-get install -y libegl1 "
    "libgl1-mesa-dri and set MUJOCO_GL=egl"
)


@dataclass(frozen=True)
class Recording:
    """A recorded episode.

    Attributes:
        path: the file.
        episode_return: undiscounted return.
        length: primitive steps.
        frames: frames in the file: the initial state and one per primitive step.
        fps: frames per second.
    """

    path: Path
    episode_return: float
    length: int
    frames: int
    fps: float


def record_video(
    act: Act,
    env_id: str,
    path: str | Path,
    *,
    seed: int,
    act_steps: int,
    horizon: int,
    env_config: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    fps: float | None = None,
    overwrite: bool = False,
) -> Recording:
    """Record one episode, every primitive step a frame, as an .mp4 file.

    The episode begins in the state in which the first sub environment of an evaluation with the
    same seed on the gymnasium backend begins.

    Args:
        act: observations [1, ...] -> [1, horizon * A], raw units.
        env_id: D4RL dataset id, gymnasium id or "module:EnvId".
        path: an .mp4 file.
        seed: of the initial state.
        act_steps: primitive steps executed per chunk.
        horizon: actions per chunk.
        env_config: keyword arguments of the environment, its camera and image size among them.
        max_episode_steps: time limit instead of the registered one.
        fps: frames per second instead of real time.
        overwrite: replace an existing file.

    Raises:
        InputError: the file exists or is not .mp4, the folder is missing, the environment has no
            time limit, or it cannot be rendered here.
    """
    target = _check_target(Path(path), overwrite)
    if not 1 <= act_steps <= horizon:
        raise InputError(f"act_steps is {act_steps}: choose 1 to horizon, which is {horizon}")
    imageio = _load_imageio()
    env, dims, first_frame, observation = _open(env_id, env_config, seed)
    # ffmpeg chooses the container by the ending; the hidden sibling makes the file appear whole.
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial.mp4")
    try:
        limit = max_episode_steps or dims.max_episode_steps
        if limit is None:
            raise InputError(f"environment {env_id!r} has no time limit: give max_episode_steps")
        rate = float(fps or env.metadata.get("render_fps") or 30)
        # As its own context manager the writer would keep ffmpeg running after an exception.
        with closing(imageio.get_writer(partial, fps=rate, macro_block_size=2)) as writer:
            writer.append_data(first_frame)
            episode = _Episode(env, writer, limit)
            while not episode.ended:
                chunk = np.asarray(act(_batch_of_one(observation, dims)), np.float32)
                chunk = chunk.reshape(horizon, dims.action_dim)
                observation = episode.run(chunk[:act_steps])
        os.replace(partial, target)
    finally:
        env.close()  # type: ignore[no-untyped-call]  # gymnasium leaves it without types
        partial.unlink(missing_ok=True)
    return Recording(target, episode.total, episode.length, episode.length + 1, rate)


class _Episode:
    """A running episode whose every step goes to the writer."""

    def __init__(self, env: Env, writer: Any, limit: int) -> None:
        self._env, self._writer, self._limit = env, writer, limit
        self.total, self.length, self.ended = 0.0, 0, False

    def run(self, actions: NDArray[np.float32]) -> Any:
        """Execute `actions` [act_steps, A] until the episode ends; last observation."""
        for action in actions:
            observation, reward, terminated, truncated, _ = self._env.step(action)
            self.total += float(reward)
            self.length += 1
            self._writer.append_data(_as_frame(self._env.render()))
            if terminated or truncated or self.length >= self._limit:
                self.ended = True
                break
        return observation


def _batch_of_one(observation: Any, dims: EnvDims) -> Observation:
    """Return the observation with a first axis of length 1, its state padded."""
    state = observation if dims.image_shape is None else observation[STATE]
    padded = np.zeros((1, dims.observation_dim), np.float32)
    padded[0, : len(state)] = state
    return padded if dims.image_shape is None else {STATE: padded, IMAGES: observation[IMAGES][None]}


def _check_target(target: Path, overwrite: bool) -> Path:
    if target.suffix != ".mp4":
        raise InputError(f"video {str(target)!r}: choose a name that ends in .mp4")
    if not target.parent.is_dir():
        raise InputError(f"video {str(target)!r}: folder {str(target.parent)!r} does not exist")
    if target.exists() and not overwrite:
        raise InputError(f"video {str(target)!r} exists: choose another name or allow overwriting")
    return target


def _load_imageio() -> Any:
    try:
        importlib.import_module("imageio_ffmpeg")
        return importlib.import_module("imageio.v2")
    except ImportError as error:
        raise InputError(
            f"videos need imageio and imageio-ffmpeg ({error}): pip install imageio imageio-ffmpeg"
        ) from None


def _open(env_id: str, env_config: Mapping[str, Any] | None, seed: int) -> tuple[Env, EnvDims, Frame, Any]:
    """Return the reset environment, its dimensions, its first frame [H, W, 3] and observation.

    Raises:
        InputError: among others, it cannot be rendered on this machine.
    """
    source = resolve_env(env_id)
    chosen = _choose_headless_rendering()
    try:
        env = make_single_env(source, env_config, render_mode="rgb_array")
        dims = dims_of(env, source)
        observation, _ = env.reset(seed=sub_env_seeds(seed, 1)[0])
        return env, dims, _as_frame(env.render()), observation
    except InputError:
        raise
    # OpenGL, EGL, GLFW and pygame each raise exceptions of their own, mujoco when it is imported.
    except Exception as error:
        if chosen:
            del os.environ["MUJOCO_GL"]
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"environment {env_id!r} cannot be rendered here ({reason}): {_REMEDY}") from error


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
