"""The Adroit hand's tasks: D4RL's and Minari's ids, and the layout of observations, against the simulator's state."""

from pathlib import Path

import gymnasium as gym
import h5py
import numpy as np
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.envs import env_dims, is_standard, make_single_env, resolve_env
from rllib_scoreflow.errors import InputError

pytest.importorskip("gymnasium_robotics", reason="gymnasium-robotics is not installed")
DIMS = {"door": (39, 28), "hammer": (46, 26), "pen": (45, 24), "relocate": (39, 30)}


def d4rl_layout(task: str, data, model) -> np.ndarray:
    """D4RL's observation from positions, velocities and names of the model, as D4RL's paper's code orders it."""
    palm = data.site("S_grasp").xpos
    if task == "door":
        handle, hinge = data.site("S_handle").xpos, data.joint("door_hinge").qpos
        opened = [1.0 if hinge > 1.0 else -1.0]
        return np.concatenate([data.qpos[1:-2], data.qpos[-1:], hinge, palm, handle, palm - handle, opened])
    thing = data.body("Object").xpos
    if task == "relocate":
        goal = data.site("target").xpos
        return np.concatenate([data.qpos[:-6], palm - thing, palm - goal, thing - goal])
    if task == "pen":
        goal = data.site("eps_ball").xpos
        ends = [data.site(name).xpos for name in ("object_top", "object_bottom", "target_top", "target_bottom")]
        length = np.linalg.norm(ends[0] - ends[1]), np.linalg.norm(ends[2] - ends[3])
        is_turned, wanted = (ends[0] - ends[1]) / length[0], (ends[2] - ends[3]) / length[1]
        return np.concatenate(
            [data.qpos[:-6], thing, data.qvel[-6:], is_turned, wanted, thing - goal, is_turned - wanted]
        )
    turn = data.body("Object").xmat.reshape(3, 3)  # by angles about x, then y, then z of the turning axes
    angles = [
        np.arctan2(-turn[1, 2], turn[2, 2]),
        np.arctan2(turn[0, 2], np.hypot(turn[0, 0], turn[0, 1])),
        np.arctan2(-turn[0, 1], turn[0, 0]),
    ]
    nail = np.clip(data.sensor("S_nail").data, -1, 1)
    goal = data.site("S_target").xpos
    return np.concatenate([data.qpos[:-6], np.clip(data.qvel[-6:], -1, 1), palm, thing, angles, goal, nail])


@pytest.mark.parametrize("task", DIMS)
def test_the_observation_has_d4rls_layout(task) -> None:
    source = resolve_env(f"{task}-human-v1")
    assert source.env_id == f"AdroitHand{task.capitalize()}-v1"
    env = make_single_env(source)
    dims = env_dims(source.requested_id)
    assert (dims.observation_dim, dims.action_dim) == DIMS[task]
    observation, _ = env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (5, dims.action_dim))
    for action in actions:
        inner = env.unwrapped
        np.testing.assert_allclose(observation, d4rl_layout(task, inner.data, inner.model), atol=1e-6)
        observation, _, _, _, info = env.step(action)
        assert float(info["success"]) in (0.0, 1.0)
    assert not is_standard(source, None, dims.max_episode_steps)  # the rewards are not all D4RL's


def write_d4rl(path: Path, env: gym.Env, rows: int) -> np.ndarray:
    """Random actions in D4RL's layout; returns the observations."""
    observation, _ = env.reset(seed=0)
    seen, actions = [], []
    rng = np.random.default_rng(0)
    for _ in range(rows):
        seen.append(observation)
        actions.append(rng.uniform(-1, 1, env.action_space.shape))
        observation = env.step(actions[-1])[0]
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = np.array(seen), np.array(actions)
        file["rewards"], file["terminals"] = np.zeros(rows), np.zeros(rows, np.bool_)
        file["timeouts"] = np.arange(rows) == rows - 1
    return np.array(seen, np.float32)


def test_a_file_of_d4rls_name_is_of_its_environment(tmp_path) -> None:
    env = make_single_env(resolve_env("door-human-v1"))
    seen = write_d4rl(tmp_path / "door-human-v1.hdf5", env, 6)
    dataset = load_dataset(tmp_path / "door-human-v1.hdf5", cache_dir=tmp_path / "cache", constant_observations="allow")
    assert dataset.info.env_id == "AdroitHandDoor-v1"
    np.testing.assert_array_equal(dataset.observations, seen)


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
def test_a_minari_dataset_of_the_hand_names_its_environment(tmp_path, monkeypatch) -> None:
    minari = pytest.importorskip("minari", reason="minari is not installed")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    resolve_env("AdroitHandPen-v1")
    from minari.data_collector import EpisodeBuffer

    env = gym.make("AdroitHandPen-v1")
    rng = np.random.default_rng(0)
    episodes, seen = [], []
    for seed in range(2):
        observations, actions = [env.reset(seed=seed)[0]], rng.uniform(-1, 1, (5, 24)).astype(np.float32)
        observations += [env.step(action)[0] for action in actions]
        seen += observations[:-1]
        ends = [False] * 4 + [True]
        episodes.append(
            EpisodeBuffer(
                observations=np.array(observations),
                actions=actions,
                rewards=[0.0] * 5,
                terminations=[False] * 5,
                truncations=ends,
            )
        )
    words = dict.fromkeys(("algorithm_name", "author", "author_email", "code_permalink"), "none@example.org")
    minari.create_dataset_from_buffers("D4RL/pen/human-v2", episodes, env=env, **words)
    dataset = load_dataset("minari:D4RL/pen/human-v2", cache_dir=tmp_path / "cache", constant_observations="allow")
    assert resolve_env(dataset.info.env_id).env_id == "AdroitHandPen-v1"
    np.testing.assert_array_equal(dataset.observations, np.array(seen, np.float32))
    again = make_single_env(resolve_env(dataset.info.env_id), dataset.info.env_config)
    np.testing.assert_array_equal(again.reset(seed=0)[0].astype(np.float32), dataset.observations[0])


def test_a_wrong_name_and_a_missing_package(monkeypatch) -> None:
    with pytest.raises(InputError, match="AdroitHandDoor-v1"):
        resolve_env("AdroitHandDor-v1")
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    monkeypatch.setattr(gym, "registry", {})
    with pytest.raises(InputError, match=r"rllib-scoreflow\[kitchen\]"):
        resolve_env("door-human-v1")
