"""D4RL's Franka Kitchen on the simulator of gymnasium-robotics' FrankaKitchen-v1."""

import contextlib
import importlib
import io
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.packages import require_package
from rllib_scoreflow.errors import InputError

_FOUR = ("microwave", "kettle", "light switch", "slide cabinet")
KITCHEN_TASKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "kitchen-complete-v0": _FOUR,
        "kitchen-partial-v0": _FOUR,
        "kitchen-mixed-v0": ("microwave", "kettle", "bottom burner", "light switch"),
    }
)
"""D4RL's ids and the sub-tasks of each; complete and partial differ in their datasets only."""

SEMANTICS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "d4rl": {"pedestal_collision": False, "robot_noise": 0.1, "object_noise": 0.1, "completion": "noisy"},
        "franka": {
            "pedestal_collision": True, "robot_noise": 0.01, "object_noise": 0.0005, "completion": "true_state",
        },
    }
)  # fmt: skip
"""What the four keyword arguments of the same names are where they are not given."""

_ROBOT, _POSITIONS = 9, 30
_THRESHOLD = 0.3

Float64 = NDArray[np.float64]


class KitchenEnv(gym.Env[Float64, Float64]):
    """A Franka arm in a kitchen, with D4RL's observation, sub-tasks and reward.

    FrankaKitchen-v1 has D4RL's kitchen's initial state, gains, limits and control law. Its pedestal
    collides, D4RL's does not; its noise is smaller and its object amplitudes are shifted by one; and
    D4RL tests completion on the noisy observation, v1 on the true state. With D4RL's semantics and
    the noise off, D4RL's own environment is followed to numerical precision (tested).

    The observation is float64 [60]: positions of the robot [9] in rad and m, of the objects [21], and
    the goal [30] with the objects' wanted positions at their indices, zeros elsewhere. The action is
    float [9]: joint velocities in units of 2 rad/s, for 0.08 s. As in D4RL the joints' targets start
    from the last observed positions, so that the robot's noise enters the dynamics. A sub-task is
    completed when its object is within 0.3 of the goal (Euclidean, in the units above); the reward is
    the number of sub-tasks newly completed, and the episode ends when all are.

    Every step's info holds "success" (1.0 when all sub-tasks are completed, else 0.0) and
    "episode_metrics": "tasks_completed" and "completed/TASK" for each (1.0 or 0.0).

    Attributes:
        tasks: names of the sub-tasks.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 12}  # noqa: RUF012 - gymnasium's

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        semantics: str = "d4rl",
        pedestal_collision: bool | None = None,
        robot_noise: float | None = None,
        object_noise: float | None = None,
        completion: str | None = None,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
    ) -> None:
        """Builds the simulator.

        Args:
            tasks: sub-tasks: "bottom burner", "top burner", "light switch", "slide cabinet", "hinge
                cabinet", "microwave", "kettle".
            semantics: "d4rl", or "franka" for FrankaKitchen-v1's: sets the following where they are None,
                and the amplitudes of the object noise. Only with "franka" is the kettle's
                quaternion left as it is at reset, where its norm is 1.006.
            pedestal_collision: whether the arm's pedestal collides.
            robot_noise: share of the amplitudes (0.1 rad) of uniform noise on the robot's positions.
            object_noise: the same for the objects (0.0005 to 0.1).
            completion: "noisy" tests the observation, "true_state" the simulator's state.
            render_mode: None, "human" or "rgb_array".
            width: of a frame in pixels.
            height: of a frame in pixels.

        Raises:
            InputError: an argument is out of its range, or gymnasium-robotics is not installed.
        """
        chosen = _settings(
            semantics,
            pedestal_collision=pedestal_collision,
            robot_noise=robot_noise,
            object_noise=object_noise,
            completion=completion,
        )
        module = _load_simulator()
        self.tasks = _check_tasks(tasks, module.GOALS)
        self._tests_observation = chosen.pop("completion") == "noisy"
        self._robot: Any = module.KitchenRobot(
            **chosen, as_franka=semantics == "franka", render_mode=render_mode, width=width, height=height
        )
        self.render_mode = render_mode
        self._indices = {task: module.INDICES[task] for task in self.tasks}
        self._goal = np.zeros(_POSITIONS)
        for task, indices in self._indices.items():
            self._goal[indices] = module.GOALS[task]
        self._completed: dict[str, float] = {}
        bound = np.full(2 * _POSITIONS, np.inf)
        self.observation_space = gym.spaces.Box(-bound, bound, dtype=np.float64)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (_ROBOT,), np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float64, dict[str, Any]]:
        """Put everything in its place; `seed` determines all noise until the next seed. No options."""
        super().reset(seed=seed)
        self._completed = dict.fromkeys(self.tasks, 0.0)
        return self._with_goal(self._robot.reset(seed=seed)[0]), {}

    def step(self, action: NDArray[Any]) -> tuple[Float64, float, bool, bool, dict[str, Any]]:
        """Move for 0.08 s; see the class. Never truncates: the time limit is the registered one."""
        observed = self._robot.step(action)[0]
        positions = observed if self._tests_observation else self._robot.data.qpos
        reward = 0.0
        for task, indices in self._indices.items():
            if not self._completed[task] and math.dist(positions[indices], self._goal[indices]) < _THRESHOLD:
                self._completed[task] = 1.0
                reward += 1.0
        count = sum(self._completed.values())
        done = count == len(self.tasks)
        metrics = {"tasks_completed": count} | {
            f"completed/{task.replace(' ', '_')}": value for task, value in self._completed.items()
        }
        return self._with_goal(observed), reward, done, False, {"success": float(done), "episode_metrics": metrics}

    def render(self) -> Any:
        """Return a frame uint8 [height, width, 3] from D4RL's camera, or show it."""
        return self._robot.render()

    def close(self) -> None:
        """Free the renderer."""
        self._robot.close()

    def _with_goal(self, positions: Float64) -> Float64:
        return np.concatenate([positions, self._goal])


