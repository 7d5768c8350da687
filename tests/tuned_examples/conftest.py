"""Tiny datasets of random actions, in the format that an example's environment is published in."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import ray
import torch

from rllib_scoreflow.envs import make_chunk_vector_env
from rllib_scoreflow.observations import IMAGES, STATE

EPISODES, STEPS = 2, 12


def record(env_id: str, cameras: tuple[str, ...], path: Path) -> Path:
    """Play random actions and write them to `path` in D4RL's or Robomimic's layout."""
    env_config = {"cameras": list(cameras), "image_size": [32, 32]} if cameras else {}
    env = make_chunk_vector_env(env_id, 1, act_steps=1, horizon=1, env_config=env_config, backend="gymnasium", seed=0)
    rng = np.random.default_rng(0)
    episodes = []
    try:
        for _ in range(EPISODES):
            observation, _ = env.reset(seed=int(rng.integers(1000)))
            seen, actions = [], []
            for _ in range(STEPS):
                seen.append(observation)
                actions.append(rng.uniform(env.dims.action_low, env.dims.action_high).astype(np.float32))
                observation, _, _, _, _ = env.step(actions[-1][None])
            episodes.append((seen, np.array(actions)))
    finally:
        env.close()
    write = _write_robomimic if env_id.startswith("robomimic/") else _write_flat
    with h5py.File(path, "w") as file:
        write(file, env_id, cameras, episodes)
    return path


def _write_flat(file: h5py.File, env_id: str, cameras: tuple[str, ...], episodes: list[Any]) -> None:
    file["observations"] = np.concatenate([np.concatenate(seen) for seen, _ in episodes])
    file["actions"] = np.concatenate([actions for _, actions in episodes])
    rows = EPISODES * STEPS
    file["rewards"] = np.zeros(rows, np.float32)
    file["terminals"] = np.zeros(rows, np.bool_)
    file["timeouts"] = np.arange(rows) % STEPS == STEPS - 1


def _write_robomimic(file: h5py.File, env_id: str, cameras: tuple[str, ...], episodes: list[Any]) -> None:
    from rllib_scoreflow.envs.robosuite.tasks import TASKS

    task = TASKS[env_id.removeprefix("robomimic/")]
    data = file.create_group("data")
    data.attrs["env_args"] = json.dumps(task.env_args())
    for number, (seen, actions) in enumerate(episodes):
        demo = data.create_group(f"demo_{number}")
        demo.attrs["num_samples"] = STEPS
        demo["actions"], demo["rewards"] = actions, np.zeros(STEPS)
        demo["dones"] = np.arange(STEPS) == STEPS - 1
        states = np.concatenate([o[STATE] if cameras else o for o in seen])
        first = 0
        for key in task.observation_keys:
            width = {"eef_pos": 3, "eef_quat": 4, "gripper_qpos": 2}.get(key.split("_", 1)[-1], states.shape[1] - first)
            demo[f"obs/{key}"] = states[:, first : first + width]
            first += width
        for v, camera in enumerate(cameras):
            demo[f"obs/{camera}_image"] = np.concatenate([o[IMAGES][:, v] for o in seen])


@pytest.fixture(scope="module", autouse=True)
def ray_instance():
    torch.set_num_threads(1)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def dataset_of(tmp_path_factory):
    """Toy dataset of an environment, recorded once."""
    found: dict[tuple, Path] = {}

    def dataset(env: str, cameras: tuple[str, ...]) -> Path:
        if (env, cameras) not in found:
            folder = tmp_path_factory.mktemp("recorded")
            found[env, cameras] = record(env, cameras, folder / f"{env.replace('/', '-')}.hdf5")
        return found[env, cameras]

    return dataset
