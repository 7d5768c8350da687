"""What the analysis says of datasets whose modes, constants and noise are known by construction."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_scoreflow.data.analysis import LOOKAHEAD, analyse_dataset
from rllib_scoreflow.data.schema import RawColumns, describe, episode_offsets
from rllib_scoreflow.data.store import TrajectoryDataset

EPISODES, LENGTH = 50, 30


def opened(observations, actions, *, rewards=None, length=LENGTH, terminals=None):
    """The dataset of equally long episodes, as it is when it is opened."""
    steps = len(actions)
    ends = np.arange(steps) % length == length - 1
    terminals = np.zeros(steps, bool) if terminals is None else terminals
    columns = RawColumns(
        observations=observations.astype(np.float32),
        actions=actions.astype(np.float32),
        rewards=np.zeros(steps, np.float32) if rewards is None else rewards.astype(np.float32),
        terminals=terminals,
        timeouts=ends & ~terminals,
    )
    info = describe(columns, name="made", source="made", source_sha256="0" * 64, env_id=None)
    offsets = episode_offsets(columns.terminals, columns.timeouts)
    return TrajectoryDataset(
        info, Path("made"), columns.observations, columns.actions, columns.rewards, terminals, ends, offsets, None
    )


def walks(rng):
    """Paths from one start, which keep meeting each other: [EPISODES * LENGTH, 2]."""
    return np.cumsum(0.1 * rng.normal(size=(EPISODES, LENGTH, 2)), axis=1).reshape(-1, 2)


def per_episode(values):
    return np.repeat(values, LENGTH)[:, None]


@pytest.mark.parametrize("seed", range(3))
def test_two_ways_that_the_observation_does_not_tell_are_found(seed):
    rng = np.random.default_rng(seed)
    observations = walks(rng)
    way = per_episode(rng.choice([-1.0, 1.0], EPISODES))
    found = analyse_dataset(
        opened(observations, way * (2 + observations) + 0.05 * rng.normal(size=(len(way), 2)))
    ).modes
    assert found.share > 0.7
    assert found.start_share > 0.7
    assert found.explained < 0.2


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_one_way_is_one_whatever_its_noise(noise):
    rng = np.random.default_rng(0)
    observations = walks(rng)
    actions = np.tanh(observations @ rng.normal(size=(2, 2))) + noise * rng.normal(size=(len(observations), 2))
    found = analyse_dataset(opened(observations, actions)).modes
    assert found.share * (1 - found.explained) < 0.03
    assert found.start_share < 0.1


def test_a_switch_is_told_by_the_observation():
    """A gripper that closes where the state says so has two commands, and nothing to choose."""
    drift = np.tile(np.arange(LENGTH), EPISODES)[:, None] / (100 * LENGTH)
    observations = per_episode(np.random.default_rng(0).uniform(size=EPISODES)) + drift
    found = analyse_dataset(opened(observations, np.sign(observations - 0.5))).modes
    assert found.share > 0.01
    assert found.explained > 0.8
    assert found.share * (1 - found.explained) < 0.05


def test_a_choice_at_the_start_alone_is_seen_there():
    """Left or right of an obstacle: from the first step on the state tells which way was taken."""
    rng = np.random.default_rng(0)
    side = rng.choice([-1.0, 1.0], EPISODES)
    along = np.tile(np.arange(LENGTH) / LENGTH, EPISODES)
    across = np.repeat(side, LENGTH) * np.sin(np.pi * along)
    observations = np.column_stack([along, across]) + 0.01 * rng.normal(size=(len(along), 2))
    found = analyse_dataset(opened(observations, np.column_stack([np.repeat(side, LENGTH), along]))).modes
    assert found.start_share > 0.7
    assert found.share < 0.2


def test_the_foresight_is_that_of_the_process():
    """Fresh observations in every step foretell their own action, and nothing of the next ones."""
    observations = np.random.default_rng(0).uniform(size=(EPISODES * LENGTH, 1))
    found = analyse_dataset(opened(observations, observations)).foresight
    assert len(found.spread) == LOOKAHEAD
    assert found.spread[0] < 0.02
    np.testing.assert_allclose(found.spread[1:], 1.0, atol=0.12)
    # The same numbers for all of an episode foretell all of it.
    observations = per_episode(np.random.default_rng(1).uniform(size=EPISODES))
    found = analyse_dataset(opened(observations, observations)).foresight
    assert max(found.spread) < 0.15
    assert found.spread[0] == pytest.approx(found.spread[-1], abs=0.05)


def test_half_of_the_variance_in_noise_is_half_of_the_square():
    rng = np.random.default_rng(0)
    observations = rng.uniform(-(3**0.5), 3**0.5, size=(EPISODES * LENGTH, 1))  # variance 1
    found = analyse_dataset(opened(observations, observations + rng.normal(size=observations.shape))).foresight
    assert found.spread[0] ** 2 == pytest.approx(0.5, abs=0.05)


def test_constants_lengths_returns_and_successes():
    rng = np.random.default_rng(0)
    observations, actions = rng.normal(size=(40, 3)), rng.uniform(-1, 1, (40, 2))
    observations[:, 1], actions[:, 0] = 7.0, 0.5
    rewards, terminals = np.zeros(40), np.zeros(40, bool)
    rewards[[9, 29]], terminals[[9, 29]] = 1.0, True
    found = analyse_dataset(opened(observations, actions, rewards=rewards, length=10, terminals=terminals))
    assert found.constant_observations == (1,)
    assert found.constant_actions == (0,)
    assert found.lengths == (10, 10, 10)
    assert found.terminal_share == 0.5
    assert (found.return_mean, found.return_std, found.return_max) == (0.5, 0.5, 1.0)
    assert found.success_share == 0.5
    assert found.bound_share == pytest.approx(2 / 40)
    np.testing.assert_allclose(found.action_std, actions.std(axis=0), atol=1e-6)
    dense = analyse_dataset(opened(observations, actions, rewards=rng.normal(size=40), length=10))
    assert dense.success_share is None
    assert dense.has_rewards
    none = analyse_dataset(opened(observations, actions, length=10))
    assert (none.success_share, none.has_rewards) == (None, False)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    shift=st.sampled_from([0.0, -3.0, 50.0]),
    length=st.sampled_from([2, 5, 20]),
)
def test_units_do_not_matter_and_every_share_is_one(seed, scale, shift, length):
    rng = np.random.default_rng(seed)
    observations, actions = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    plain = analyse_dataset(opened(observations, actions, length=length))
    other = analyse_dataset(opened(scale * (observations + shift), scale * actions, length=length))
    shares = (plain.modes.share, plain.modes.explained, plain.modes.start_share, plain.bound_share)
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert other.foresight.spread == pytest.approx(plain.foresight.spread, abs=0.05)
    assert other.foresight.distance == pytest.approx(plain.foresight.distance, rel=0.05)


@pytest.mark.parametrize(("episodes", "length"), [(1, 4), (1, 40), (2, 1), (3, 2)])
def test_few_and_short_episodes_are_analysed_too(episodes, length):
    rng = np.random.default_rng(0)
    steps = episodes * length
    found = analyse_dataset(opened(rng.normal(size=(steps, 2)), rng.normal(size=(steps, 1)), length=length))
    assert found.lengths == (length, length, length)
    assert (found.foresight.states == 0) == (episodes == 1 and length < 20)


def test_a_sample_of_a_large_dataset_says_the_same_every_time():
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(12_000, 3))
    dataset = opened(observations, np.tanh(observations), length=100)
    one, two = analyse_dataset(dataset), analyse_dataset(dataset)
    assert (one.foresight, one.modes) == (two.foresight, two.modes)
    assert one.foresight.states == 1000
