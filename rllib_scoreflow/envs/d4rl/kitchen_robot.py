"""The kitchen's simulator; needs gymnasium-robotics and is imported where a kitchen is made."""

from typing import Any

import mujoco
import numpy as np
from gymnasium_robotics.envs.franka_kitchen.franka_env import FrankaRobot
from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_GOALS, OBS_ELEMENT_INDICES
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

GOALS: dict[str, Float64] = OBS_ELEMENT_GOALS
"""Wanted positions of every sub-task's object."""
INDICES: dict[str, NDArray[np.int64]] = OBS_ELEMENT_INDICES
"""Where in the 30 positions they are."""

_MODEL_PATH = "../assets/kitchen_franka/kitchen_assets/kitchen_env_model.xml"
# The pedestal on which the arm stands. It has no name.
_PEDESTAL_GEOM = 1
# 9 positions of the robot, 21 of the objects with the kettle's quaternion at the end.
_ROBOT, _POSITIONS, _QUATERNION = 9, 30, slice(26, 30)
# Random numbers of a FrankaKitchen-v1 observation: positions and velocities of robot (9, 9) and objects (21, 20).
_DRAWS, _OBJECT_DRAWS = 59, slice(18, 39)
# The initial state of D4RL and FrankaKitchen-v1 alike.
_INITIAL_POSITIONS = np.array(
    [
        1.48388023e-01, -1.76848573e+00, 1.84390296e+00, -2.47685760e+00, 2.60252026e-01, 7.12533105e-01,
        1.59515394e+00, 4.79267505e-02, 3.71350919e-02, -2.66279850e-04, -5.18043486e-05, 3.12877220e-05,
        -4.51199853e-05, -3.90842156e-06, -4.22629655e-05, 6.28065475e-05, 4.04984708e-05, 4.62730939e-04,
        -2.26906415e-04, -4.65501369e-04, -6.44129196e-03, -1.77048263e-03, 1.08009684e-03, -2.69397440e-01,
        3.50383255e-01, 1.61944683e+00, 1.00618764e+00, 4.06395120e-03, -6.62095997e-03, -2.68278933e-04,
    ]
)  # fmt: skip

# One model is 64 MB and 0.2 s, and nothing of it changes in a simulation.
_models: dict[tuple[bool, int, int], Any] = {}


class KitchenRobot(FrankaRobot):  # type: ignore[misc]  # its package has no types
    """FrankaKitchen-v1's robot and objects; all of one process share one compiled model.

    Control, limits, gains and time step are FrankaRobot's. Its observation is replaced by the 30 noisy
    positions of robot and objects, float64 [30].
    """

    def __init__(
        self,
        *,
        pedestal_collision: bool,
        robot_noise: float,
        object_noise: float,
        as_franka: bool,
        render_mode: str | None,
        width: int,
        height: int,
    ) -> None:
        """Builds it.

        Args:
            pedestal_collision: whether the arm's pedestal collides.
            robot_noise: share of the amplitudes of uniform noise on the robot's positions.
            object_noise: the same for the objects.
            as_franka: take the objects' amplitudes shifted by one, as FrankaKitchen-v1 does, and leave the
                kettle's quaternion as it is at reset, where its norm is 1.006.
            render_mode: None, "human" or "rgb_array".
            width: of a frame in pixels.
            height: of a frame in pixels.
        """
        self._pedestal_collision = pedestal_collision
        super().__init__(
            model_path=_MODEL_PATH, robot_noise_ratio=robot_noise, render_mode=render_mode, width=width, height=height
        )
        self.init_qpos = _INITIAL_POSITIONS
        self.init_qvel = np.zeros(self.model.nv)
        # It reads as many amplitudes as there are velocities, 29; the 30th is that of qpos29.
        amplitudes = np.append(self.robot_pos_noise_amp, 0.005)
        objects = amplitudes[_ROBOT - 1 : -1] if as_franka else amplitudes[_ROBOT:]
        self._normalise = not as_franka
        self._noise = np.concatenate([robot_noise * amplitudes[:_ROBOT], object_noise * objects])

    def _initialize_simulation(self) -> tuple[Any, Any]:
        key = (self._pedestal_collision, self.width, self.height)
        if key not in _models:
            model, _ = super()._initialize_simulation()
            if not self._pedestal_collision:
                model.geom_contype[_PEDESTAL_GEOM] = model.geom_conaffinity[_PEDESTAL_GEOM] = 0
            # Without a GPU shadows take nine tenths of a frame's time (1.4 s), and they hide what happens.
            model.light_castshadow[:] = 0
            _models[key] = model
        return _models[key], mujoco.MjData(_models[key])

    def _get_obs(self) -> Float64:
        positions: Float64 = self.data.qpos.copy()
        if self._normalise:
            positions[_QUATERNION] /= np.linalg.norm(positions[_QUATERNION])
        # As many as FrankaKitchen-v1 draws, the velocities' included, so that its recordings replay from their seeds.
        draws = self.np_random.uniform(-1.0, 1.0, _DRAWS)
        positions[:_ROBOT] += self._noise[:_ROBOT] * draws[:_ROBOT]
        positions[_ROBOT:] += self._noise[_ROBOT:] * draws[_OBJECT_DRAWS]
        # From here the controller starts.
        self._last_robot_qpos = positions[:_ROBOT].copy()
        return positions
