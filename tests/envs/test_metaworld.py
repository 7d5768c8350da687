"""MetaWorld's tasks and their experts' demonstrations, against MetaWorld itself."""

import pickle

import numpy as np
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.envs import env_dims, make_single_env, resolve_env
from rllib_scoreflow.envs.generators import find_generator, generate_dataset
from rllib_scoreflow.envs.metaworld import TASKS
from rllib_scoreflow.envs.seeding import episode_seed
from rllib_scoreflow.errors import InputError

pytest.importorskip("metaworld", reason="metaworld is not installed")
# Two objects of another kind, one object, and a goal that the observation has to show.
COMPARED = ("peg-insert-side-v3", "door-open-v3", "reach-v3")


def make(name, **config):
    return make_single_env(resolve_env(f"metaworld/{name}"), config)


def test_the_tasks_are_the_packages() -> None:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP

    assert set(TASKS) == set(ALL_V3_ENVIRONMENTS) == set(ENV_POLICY_MAP)


@pytest.mark.parametrize("task", COMPARED)
def test_an_episode_is_that_of_mt1(task) -> None:
    """The benchmark's own way: a Task that holds the drawn positions, with the goal observable."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.types import Task

    ours = make(task, reward="dense", terminate_on_success=False)
    first, _ = ours.reset(seed=4)
    positions = ours.unwrapped._simulator._last_rand_vec
    made = ALL_V3_ENVIRONMENTS[task]
    theirs = made()
    content = {"env_cls": made, "rand_vec": positions, "partially_observable": False}
    theirs.set_task(Task(env_name=task, data=pickle.dumps(content)))
    np.testing.assert_array_equal(theirs.reset()[0], first)
    assert np.abs(first[-3:]).max() > 0.01, "the goal is hidden"
    assert ours.observation_space == theirs.sawyer_observation_space
    for action in np.random.default_rng(0).uniform(-1, 1, (40, 4)).astype(np.float32):
        mine, other = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(mine[0], other[0])
        assert mine[1:4] == other[1:4]
        assert mine[4]["success"] == float(other[4]["success"])


def test_a_seed_determines_everything_whatever_was_played_before() -> None:
    one, two = make("pick-place-v3"), make("pick-place-v3")
    one.reset(seed=1)
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 4)).astype(np.float32)
    for action in actions:
        one.step(action)
    assert np.abs(one.reset(seed=2)[0] - two.reset(seed=1)[0]).max() > 1e-3
    np.testing.assert_array_equal(one.reset(seed=1)[0], two.reset(seed=1)[0])
    for action in actions:
        np.testing.assert_array_equal(one.step(action)[0], two.step(action)[0])
    np.testing.assert_array_equal(one.reset()[0], two.reset()[0])


def test_dims_limit_and_bad_arguments() -> None:
    dims = env_dims("metaworld/door-open-v3")
    assert (dims.observation_dim, dims.action_dim, dims.max_episode_steps) == (39, 4, 500)
    np.testing.assert_array_equal([dims.action_low, dims.action_high], [[-1] * 4, [1] * 4])
    for key, value in (("reward", "denze"), ("terminate_on_success", 1), ("task", "door-opn-v3"), ("no_such_key", 1)):
        with pytest.raises(InputError, match=key):
            make("door-open-v3", **{key: value})
    with pytest.raises(InputError, match="did you mean metaworld/door-open-v3"):
        resolve_env("metaworld/door-opn-v3")


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    file = tmp_path_factory.mktemp("generated") / "door.parquet"
    generate_dataset("metaworld/door-open-v3", file, episodes=4)
    return load_dataset(file, cache_dir=file.parent / "cache")  # its constant dimensions are known of the layout


def test_demonstrations_replay_in_the_environment(generated) -> None:
    """From the same starts the recorded actions lead through the recorded observations, to success."""
    info = generated.info
    assert (info.env_id, info.fps, info.mean_return) == ("metaworld/door-open-v3", 80, 1.0)
    assert info.provenance["successes"] == 4 <= info.provenance["episodes_tried"]
    env = make_single_env(resolve_env(info.env_id), info.env_config)
    seeds = [episode_seed(0, number) for number in range(1, info.provenance["episodes_tried"] + 1)]
    firsts = {tuple(env.reset(seed=seed)[0].astype(np.float32)): seed for seed in seeds}
    offsets = generated.episode_offsets
    for episode in range(4):
        start, end = offsets[episode : episode + 2]
        observation, _ = env.reset(seed=firsts[tuple(generated.observations[start])])
        for row in range(start, end):
            np.testing.assert_array_equal(observation.astype(np.float32), generated.observations[row])
            observation, reward, terminated, truncated, step_info = env.step(generated.actions[row])
            assert (reward, terminated) == (generated.rewards[row], generated.terminals[row])
            assert not truncated
        assert step_info["success"] == 1.0
        np.testing.assert_array_equal(observation.astype(np.float32), generated.final_observations[episode])


def test_a_demonstration_depends_on_its_seed_alone() -> None:
    generator, name, task = find_generator("metaworld/drawer-open-v3")
    player = generator(name, task)
    first = player.play(7)
    player.play(8)
    again = player.play(7)
    assert first.success
    assert first.terminated
    np.testing.assert_array_equal(first.observations, again.observations)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert np.abs(first.actions).max() == 1.0
