"""The kitchen's noise, options, metrics and time limit."""

from pathlib import Path

import numpy as np
import pytest

from rllib_scoreflow.envs import env_dims, make_chunk_vector_env, make_single_env, resolve_env
from rllib_scoreflow.errors import InputError

ID = "kitchen-complete-v0"

pytest.importorskip("gymnasium_robotics", reason="gymnasium-robotics is not installed")


def make(env_id=ID, **config):
    return make_single_env(resolve_env(env_id), config)


@pytest.fixture(scope="module")
def noisy():
    env = make()
    yield env
    env.close()


@pytest.mark.parametrize(
    ("env_id", "tasks"),
    [
        ("kitchen-complete-v0", {"microwave", "kettle", "light switch", "slide cabinet"}),
        ("kitchen-partial-v0", {"microwave", "kettle", "light switch", "slide cabinet"}),
        ("kitchen-mixed-v0", {"microwave", "kettle", "bottom burner", "light switch"}),
    ],
)
def test_ids_have_d4rls_tasks_dimensions_and_limit(env_id, tasks):
    env = make(env_id)
    assert set(env.tasks) == tasks
    env.close()
    source = resolve_env(env_id)
    assert (source.requested_id, source.env_id, source.spec.max_episode_steps) == (env_id, env_id, 280)


def test_dimensions():
    dims = env_dims(ID)
    assert (dims.observation_dim, dims.action_dim, dims.max_episode_steps) == (60, 9, 280)
    np.testing.assert_array_equal([dims.action_low, dims.action_high], [[-1] * 9, [1] * 9])


def run(env, seed, actions):
    rows = [env.reset(seed=seed)[0]]
    rows += [env.step(action)[0] for action in actions]
    return np.stack(rows)


def test_a_seed_determines_everything(noisy):
    actions = np.random.default_rng(0).uniform(-1, 1, (8, 9))
    first, again, other = run(noisy, 5, actions), run(noisy, 5, actions), run(noisy, 6, actions)
    np.testing.assert_array_equal(first, again)
    assert (first[0, :30] != other[0, :30]).all()
    noisy.reset(seed=5)
    unseeded = [noisy.reset()[0] for _ in range(2)]
    assert (unseeded[0][:30] != unseeded[1][:30]).all()
    assert (unseeded[0][:30] != first[0, :30]).all()


def test_noise_has_d4rls_amplitudes_and_robot_and_objects_are_independent(noisy):
    """Ten percent of the amplitudes in D4RL's franka_config.xml, uniform."""
    amplitudes = np.zeros(30)
    amplitudes[:9] = 0.1  # rad
    for name, numbers in {
        0.005: [9, 10, 17, 18, 19, 23, 24, 25, 29],
        0.0005: [11, 12, 13, 14, 15, 16],
        0.1: [20, 21, 22, 26, 27, 28],
    }.items():
        amplitudes[numbers] = name
    quiet = make(robot_noise=0, object_noise=0)
    centre = quiet.reset(seed=0)[0]
    quiet.close()
    draws = np.stack([noisy.reset(seed=seed)[0] for seed in range(300)])
    np.testing.assert_array_equal(draws[:, 30:], np.tile(centre[30:], (300, 1)))
    relative = (draws - centre)[:, :30] / (0.1 * amplitudes)
    assert np.abs(relative).max() <= 1 + 1e-9
    assert (np.abs(relative).max(axis=0) > 0.95).all()
    np.testing.assert_allclose(relative.std(axis=0), 1 / np.sqrt(3), rtol=0.12)
    correlation = np.corrcoef(relative.T) - np.eye(30)
    assert np.abs(correlation).max() < 0.3


def test_the_robots_noise_feeds_the_controller(noisy):
    observation, _ = noisy.reset(seed=1)
    action = np.full(9, -0.25)
    action[0] = 0.5
    noisy.step(action)
    target = noisy.unwrapped._robot.data.ctrl[:7]
    np.testing.assert_allclose(target, (observation[:9] + action * 2 * 0.08)[:7], atol=1e-12)


