"""The chunked environment against a plain loop over gymnasium's own environments."""

import gymnasium as gym
import numpy as np
import pytest

from rllib_scoreflow.envs import ChunkVectorEnv, env_dims, make_chunk_vector_env, sub_env_seeds

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date.*")


def plain_loop(env_id, chunks, act_steps, seed, limit):
    """What one sub environment must report for `chunks` [T, horizon, A], step by step."""
    env = gym.make(env_id, max_episode_steps=limit)
    observation, _ = env.reset(seed=seed)
    rows = [(observation, 0.0, False, False, 0, observation)]
    for chunk in chunks:
        total, count = 0.0, 0
        for action in chunk[:act_steps]:
            final, reward, terminated, truncated, _ = env.step(action)
            total, count = total + reward, count + 1
            if terminated or truncated:
                break
        observation = env.reset()[0] if terminated or truncated else final
        rows.append((observation, total, terminated, truncated, count, final))
    env.close()
    return [np.asarray(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    ("env_id", "act_steps", "horizon", "limit"),
    [
        ("Hopper-v4", 4, 4, 1000),
        ("Hopper-v4", 4, 6, 10),  # the limit falls in the middle of the third chunk
        ("Walker2d-v4", 3, 3, 7),
        ("Pendulum-v1", 4, 5, 10),  # never terminates
        ("Pendulum-v1", 1, 1, 5),
        ("toy_envs:ToyCountdown-v0", 4, 4, 30),
        ("toy_envs:ToyCountdown-v0", 5, 8, 6),
    ],
)
def test_gymnasium_backend_equals_a_plain_loop(env_id, act_steps, horizon, limit):
    n, chunks_per_env = 5, 40
    env = make_chunk_vector_env(
        env_id, n, act_steps=act_steps, horizon=horizon, backend="gymnasium",
        max_episode_steps=limit, seed=11,
    )  # fmt: skip
    actions = np.random.default_rng(0).uniform(
        env.single_action_space.low, env.single_action_space.high,
        (chunks_per_env, n, env.single_action_space.shape[0]),
    ).astype(np.float32)  # fmt: skip
    observation, _ = env.reset()
    steps = [(observation, np.zeros(n), np.zeros(n, bool), np.zeros(n, bool), np.zeros(n), None)]
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation.dtype == np.float32
        steps.append((observation, reward, terminated, truncated, info["env_steps"], info["final_obs"]))
    env.close()
    ended_inside = 0
    for i, seed in enumerate(sub_env_seeds(11, n)):
        chunks = actions[:, i].reshape(chunks_per_env, horizon, -1)
        expected = plain_loop(env_id, chunks, act_steps, seed, limit)
        for column, values in enumerate(expected):
            first = 1 if column == 5 else 0
            got = np.stack([step[column][i] for step in steps[first:]])
            np.testing.assert_allclose(got, values[first:], rtol=1e-6, atol=1e-6)
        ended_inside += int((expected[4][1:] < act_steps).sum())
    assert ended_inside > 0 or act_steps == 1


def test_pendulum_is_truncated_and_never_terminated():
    env = make_chunk_vector_env("Pendulum-v1", 2, act_steps=4, horizon=4, max_episode_steps=10)
    env.reset(seed=0)
    results = [env.step(np.zeros((2, 4), np.float32)) for _ in range(6)]
    assert [r[3].tolist() for r in results] == [[False] * 2, [False] * 2, [True] * 2] * 2
    assert not any(r[2].any() for r in results)
    assert [r[4]["env_steps"][0] for r in results] == [4, 4, 2] * 2


def test_termination_on_the_last_allowed_step_reports_both():
    env = make_chunk_vector_env("toy_envs:ToyCountdown-v0", 30, act_steps=2, horizon=2, max_episode_steps=5)
    observation, _ = env.reset(seed=1)
    limits = observation[:, 1]
    for _ in range(2):
        env.step(np.zeros((30, 2), np.float32), active=limits >= 5)
    _, _, terminated, truncated, info = env.step(np.zeros((30, 2), np.float32), active=limits >= 5)
    assert (limits == 5).any()
    assert (limits > 5).any()
    np.testing.assert_array_equal(terminated, limits == 5)
    np.testing.assert_array_equal(truncated, limits >= 5)
    np.testing.assert_array_equal(info["env_steps"], limits >= 5)


def test_the_environments_own_truncation_is_passed_on():
    env = make_chunk_vector_env(
        "toy_envs:ToyEndless-v0", 20, act_steps=12, horizon=12, env_config={"ends_by": "truncated"}
    )
    assert env.max_episode_steps is None
    observation, _ = env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(np.zeros((20, 12), np.float32))
    limits = observation[:, 1]
    assert truncated.all()
    assert not terminated.any()
    np.testing.assert_array_equal(info["env_steps"], limits)
    np.testing.assert_allclose(reward, limits * (limits + 1) / 2)


def test_success_is_reported_at_the_end_of_episodes_only():
    env = make_chunk_vector_env("toy_envs:ToyCountdown-v0", 20, act_steps=3, horizon=3)
    observation, _ = env.reset(seed=0)
    limits = observation[:, 1]
    *_, terminated, _, info = env.step(np.zeros((20, 3), np.float32))
    np.testing.assert_array_equal(np.isnan(info["success"]), ~terminated)
    np.testing.assert_array_equal(info["success"][terminated], limits[terminated] % 2 == 0)
    hopper = make_chunk_vector_env("Hopper-v4", 2, act_steps=40, horizon=40, seed=0)
    hopper.reset()
    *_, terminated, _, info = hopper.step(np.ones((2, 120), np.float32))
    assert terminated.all()
    assert np.isnan(info["success"]).all()


def test_metrics_are_reported_at_the_end_of_episodes_only():
    env = make_chunk_vector_env("toy_envs:ToyCountdown-v0", 20, act_steps=3, horizon=3)
    observation, _ = env.reset(seed=0)
    *_, terminated, _, info = env.step(np.zeros((20, 3), np.float32))
    assert 0 < terminated.sum() < 20
    np.testing.assert_array_equal(
        info["episode_metrics"]["limit"], np.where(terminated, observation[:, 1], np.nan).astype(np.float32)
    )
    hopper = make_chunk_vector_env("Hopper-v4", 2, act_steps=1, horizon=1, seed=0)
    hopper.reset()
    assert hopper.step(np.zeros((2, 3), np.float32))[4]["episode_metrics"] == {}


def test_inactive_sub_environments_stand_still():
    env = make_chunk_vector_env("Hopper-v4", 3, act_steps=2, horizon=2, seed=0)
    before, _ = env.reset()
    active = np.array([True, False, True])
    after, reward, _, _, info = env.step(np.ones((3, 6), np.float32), active=active)
    np.testing.assert_array_equal(info["env_steps"], [2, 0, 2])
    assert reward[1] == 0
    np.testing.assert_array_equal(after[1], before[1])
    assert (after[0] != before[0]).any()


def test_arrays_that_a_caller_keeps_or_alters_are_its_own():
    env = make_chunk_vector_env("Hopper-v4", 2, act_steps=1, horizon=1, seed=0)
    first, _ = env.reset()
    kept = first.copy()
    second = env.step(np.ones((2, 3), np.float32))[0]
    np.testing.assert_array_equal(first, kept)
    second[:] = 0
    third = env.step(np.ones((2, 3), np.float32), active=np.array([False, True]))[0]
    assert (third[0] != 0).any()


@pytest.mark.parametrize("backend", ["gymnasium", "envpool"])
def test_seeds(backend):
    if backend == "envpool":
        pytest.importorskip("envpool", reason="envpool is not installed")

    def start(seed=None, reset_seed=None, n=3):
        env = make_chunk_vector_env("Hopper-v4", n, act_steps=9, horizon=9, backend=backend, seed=seed)
        first, _ = env.reset(seed=reset_seed)
        second, _ = env.reset()
        again, _ = env.reset(seed=5)
        env.close()
        return first, second, again

    first, second, again = start(seed=5)
    for value, same in zip(start(seed=5), (first, second, again), strict=True):
        np.testing.assert_array_equal(value, same)
    np.testing.assert_array_equal(start(reset_seed=5)[0], first)
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(start(seed=5, n=2)[0], first[:2])
    everything = np.concatenate([first, second, start(seed=6)[0], start()[0], start()[0]])
    assert len(np.unique(everything, axis=0)) == len(everything)


def test_spaces_and_dims():
    env = make_chunk_vector_env("toy_envs:ToyCountdown-v0", 2, act_steps=2, horizon=3)
    assert isinstance(env, ChunkVectorEnv)
    np.testing.assert_array_equal(env.single_action_space.low, [-1, -1, -1])
    np.testing.assert_array_equal(env.single_action_space.high, [2, 2, 2])
    assert env.single_action_space.dtype == env.single_observation_space.dtype == np.float32
    assert env.observation_space.shape == (2, 2)
    assert env.action_space.shape == (2, 3)
    dims = env_dims("hopper-medium-v2")
    assert (dims.name, dims.observation_dim, dims.action_dim) == ("hopper-medium-v2", 11, 3)
    assert dims.max_episode_steps == 1000
    np.testing.assert_array_equal([dims.action_low, dims.action_high], [[-1] * 3, [1] * 3])


@pytest.mark.parametrize("backend", ["auto", "gymnasium"])
def test_ant_under_d4rls_id_has_d4rls_observation(backend):
    env = make_chunk_vector_env("ant-medium-v2", 2, act_steps=2, horizon=2, backend=backend, seed=0)
    observation, _ = env.reset()
    final = env.step(np.ones((2, 16), np.float32))[4]["final_obs"]
    assert observation.shape == final.shape == (2, 111)
    assert not observation[:, 27:].any()
    assert final[:, :27].all()
    assert not final[:, 27:].any()
