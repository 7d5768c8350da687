"""The Robomimic tasks: their published environments, observations and time limits, and their ids.

Robomimic's files hold in `data.attrs["env_args"]` what the environment was made with; what stands here is the same for
the published robosuite 1.4.1 sets, so that an environment can be made without a file.
"""

import copy
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

NAMESPACE = "robomimic"

_ARM_KEYS = ("eef_pos", "eef_quat", "gripper_qpos")

_OSC_POSE = {
    "type": "OSC_POSE",
    "input_max": 1,
    "input_min": -1,
    "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
    "kp": 150,
    "damping": 1,
    "impedance_mode": "fixed",
    "kp_limits": [0, 300],
    "damping_limits": [0, 10],
    "position_limits": None,
    "orientation_limits": None,
    "uncouple_pos_ori": True,
    "control_delta": True,
    "interpolation": None,
    "ramp_ratio": 0.2,
}


@dataclass(frozen=True)
class RobomimicTask:
    """A task as it is published.

    Attributes:
        name: what stands after "robomimic/".
        env_name: robosuite's name.
        arms: number of Panda arms.
        max_episode_steps: time limit of the published evaluations, in primitive steps.
        extra_env_kwargs: names and values of the environment's keyword arguments that only this task has.
        video_camera: a camera that sees all of the task.
        video_size: height and width of its images in pixels.
    """

    name: str
    env_name: str
    max_episode_steps: int
    arms: int = 1
    extra_env_kwargs: tuple[tuple[str, Any], ...] = ()
    video_camera: str = "agentview"
    video_size: tuple[int, int] = (512, 512)

    @property
    def env_id(self) -> str:
        """The id under which the environment is registered."""
        return f"{NAMESPACE}/{self.name}"

    @property
    def observation_keys(self) -> tuple[str, ...]:
        """Names of the low-dimensional observations in the published order."""
        arms = tuple(f"robot{arm}_{key}" for arm in range(self.arms) for key in _ARM_KEYS)
        return (*arms, "object")

    def env_args(self) -> dict[str, Any]:
        """Return a new dictionary of the layout of a Robomimic file's `env_args`."""
        env_kwargs = {
            "has_renderer": False,
            "has_offscreen_renderer": False,
            "ignore_done": True,
            "use_object_obs": True,
            "use_camera_obs": False,
            "control_freq": 20,
            "controller_configs": copy.deepcopy(_OSC_POSE),
            "robots": ["Panda"] * self.arms,
            "camera_depths": False,
            "camera_heights": 84,
            "camera_widths": 84,
            "reward_shaping": False,
            **dict(self.extra_env_kwargs),
        }
        return {"env_name": self.env_name, "env_version": "1.4.1", "type": 1, "env_kwargs": env_kwargs}


TASKS = {
    task.name: task
    for task in (
        RobomimicTask("lift", "Lift", 300),
        RobomimicTask("can", "PickPlaceCan", 300),
        RobomimicTask("square", "NutAssemblySquare", 400),
        RobomimicTask(
            "transport",
            "TwoArmTransport",
            800,
            arms=2,
            extra_env_kwargs=(("env_configuration", "single-arm-opposed"),),
            # The arms stand opposite each other, and agentview cuts off both.
            video_camera="frontview",
            video_size=(480, 768),
        ),
    )
}


def task_of(env_name: str) -> RobomimicTask | None:
    """Return the task that robosuite calls `env_name`, None if it is none of ours."""
    return next((task for task in TASKS.values() if task.env_name == env_name), None)


def register_robomimic_tasks() -> None:
    """Register the tasks with gymnasium; robosuite is imported only when an environment is made."""
    for task in TASKS.values():
        gym.register(
            task.env_id,
            entry_point="rllib_scoreflow.envs.robosuite.env:RobosuiteEnv",
            kwargs={"task": task.name},
            max_episode_steps=task.max_episode_steps,
        )
