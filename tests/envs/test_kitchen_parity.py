"""The kitchen against D4RL's own environment, and against recordings on FrankaKitchen-v1."""

import os
from pathlib import Path

import numpy as np
import pytest

from rllib_scoreflow.envs import make_single_env, resolve_env

pytest.importorskip("gymnasium_robotics", reason="gymnasium-robotics is not installed")

FIXTURES = Path(__file__).parent / "fixtures"
PARITY = dict(np.load(FIXTURES / "kitchen_parity.npz"))


def make(kind, **config):
    return make_single_env(resolve_env(f"kitchen-{kind}-v0"), config)


@pytest.mark.parametrize("name", sorted({key.split("/")[0] for key in PARITY}))
def test_without_noise_it_is_d4rls_own_kitchen(name):
    actions, observations, rewards, terminals = (
        PARITY[f"{name}/{column}"] for column in ("actions", "observations", "rewards", "terminals")
    )
    env = make(name.split("_")[0], robot_noise=0, object_noise=0)
    observation, _ = env.reset(seed=0)
    np.testing.assert_allclose(observation, observations[0], rtol=0, atol=1e-12)
    steps = [env.step(action) for action in actions]
    env.close()
    error = np.abs(np.stack([step[0] for step in steps]) - observations[1:]).max(axis=1)
    assert error[:20].max() < 1e-8
    assert error.max() < 1e-1
    np.testing.assert_array_equal([step[1] for step in steps], rewards)
    np.testing.assert_array_equal([step[2] for step in steps], terminals)
    assert not any(step[3] for step in steps)
    assert steps[-1][4]["episode_metrics"]["tasks_completed"] == rewards.sum()
    assert steps[-1][4]["success"] == float(terminals[-1])


def test_the_parity_recordings_cover_completion_and_termination():
    completed = {name: PARITY[name].sum() for name in PARITY if name.endswith("/rewards")}
    assert completed["complete_demo_0/rewards"] == 4
    assert PARITY["complete_demo_0/terminals"][-1]
    assert completed["mixed_demo_0/rewards"] == 3


def replay(kind, seed, actions):
    """Observation before and reward and termination after every action, as FrankaKitchen-v1 gives them."""
    env = make(kind, semantics="franka")
    observation, _ = env.reset(seed=int(seed))
    rows = []
    for action in actions:
        following, reward, terminated, _, _ = env.step(action)
        rows.append((observation, reward, terminated))
        observation = following
    env.close()
    return [np.asarray(column) for column in zip(*rows, strict=True)]


def check_replay(kind, seed, columns):
    observations, rewards, terminals = replay(kind, seed, columns["actions"])
    np.testing.assert_array_equal(rewards, columns["rewards"])
    np.testing.assert_array_equal(terminals, columns["terminals"])
    # The noise included; the files hold float32.
    np.testing.assert_allclose(observations, columns["observations"], rtol=1e-6, atol=1e-6)


COLUMNS = ("actions", "observations", "rewards", "terminals")


@pytest.mark.parametrize("kind", ["complete", "mixed"])
def test_recorded_episodes_replay_from_their_seeds_under_franka_semantics(kind):
    part = np.load(FIXTURES / f"kitchen-{kind}-scripted.npz")
    cuts = np.cumsum(part["lengths"])[:-1]
    split = [np.split(part[name], cuts) for name in COLUMNS]
    for seed, *columns in zip(part["seeds"], *split, strict=True):
        check_replay(kind, seed, dict(zip(COLUMNS, columns, strict=True)))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("SCOREFLOW_SHARED_DATA" not in os.environ, reason="SCOREFLOW_SHARED_DATA names no folder")
@pytest.mark.parametrize("kind", ["complete", "mixed"])
def test_all_recorded_episodes_replay(kind):
    import h5py

    with h5py.File(Path(os.environ["SCOREFLOW_SHARED_DATA"]) / f"kitchen-{kind}-scripted.hdf5") as file:
        starts, lengths, seeds = (file[f"infos/episode_{name}"][:] for name in ("start", "length", "seed"))
        columns = {name: file[name][:] for name in COLUMNS}
    assert len(seeds) == {"complete": 60, "mixed": 120}[kind]
    for start, length, seed in zip(starts, lengths, seeds, strict=True):
        check_replay(kind, seed, {name: column[start : start + length] for name, column in columns.items()})
