"""OGBench's tasks and their oracles' demonstrations, against OGBench itself."""

import gymnasium as gym
import numpy as np
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.envs import env_dims, make_single_env, resolve_env
from rllib_scoreflow.envs.generators import find_generator, generate_dataset
from rllib_scoreflow.envs.ogbench import TASKS
from rllib_scoreflow.envs.seeding import episode_seed
from rllib_scoreflow.errors import InputError

pytest.importorskip("ogbench", reason="ogbench is not installed")
CUBE = "cube-single-singletask-task1-v0"


@pytest.fixture(scope="module")
def env():
    made = make_single_env(resolve_env(f"ogbench/{CUBE}"))
    yield made
    made.close()


def test_the_tasks_and_limits_are_the_packages(env) -> None:
    theirs = {
        name: spec.max_episode_steps
        for name, spec in gym.registry.items()
        if "singletask" in name
        and not name.startswith(("visual", "ogbench/"))
        and "manipspace" in str(spec.entry_point)
    }
    assert dict(TASKS) == theirs
    dims = env_dims(f"ogbench/{CUBE}")
    assert (dims.observation_dim, dims.action_dim, dims.max_episode_steps) == (28, 5, 200)
    with pytest.raises(InputError, match="did you mean"):
        resolve_env("ogbench/cube-sngle-singletask-v0")


def test_an_episode_is_ogbenchs(env) -> None:
    """Up to what its two unseeded random actions at a reset leave in the solver."""
    theirs = gym.make(CUBE, disable_env_checker=True).unwrapped
    np.testing.assert_array_equal(env.reset(seed=3)[0], theirs.reset(seed=3)[0])
    assert (env.observation_space.shape, env.action_space) == (theirs.observation_space.shape, theirs.action_space)
    for action in np.random.default_rng(0).uniform(-1, 1, (15, 5)).astype(np.float32):
        mine, other = env.step(action), theirs.step(action)
        np.testing.assert_allclose(mine[0], other[0], atol=1e-3)
        assert mine[1:4] == other[1:4]
        assert mine[4]["success"] == float(other[4]["success"])


def test_a_seed_reaches_the_random_actions_of_a_reset(env) -> None:
    """They are what the motors were told last."""
    told = []
    for seed in (1, 1, 2):
        env.reset(seed=seed)
        told.append(env.unwrapped.simulator.data.ctrl.copy())
    np.testing.assert_array_equal(told[0], told[1])
    assert np.abs(told[0] - told[2]).max() > 1e-3


def test_demonstrations_replay_in_the_environment(env, tmp_path) -> None:
    file = tmp_path / "cube.parquet"
    info = generate_dataset(f"ogbench/{CUBE}", file, episodes=2)
    assert (info.env_id, info.fps, info.provenance["successes"]) == (f"ogbench/{CUBE}", 20, 2)
    dataset = load_dataset(file, cache_dir=tmp_path / "cache")
    assert info.provenance["episodes_tried"] == 2
    for episode in range(2):
        start, end = dataset.episode_offsets[episode : episode + 2]
        observation, _ = env.reset(seed=episode_seed(0, episode + 1))
        for row in range(start, end):
            np.testing.assert_array_equal(observation.astype(np.float32), dataset.observations[row])
            observation, reward, terminated, _, step_info = env.step(dataset.actions[row])
            assert (np.float32(reward), terminated) == (dataset.rewards[row], dataset.terminals[row])
        assert (terminated, step_info["success"]) == (True, 1.0)
    assert generate_dataset(f"ogbench/{CUBE}", tmp_path / "b.parquet", episodes=2).content_sha256 == info.content_sha256


def test_stacks_grow_from_below() -> None:
    """In the fifth task of two cubes one is to stand on the other."""
    generator, name, task = find_generator("ogbench/cube-double-singletask-task5-v0")
    player = generator(name, task)
    try:
        player.env.reset(seed=0)
        heights = [player._goal(cube)[0][2] for cube in range(2)]
        player.begin(player.env.reset(seed=0)[0], player.env.reset(seed=0)[1])
        assert player._target == int(np.argmin(heights))
        assert heights[0] != heights[1]
        assert player.play(0).success
    finally:
        player.close()
