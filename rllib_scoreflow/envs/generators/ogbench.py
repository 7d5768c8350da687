"""OGBench's oracles, told the goal of a task in place of the random one that they have in OGBench's own recordings."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.generators.base import GENERATORS, Generator
from rllib_scoreflow.envs.ogbench import NAMESPACE, PACKAGE, TASKS

_RELEASED = 0.1
"""Contact of the gripper's pad, in units of 50 N, below which the oracle itself takes the gripper for open."""
_COVERED = 0.02
"""Distance in the plane, in m, within which OGBench takes one cube for stacked on another."""


@GENERATORS.register(NAMESPACE)
class OGBenchGenerator(Generator):
    """Plays the tasks that only move cubes with `CubeMarkovOracle`, which brings one cube after the other to its goal.

    The next cube is one that is not in its place, nor under another one; of several that with the lowest goal, so that
    stacks grow from below. Where cubes stand in each other's goals the oracle often fails.
    """

    package = PACKAGE
    tasks = tuple(task for task in TASKS if task.startswith("cube-"))

    def __init__(self, name: str, task: str) -> None:
        super().__init__(name, task)
        oracles: Any = importlib.import_module("ogbench.manipspace.oracles.markov.cube_markov")
        self._lie: Any = importlib.import_module("ogbench.manipspace.lie")
        self._simulator: Any = self.env.unwrapped.simulator
        self._oracle: Any = oracles.CubeMarkovOracle(env=self._simulator)
        self._target = 0

    def begin(self, observation: NDArray[Any], info: Mapping[str, Any]) -> None:
        """Choose the first cube."""
        self._target = self._next_target()
        self._oracle.reset(observation, self._with_target(info))

    def act(self, observation: NDArray[Any], info: Mapping[str, Any]) -> NDArray[Any]:
        """Return the oracle's action [5] for the current cube, or for the next once that one is placed and released."""
        placed = self._simulator._compute_successes()[self._target]
        if self._oracle.done or (placed and info["proprio/gripper_contact"][0] < _RELEASED):
            self._target = self._next_target()
            self._oracle.reset(observation, self._with_target(info))
        action: NDArray[Any] = self._oracle.select_action(observation, self._with_target(info))
        return action

    def _next_target(self) -> int:
        placed = self._simulator._compute_successes()
        cubes = np.array([self._simulator.data.joint(f"object_joint_{i}").qpos[:3] for i in range(len(placed))])
        waiting = [i for i, done in enumerate(placed) if not done]
        free = [i for i in waiting if not _is_covered(i, cubes)]
        return min(free or waiting or [self._target], key=lambda i: (round(float(self._goal(i)[0][2]), 3), i))

    def _goal(self, cube: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Position [3] and quaternion [4] of the place of a cube."""
        body = self._simulator._cube_target_mocap_ids[cube]
        return self._simulator.data.mocap_pos[body].copy(), self._simulator.data.mocap_quat[body].copy()

    def _with_target(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """What OGBench's environment tells the oracle in its mode for recordings."""
        position, quaternion = self._goal(self._target)
        return {
            **info,
            "privileged/target_block": self._target,
            "privileged/target_block_pos": position,
            "privileged/target_block_yaw": np.array([self._lie.SO3(wxyz=quaternion).compute_yaw_radians()]),
        }


def _is_covered(cube: int, cubes: NDArray[Any]) -> bool:
    above = cubes[:, 2] > cubes[cube, 2] + _COVERED
    near = np.linalg.norm(cubes[:, :2] - cubes[cube, :2], axis=1) < _COVERED
    return bool((above & near).any())