def test_completion_is_tested_on_the_noisy_observation_or_on_the_true_state():
    counts = {}
    for rule in ("noisy", "true_state"):
        # With so much noise doors and switches seem to be where they are not.
        env = make(completion=rule, object_noise=30.0)
        env.reset(seed=0)
        infos = [env.step(np.zeros(9))[4] for _ in range(25)]
        counts[rule] = infos[-1]["episode_metrics"]["tasks_completed"]
        env.close()
    assert counts["noisy"] > 0
    assert counts["true_state"] == 0


def test_the_pedestal_collides_only_where_it_is_asked_to():
    for config, collides in (({}, 0), ({"pedestal_collision": True}, 1), ({"semantics": "franka"}, 1)):
        env = make(**config)
        model = env.unwrapped._robot.model
        assert (model.geom_contype[1], model.geom_conaffinity[1]) == (collides, collides)
        env.close()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"semantics": "v1"}, "semantics is 'v1': choose 'd4rl' or 'franka'"),
        ({"robot_noise": -0.1}, "robot_noise is -0.1: choose a number from 0 on"),
        ({"object_noise": "much"}, "object_noise is 'much'"),
        ({"pedestal_collision": "off"}, "pedestal_collision is 'off': choose true or false"),
        ({"completion": "true"}, "completion is 'true': choose 'noisy' or 'true_state'"),
        ({"tasks": ["microwav"]}, "tasks is .*microwav.*list some of .*'microwave'"),
        ({"tasks": []}, "tasks is"),
        ({"tasks": "kettle"}, "tasks is 'kettle'"),
        ({"tasks": ["kettle", "kettle"]}, "each once"),
        ({"robot_nose": 0}, "refuses env_config.*robot_nose"),
    ],
)
def test_options_that_do_not_fit(config, message):
    with pytest.raises(InputError, match=message):
        make(**config)


def test_chunks_end_with_the_last_sub_task_or_at_the_limit():
    """One environment repeats a recorded demonstration, the other moves at random."""
    parity = np.load(Path(__file__).parent / "fixtures" / "kitchen_parity.npz")
    demonstration, free = parity["complete_demo_0/actions"], parity["complete_free_1/actions"]
    length = len(demonstration)
    assert length % 4 == 1
    actions = np.zeros((2, 280, 9), np.float32)
    actions[0, :length], actions[1] = demonstration, free
    env = make_chunk_vector_env(
        ID, 2, act_steps=4, horizon=4, seed=0, env_config={"robot_noise": 0.0, "object_noise": 0.0}
    )
    assert (env.backend, env.max_episode_steps) == ("gymnasium", 280)
    start, _ = env.reset()
    returns, ends = np.zeros(2), []
    for number, chunk in enumerate(actions.reshape(2, 70, 36).swapaxes(0, 1)):
        observation, reward, terminated, truncated, info = env.step(chunk)
        if number * 4 < length:
            returns += reward
        metrics = info["episode_metrics"]
        assert bool(metrics) == (terminated | truncated).any()
        ends += [
            (i, number, terminated[i], truncated[i], info["env_steps"][i], info["success"][i], metrics, observation[i])
            for i in np.flatnonzero(terminated | truncated)
        ]
    env.close()
    assert returns.tolist() == [4, 0]
    assert [end[:6] for end in ends] == [
        (0, length // 4, True, False, 1, 1.0),
        (1, 69, False, True, 4, 0.0),
    ]
    np.testing.assert_array_equal(ends[0][6]["tasks_completed"], [4, np.nan])
    np.testing.assert_array_equal(ends[0][6]["completed/light_switch"], [1, np.nan])
    np.testing.assert_array_equal(ends[1][6]["tasks_completed"], [np.nan, 0])
    assert set(ends[1][6]) == {
        "tasks_completed", "completed/microwave", "completed/kettle", "completed/light_switch",
        "completed/slide_cabinet",
    }  # fmt: skip
    np.testing.assert_array_equal(ends[0][7], start[0])