def require_kitchen(env_id: str) -> None:
    """Refuse to go on without gymnasium-robotics.

    Raises:
        InputError: it is not installed.
    """
    require_package(env_id, "gymnasium-robotics", "kitchen")


def _load_simulator() -> Any:
    require_kitchen("Franka Kitchen")
    # On import it prints a notice about other environments.
    with contextlib.redirect_stderr(io.StringIO()):
        return importlib.import_module("rllib_scoreflow.envs.d4rl.kitchen_robot")


def _settings(semantics: str, **given: Any) -> dict[str, Any]:
    """Return the four settings of SEMANTICS, those `given` that are not None in place of the preset's."""
    if semantics not in SEMANTICS:
        raise InputError(f"kitchen: semantics is {semantics!r}: choose 'd4rl' or 'franka'")
    chosen = dict(SEMANTICS[semantics]) | {key: value for key, value in given.items() if value is not None}
    for key in ("robot_noise", "object_noise"):
        if isinstance(chosen[key], bool | str) or not 0.0 <= chosen[key] < math.inf:
            raise InputError(f"kitchen: {key} is {chosen[key]!r}: choose a number from 0 on")
    if not isinstance(chosen["pedestal_collision"], bool):
        raise InputError(f"kitchen: pedestal_collision is {chosen['pedestal_collision']!r}: choose true or false")
    if chosen["completion"] not in ("noisy", "true_state"):
        raise InputError(f"kitchen: completion is {chosen['completion']!r}: choose 'noisy' or 'true_state'")
    return chosen


def _check_tasks(tasks: Any, known: Mapping[str, Any]) -> tuple[str, ...]:
    unknown = [task for task in tasks if not isinstance(task, str) or task not in known]
    if isinstance(tasks, str) or not tasks or unknown or len(set(tasks)) < len(tasks):
        raise InputError(f"kitchen: tasks is {tasks!r}: list some of {', '.join(map(repr, known))}, each once")
    return tuple(tasks)


for _env_id, _tasks in KITCHEN_TASKS.items():
    gym.register(_env_id, f"{__name__}:{KitchenEnv.__name__}", max_episode_steps=280, kwargs={"tasks": _tasks})
