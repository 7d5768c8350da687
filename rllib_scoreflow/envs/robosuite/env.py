"""Robomimic's tasks as gymnasium environments."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.robosuite.sim import RobosuiteSim
from rllib_scoreflow.envs.robosuite.tasks import TASKS, RobomimicTask
from rllib_scoreflow.envs.spaces import observation_space
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.interface import image_shape
from rllib_scoreflow.observations import IMAGES, STATE, Observation

Named = dict[str, NDArray[np.float64]]
StepResult = tuple[Observation, float, bool, bool, dict[str, Any]]


@dataclass(frozen=True)
class _Description:
    """What an environment with certain `env_args` observes, takes and sees."""

    widths: Mapping[str, int]
    action_low: NDArray[np.float32]
    action_high: NDArray[np.float32]
    control_freq: float
    cameras: tuple[str, ...]


@functools.lru_cache(maxsize=16)
def _describe(env_args: str) -> _Description:
    """Make the environment of `env_args` (JSON) once and look at it."""
    sim = RobosuiteSim(json.loads(env_args), seed=0)
    try:
        low, high = sim.action_bounds
        return _Description(
            {name: len(value) for name, value in sim.reset().items() if value.ndim == 1},
            low.astype(np.float32),
            high.astype(np.float32),
            sim.control_freq,
            sim.cameras,
        )
    finally:
        sim.close()


class RobosuiteEnv(gym.Env[Observation, NDArray[Any]]):
    """A Robomimic task on robosuite 1.4.

    The reward is 1 in every step after which the task is done, else 0; `info["success"]` says whether it was done at
    any time in the episode. There is no time limit inside.

    A seed determines the model (Lift's cube and Transport's hammer are drawn) and all following resets, so a seeded
    reset loads a new model; the global random generators are neither read nor changed. An environment is made
    at its first reset.

    Attributes:
        images_wanted: where it is False, images are rendered only after resets and steps that end an episode; other
            steps return the last ones.

    Args:
        task: "lift", "can", "square" or "transport".
        env_args: `data.attrs["env_args"]` of a Robomimic file; by default the published ones.
        observation_keys: low-dimensional observations that are concatenated, in this order; by default all published
            ones. "object" is robosuite's "object-state".
        cameras: names of the cameras whose images are observed; none: the observation is an array.
        image_size: height and width of the observed images.
        reflections: render them too, see robosuite_camera.Camera: for policies that learned from images that
            Robomimic's own scripts rendered.
        terminate_on_success: end the episode as soon as the task is done, as in the published evaluations.
        render_mode: "rgb_array" for videos, from `render_camera`.
        render_camera: name of the camera of the videos; by default one that sees all of the task.
        render_size: height and width of the videos; by default what that camera needs.

    Raises:
        InputError: robosuite is missing, or an argument does not fit.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - as gymnasium's

    def __init__(
        self,
        task: str,
        *,
        env_args: Mapping[str, Any] | None = None,
        observation_keys: Sequence[str] | None = None,
        cameras: Sequence[str] = (),
        image_size: Sequence[int] = (84, 84),
        reflections: bool = False,
        terminate_on_success: bool = True,
        render_mode: str | None = None,
        render_camera: str | None = None,
        render_size: Sequence[int] | None = None,
    ) -> None:
        known = TASKS[task]
        self._env_args = known.env_args() if env_args is None else _check_env_args(known, env_args)
        self._keys = tuple(known.observation_keys if observation_keys is None else observation_keys)
        self.cameras = tuple(cameras)
        self._image_size = _check_size(known, "image_size", image_size)
        self._render_camera = render_camera or known.video_camera
        self._render_size = _check_size(known, "render_size", render_size or known.video_size)
        self._reflections = reflections
        self._terminate_on_success = terminate_on_success
        self.render_mode = render_mode
        self.images_wanted = True
        self._sim: RobosuiteSim | None = None
        self._images: NDArray[np.uint8] | None = None
        self._succeeded = False

        described = _describe(json.dumps(self._env_args, sort_keys=True))
        _check_names(known, "observation_keys", self._keys, described.widths)
        _check_names(known, "cameras", (*self.cameras, self._render_camera), described.cameras)
        self.metadata = {**self.metadata, "render_fps": described.control_freq}
        self.action_space = gym.spaces.Box(described.action_low, described.action_high, dtype=np.float32)
        width = sum(described.widths[key] for key in self._keys)
        shape = image_shape(self.cameras, self._image_size if self.cameras else None)
        self.observation_space: gym.Space[Any] = observation_space(width, shape)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; a seed loads a new model, see the class."""
        super().reset(seed=seed)
        if seed is not None or self._sim is None:
            self._new_sim()
        assert self._sim is not None
        return self._begin(self._sim.reset())

    def reset_to_state(
        self, state: NDArray[np.float64], model_xml: str | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in a recorded state.

        Args:
            state: [S], a row of `states` of a demonstration.
            model_xml: its `model_file`; None keeps the present model. Recorded actions replay only after it was given.

        Raises:
            InputError: the state or the model does not fit.
        """
        if self._sim is None:
            self._new_sim()
        assert self._sim is not None
        return self._begin(self._sim.reset_to_state(state, model_xml))

    def _new_sim(self) -> None:
        if self._sim is not None:
            self._sim.close()
        seed = int(self.np_random.integers(2**32))
        self._sim = RobosuiteSim(self._env_args, seed, reflections=self._reflections)

    def _begin(self, named: Named) -> tuple[Observation, dict[str, Any]]:
        assert self._sim is not None
        self._succeeded = self._sim.success
        return self._observe(named, render=True), {"success": self._succeeded}

    def step(self, action: NDArray[Any]) -> StepResult:
        """Execute one action [A]; see the class for reward and end."""
        if self._sim is None:
            raise RuntimeError("step() before reset()")
        named = self._sim.step(action)
        success = self._sim.success
        self._succeeded = self._succeeded or success
        terminated = success and self._terminate_on_success
        observation = self._observe(named, render=self.images_wanted or terminated)
        return observation, float(success), terminated, False, {"success": self._succeeded}

    def _observe(self, named: Named, *, render: bool) -> Observation:
        state = np.concatenate([named[key] for key in self._keys]).astype(np.float32)
        if not self.cameras:
            return state
        if render or self._images is None:
            assert self._sim is not None
            self._images = np.stack([self._sim.render(camera, *self._image_size) for camera in self.cameras])
        return {STATE: state, IMAGES: self._images}

    def render(self) -> NDArray[np.uint8]:  # type: ignore[override]  # gymnasium allows any frame
        """Return a frame of the video camera, uint8 [H, W, 3], upright."""
        if self._sim is None:
            raise RuntimeError("render() before reset()")
        return self._sim.render(self._render_camera, *self._render_size)

    def close(self) -> None:
        """Free the simulation."""
        if self._sim is not None:
            self._sim.close()
            self._sim = None


def _check_env_args(task: RobomimicTask, env_args: Mapping[str, Any]) -> dict[str, Any]:
    if env_args.get("env_name", task.env_name) != task.env_name:
        raise InputError(
            f"environment {task.env_id!r} is robosuite's {task.env_name!r}, but env_args is of "
            f"{env_args['env_name']!r}: give the data of this task or choose the environment of the data"
        )
    return dict(env_args)


def _check_size(task: RobomimicTask, name: str, size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 1:
        raise InputError(f"environment {task.env_id!r}: {name} is {size}: give height and width in pixels")
    return int(size[0]), int(size[1])


def _check_names(
    task: RobomimicTask, option: str, names: Sequence[str], known: Sequence[str] | Mapping[str, int]
) -> None:
    unknown = [name for name in names if name not in known]
    if not names:
        raise InputError(f"environment {task.env_id!r}: {option} is empty: choose from {', '.join(sorted(known))}")
    if unknown:
        raise InputError(
            f"environment {task.env_id!r}: {option} names {unknown}, which it does not have: choose from "
            f"{', '.join(sorted(known))}"
        )
