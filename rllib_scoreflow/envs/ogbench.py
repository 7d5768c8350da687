"""OGBench's manipulation tasks of a UR5e arm, in the form that it has for one task with a reward (`singletask`)."""

import importlib
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.packages import require_package
from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.suggest import hint

NAMESPACE = PACKAGE = "ogbench"
# Scene, and its time limit in steps of 1/20 s.
_SCENES = {
    "cube-single": 200,
    "cube-double": 500,
    "cube-triple": 1000,
    "cube-quadruple": 1000,
    "cube-octuple": 1500,
    "scene": 750,
    "puzzle-3x3": 500,
    "puzzle-4x4": 500,
    "puzzle-4x5": 1000,
    "puzzle-4x6": 1000,
}
_GOALS = ("", *(f"-task{number}" for number in range(1, 6)))
TASKS: Mapping[str, int] = MappingProxyType(
    {f"{scene}-singletask{goal}-v0": limit for scene, limit in _SCENES.items() for goal in _GOALS}
)
"""Names of the tasks, which stand after "ogbench/", and their time limits; without a number it is OGBench's choice."""

Float64 = NDArray[np.float64]


class OGBenchEnv(gym.Env[Float64, NDArray[np.float32]]):
    """One task of OGBench: objects start near one place and are to be brought to one goal, which is not observed.

    Observation (float64 [O]), action (float32 [5] from -1 to 1: steps of the gripper in units of 5 cm, of its yaw in
    units of 0.3 rad, and of its opening, for 1/20 s), reward (minus the number of objects that are not in their
    places), end (the step after all are) and info are OGBench's.

    OGBench plays two random actions at every reset, to see the goal, and draws them from a generator that no seed
    reaches; here the seed of a reset determines them too.

    Attributes:
        task: name of the task.
        simulator: OGBench's environment.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - gymnasium's

    def __init__(self, *, task: str, render_mode: str | None = None, width: int = 480, height: int = 480) -> None:
        """Builds the simulator.

        Args:
            task: one of TASKS.
            render_mode: None or "rgb_array".
            width: of a frame in pixels.
            height: of a frame in pixels.

        Raises:
            InputError: an unknown task, or OGBench is not installed.
        """
        require_package(f"{NAMESPACE}/{task}", PACKAGE, PACKAGE)
        if task not in TASKS:
            raise InputError(f"ogbench: task is {quote(task)}; {hint(str(task), TASKS)}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no display
            importlib.import_module("ogbench.manipspace")  # registers the tasks
            spec = gym.spec(task)
            made: Any = gym.envs.registration.load_env_creator(str(spec.entry_point))
        self.task, self.render_mode = task, render_mode
        self.simulator: Any = _seedable(made)(**spec.kwargs, width=width, height=height)
        self.action_space = self.simulator.action_space
        self.observation_space = self.simulator.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float64, dict[str, Any]]:
        """Place arm and objects; `seed` determines this and all later draws until the next seed. No options."""
        super().reset(seed=seed)
        if seed is not None:
            self.simulator.action_space.seed(seed)
        observation, info = self.simulator.reset(seed=seed)
        return observation, info

    def step(self, action: NDArray[Any]) -> tuple[Float64, float, bool, bool, dict[str, Any]]:
        """Move for 1/20 s; see the class."""
        observation, reward, terminated, truncated, info = self.simulator.step(action)
        return (
            observation,
            float(reward),
            bool(terminated),
            bool(truncated),
            {**info, "success": float(info["success"])},
        )

    def render(self) -> Any:
        """Return a frame uint8 [height, width, 3]."""
        return self.simulator.render()

    def close(self) -> None:
        """Free the renderer."""
        self.simulator.close()


def _seedable(made: Any) -> Any:
    """Return a class of OGBench's whose action space is the same object every time, so that it can be seeded."""

    class Seedable(made):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            self._space: gym.Space[Any] = gym.spaces.Box(-1.0, 1.0, (5,), np.float32)
            super().__init__(**kwargs)

        @property
        def action_space(self) -> gym.Space[Any]:
            return self._space

    return Seedable


def register_ogbench_tasks() -> None:
    """Register the tasks with gymnasium; ogbench is imported only when an environment is made."""
    for task, limit in TASKS.items():
        gym.register(
            f"{NAMESPACE}/{task}",
            entry_point=f"{__name__}:{OGBenchEnv.__name__}",
            kwargs={"task": task},
            max_episode_steps=limit,
        )
