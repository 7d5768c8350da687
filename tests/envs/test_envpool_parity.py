"""EnvPool and gymnasium give the same chunks from the same state."""

import numpy as np
import pytest

pytest.importorskip("envpool", reason="envpool is not installed")

from rllib_scoreflow.envs import make_chunk_vector_env

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date.*")

# Coordinates of the root that the observation leaves out; the dynamics do not depend on them.
HIDDEN = {"Hopper": 1, "Walker2d": 1, "HalfCheetah": 1, "Ant": 2, "Humanoid": 2}


def copy_state(env_id, pool, gym_env, observations):
    """Put gymnasium's simulators into EnvPool's initial states, read off its observations.

    Those are the pool's own, in float64: rounding them would start the two apart.
    """
    hidden = HIDDEN[env_id.split("-")[0]]
    for i, env in enumerate(gym_env.envs):
        model = env.unwrapped.model
        qpos = np.zeros(model.nq)
        qpos[hidden:] = observations[i, : model.nq - hidden]
        qvel = observations[i, model.nq - hidden : model.nq - hidden + model.nv]
        env.unwrapped.set_state(qpos, qvel)


def start_both(env_id, n, act_steps, horizon, limit):
    """Both backends in the same initial states."""
    make = {"act_steps": act_steps, "horizon": horizon, "max_episode_steps": limit, "seed": 3}
    pool = make_chunk_vector_env(env_id, n, backend="envpool", **make)
    plain = make_chunk_vector_env(env_id, n, backend="gymnasium", **make)
    plain.reset()
    pool.reset()
    raw, _ = pool._pool.reset()
    copy_state(env_id, pool, plain, raw)
    return pool, plain


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize("robot", ["Hopper", "Walker2d", "HalfCheetah", "Ant", "Humanoid"])
def test_same_chunks_until_every_episode_has_ended(robot, version):
    env_id, n, act_steps = f"{robot}-{version}", 6, 4
    limit = 30  # ends a chunk after its second step
    pool, plain = start_both(env_id, n, act_steps, 5, limit)
    low, high = plain.single_action_space.low, plain.single_action_space.high
    rng = np.random.default_rng(1)
    active = np.ones(n, bool)
    inside = 0
    for _ in range(-(-limit // act_steps)):
        actions = rng.uniform(low, high, (n, len(low))).astype(np.float32)
        results = [env.step(actions, active=active) for env in (pool, plain)]
        (_, *rest, info), (_, *expected, expected_info) = results
        np.testing.assert_allclose(rest[0], expected[0], rtol=1e-5, atol=1e-5)
        for got, want in zip(rest[1:], expected[1:], strict=True):
            np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(info["env_steps"], expected_info["env_steps"])
        np.testing.assert_allclose(info["final_obs"][active], expected_info["final_obs"][active], rtol=1e-4, atol=1e-4)
        ended = expected[1] | expected[2]
        inside += int((expected_info["env_steps"][ended] < act_steps).sum())
        active &= ~ended
    assert inside > 0
    assert not active.any()


def test_hopper_lands_and_falls_as_with_the_datasets_mujoco():
    """The contacts differ between the MuJoCo inside EnvPool and ours; this is where it shows."""
    pool, plain = start_both("Hopper-v4", 20, 1, 1, 1000)
    actions = np.zeros((20, 3), np.float32)
    terminated = np.zeros(20, bool)
    for step in range(400):
        active = ~terminated
        _, _, terminated_now, _, info = pool.step(actions, active=active)
        _, _, expected, _, expected_info = plain.step(actions, active=active)
        np.testing.assert_array_equal(terminated_now, expected, err_msg=f"step {step}")
        error = np.abs(info["final_obs"] - expected_info["final_obs"])[active].max()
        assert error < 1e-3
        terminated |= expected
        if terminated.all():
            break
    assert terminated.all()


def test_a_termination_on_the_very_last_step_is_not_hidden_by_the_time_limit():
    _, plain = start_both("Hopper-v4", 8, 1, 1, 1000)
    ones, lengths, active = np.ones((8, 3), np.float32), np.zeros(8, int), np.ones(8, bool)
    while active.any():
        _, _, terminated, _, info = plain.step(ones, active=active)
        lengths += info["env_steps"]
        active &= ~terminated
    limit = int(lengths.min())
    assert limit < lengths.max()
    pool, _ = start_both("Hopper-v4", 8, 1, 1, limit)
    for _ in range(limit):
        _, _, terminated, truncated, _ = pool.step(ones)
    np.testing.assert_array_equal(terminated, lengths == limit)
    assert truncated.all()


@pytest.mark.parametrize("backend", ["auto", "gymnasium"])
def test_after_a_reset_inside_a_chunk_the_next_one_runs_whole(backend):
    env = make_chunk_vector_env("Hopper-v4", 5, act_steps=3, horizon=3, backend=backend, seed=0)
    assert env.backend == {"auto": "envpool"}.get(backend, backend)
    rng = np.random.default_rng(0)
    env.reset()
    elapsed, ended_before, seen = np.zeros(5, int), np.zeros(5, bool), 0
    for _ in range(40):
        observation, _, terminated, _, info = env.step(rng.uniform(-1, 1, (5, 9)))
        assert (info["env_steps"][ended_before] == 3).all()
        seen += int(ended_before.sum())
        # Reset states are upright and almost at rest, final ones have fallen.
        assert (np.abs(observation[terminated, 0] - 1.25) < 0.01).all()
        assert (np.abs(info["final_obs"][terminated, 1]) > 0.1).all()
        unfinished = ~terminated
        np.testing.assert_array_equal(observation[unfinished], info["final_obs"][unfinished])
        ended_before = terminated
        elapsed += info["env_steps"]
    assert seen > 5


def test_auto_takes_gymnasium_for_options_that_envpool_does_not_know():
    options = {"env_config": {"healthy_z_range": (0.5, 3.0)}}
    env = make_chunk_vector_env("Hopper-v4", 1, act_steps=1, horizon=1, **options)
    assert env.backend == "gymnasium"
    options = {"env_config": {"healthy_reward": 5.0, "num_threads": 2}}
    pool = make_chunk_vector_env("Hopper-v4", 1, act_steps=1, horizon=1, **options)
    plain = make_chunk_vector_env("Hopper-v4", 1, act_steps=1, horizon=1, backend="gymnasium", **options)
    assert pool.backend == "envpool"
    for env in (pool, plain):
        env.reset(seed=0)
        assert 4.5 < env.step(np.zeros((1, 3), np.float32))[1][0] < 5.5
