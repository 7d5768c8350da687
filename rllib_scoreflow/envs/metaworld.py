"""MetaWorld's fifty tasks of a Sawyer arm (version 3), one at a time, as in its benchmark MT1.

The goal is visible, as in MT1. Where MT1 draws fifty positions of objects and goal once and plays these, here every
episode draws its own from the same ranges, so that the seed of a reset determines it.
"""

import importlib
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.packages import require_package
from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.suggest import hint

NAMESPACE = PACKAGE = "metaworld"
MAX_EPISODE_STEPS = 500
REWARDS = ("success", "dense")
TASKS = (
    "assembly-v3", "basketball-v3", "bin-picking-v3", "box-close-v3", "button-press-topdown-v3",
    "button-press-topdown-wall-v3", "button-press-v3", "button-press-wall-v3", "coffee-button-v3", "coffee-pull-v3",
    "coffee-push-v3", "dial-turn-v3", "disassemble-v3", "door-close-v3", "door-lock-v3", "door-open-v3",
    "door-unlock-v3", "drawer-close-v3", "drawer-open-v3", "faucet-close-v3", "faucet-open-v3", "hammer-v3",
    "hand-insert-v3", "handle-press-side-v3", "handle-press-v3", "handle-pull-side-v3", "handle-pull-v3",
    "lever-pull-v3", "peg-insert-side-v3", "peg-unplug-side-v3", "pick-out-of-hole-v3", "pick-place-v3",
    "pick-place-wall-v3", "plate-slide-back-side-v3", "plate-slide-back-v3", "plate-slide-side-v3", "plate-slide-v3",
    "push-back-v3", "push-v3", "push-wall-v3", "reach-v3", "reach-wall-v3", "shelf-place-v3", "soccer-v3",
    "stick-pull-v3", "stick-push-v3", "sweep-into-v3", "sweep-v3", "window-close-v3", "window-open-v3",
)  # fmt: skip
"""Names of the tasks, which stand after "metaworld/"."""

Float64 = NDArray[np.float64]


class MetaWorldEnv(gym.Env[Float64, NDArray[np.float32]]):
    """One task of MetaWorld.

    The observation is MetaWorld's, float64 [39]: position of the hand [3] in m, opening of the gripper (0 to 1),
    positions and quaternions of at most two objects [14], zeros where the task has fewer; the same 18 numbers of the
    step before; position of the goal [3]. The action is float32 [4] from -1 to 1: steps of the hand in units of 1 cm
    and the gripper's effort, for 1/80 s. Every step's info is MetaWorld's and holds "success" (0.0 or 1.0).

    Attributes:
        task: name of the task.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 80}  # noqa: RUF012 - gymnasium's

    def __init__(
        self,
        *,
        task: str,
        reward: str = "success",
        terminate_on_success: bool = True,
        render_mode: str | None = None,
        camera_name: str = "corner2",
        width: int = 480,
        height: int = 480,
    ) -> None:
        """Builds the simulator.

        Args:
            task: one of TASKS.
            reward: "success": 1 for a step with success, else 0; "dense": MetaWorld's own, 0 to 10 a step, which an
                episode that ends at success would have less of.
            terminate_on_success: end the episode at success, as MetaWorld's evaluation does; its training does not.
            render_mode: None or "rgb_array".
            camera_name: MetaWorld's camera for frames.
            width: of a frame in pixels.
            height: of a frame in pixels.

        Raises:
            InputError: an unknown task or reward, or MetaWorld is not installed.
        """
        require_package(f"{NAMESPACE}/{task}", PACKAGE, PACKAGE)
        if task not in TASKS:
            raise InputError(f"metaworld: task is {quote(task)}; {hint(str(task), TASKS)}")
        if reward not in REWARDS:
            raise InputError(f"metaworld: reward is {quote(reward)}: choose 'success' or 'dense'")
        if not isinstance(terminate_on_success, bool):
            raise InputError(f"metaworld: terminate_on_success is {quote(terminate_on_success)}: choose true or false")
        module: Any = importlib.import_module("metaworld.env_dict")
        self.task, self.render_mode = task, render_mode
        self._dense, self._terminates = reward == "dense", terminate_on_success
        simulator: Any = module.ALL_V3_ENVIRONMENTS[task](
            render_mode=render_mode, camera_name=camera_name, width=width, height=height
        )
        # What its benchmarks set before they draw tasks, and the goal shown as MT1 shows it: the bounds of the
        # observation, to which MetaWorld clips, are computed once and hold zeros for a hidden goal.
        simulator._set_task_called, simulator._freeze_rand_vec, simulator.seeded_rand_vec = True, False, True
        simulator._partially_observable = False
        simulator.__dict__.pop("sawyer_observation_space", None)
        self._simulator, self._camera = simulator, camera_name
        self.observation_space = simulator.sawyer_observation_space
        self.action_space = simulator.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float64, dict[str, Any]]:
        """Draw positions of objects and goal; `seed` determines them until the next seed. No options."""
        super().reset(seed=seed)
        if seed is not None:
            self._simulator.seed(seed)
        observation, info = self._simulator.reset()
        return observation, dict(info)

    def step(self, action: NDArray[Any]) -> tuple[Float64, float, bool, bool, dict[str, Any]]:
        """Move for 1/80 s; see the class."""
        observation, dense, _, truncated, info = self._simulator.step(action)
        success = float(info["success"])
        reward = float(dense) if self._dense else success
        terminated = self._terminates and success > 0.0
        return observation, reward, terminated, bool(truncated) and not terminated, {**info, "success": success}

    def render(self) -> Any:
        """Return a frame uint8 [height, width, 3]; a camera that hangs upside down, as corner2 does, is turned."""
        frame = self._simulator.render()
        upwards = self._simulator.data.camera(self._camera).xmat.reshape(3, 3)[2, 1]
        return frame if frame is None or upwards >= 0.0 else np.ascontiguousarray(frame[::-1, ::-1])

    def close(self) -> None:
        """Free the renderer."""
        self._simulator.close()


def register_metaworld_tasks() -> None:
    """Register the tasks with gymnasium; metaworld is imported only when an environment is made."""
    for task in TASKS:
        gym.register(
            f"{NAMESPACE}/{task}",
            entry_point=f"{__name__}:{MetaWorldEnv.__name__}",
            kwargs={"task": task},
            max_episode_steps=MAX_EPISODE_STEPS,
        )
