"""GAE against its definition, reward scaling against NumPy."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_scoreflow.flow.advantages import RunningRewardScaler, generalized_advantages, scale_rewards

rewards_lists = st.lists(st.floats(-10, 10), min_size=1, max_size=12)
unit = st.floats(0.0, 1.0)


def naive_advantages(
    rewards: np.ndarray, values: np.ndarray, terminated: bool, gamma: float, lambda_: float
) -> np.ndarray:
    """`A_t = sum_l (gamma lambda)^l delta_{t+l}`, term by term."""
    steps = len(rewards)
    advantages = np.zeros(steps)
    for t in range(steps):
        for j in range(t, steps):
            following = 0.0 if terminated and j == steps - 1 else values[j + 1]
            delta = rewards[j] + gamma * following - values[j]
            advantages[t] += (gamma * lambda_) ** (j - t) * delta
    return advantages


@settings(deadline=None, derandomize=True, max_examples=100)
@given(data=st.data(), rewards=rewards_lists, terminated=st.booleans(), gamma=unit, lambda_=unit)
def test_advantages_are_the_discounted_sum_of_residuals(
    data: st.DataObject, rewards: list[float], terminated: bool, gamma: float, lambda_: float
) -> None:
    size = len(rewards) + 1
    values = np.array(data.draw(st.lists(st.floats(-10, 10), min_size=size, max_size=size)))
    before = values.copy()
    actual = generalized_advantages(np.array(rewards), values, terminated=terminated, gamma=gamma, lambda_=lambda_)
    expected = naive_advantages(np.array(rewards), values, terminated, gamma, lambda_)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(values, before)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(rewards=rewards_lists, gamma=unit, final=st.floats(-10, 10), terminated=st.booleans())
def test_lambda_one_gives_the_return_minus_the_value(
    rewards: list[float], gamma: float, final: float, terminated: bool
) -> None:
    values = np.append(np.linspace(-1, 1, len(rewards)), final)
    actual = generalized_advantages(np.array(rewards), values, terminated=terminated, gamma=gamma, lambda_=1.0)
    running = 0.0 if terminated else final
    returns = []
    for reward in reversed(rewards):
        running = reward + gamma * running
        returns.append(running)
    np.testing.assert_allclose(actual, np.array(returns[::-1]) - values[:-1], atol=1e-9)


def test_truncation_bootstraps_and_termination_does_not() -> None:
    rewards, values = np.array([1.0, 2.0]), np.array([0.5, 0.25, 100.0])
    kwargs = {"gamma": 0.9, "lambda_": 0.0}
    truncated = generalized_advantages(rewards, values, terminated=False, **kwargs)
    terminated = generalized_advantages(rewards, values, terminated=True, **kwargs)
    np.testing.assert_allclose(truncated, [1 + 0.9 * 0.25 - 0.5, 2 + 0.9 * 100 - 0.25])
    np.testing.assert_allclose(terminated, [1 + 0.9 * 0.25 - 0.5, 2 - 0.25])


fragments = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.lists(st.floats(-100, 100), min_size=1, max_size=6),
        st.booleans(),
    ),
    max_size=15,
)


def discounted_returns(
    parts: list[tuple[str, list[float], bool]], gamma: float
) -> tuple[list[float], dict[str, list[float]]]:
    """Discounted return at every step by its definition, and the rewards of open episodes."""
    episodes: list[list[float]] = []
    ongoing: dict[str, list[float]] = {}
    for stream, rewards, done in parts:
        ongoing.setdefault(stream, []).extend(rewards)
        if done:
            episodes.append(ongoing.pop(stream))
    returns = [
        sum(gamma ** (t - j) * episode[j] for j in range(t + 1))
        for episode in [*episodes, *ongoing.values()]
        for t in range(len(episode))
    ]
    return returns, ongoing


@settings(deadline=None, derandomize=True, max_examples=80)
@given(parts=fragments, gamma=st.floats(0.01, 1.0))
def test_reward_scale_is_the_deviation_of_the_discounted_returns(
    parts: list[tuple[str, list[float], bool]], gamma: float
) -> None:
    scaler = RunningRewardScaler(gamma)
    for stream, rewards, done in parts:
        scaler.observe(stream, np.array(rewards), done=done)
    returns, ongoing = discounted_returns(parts, gamma)
    assert scaler.count == len(returns)
    assert set(scaler.ongoing) == set(ongoing)
    if len(returns) < 2:
        assert scaler.scale == 1.0
    else:
        assert scaler.mean == pytest.approx(np.mean(returns), rel=1e-9, abs=1e-9)
        deviation = np.std(returns)
        if deviation > 1e-6:
            assert scaler.scale == pytest.approx(deviation, rel=1e-6, abs=1e-6)
        elif deviation < 1e-10:
            assert scaler.scale in (1.0, pytest.approx(deviation, abs=1e-6))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(rewards=st.lists(st.floats(-100, 100), min_size=2, max_size=20), data=st.data())
def test_reward_scale_does_not_depend_on_the_split(rewards: list[float], data) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(rewards)), max_size=5))
    edges = [0, *sorted(cuts), len(rewards)]
    whole, pieces = RunningRewardScaler(0.99), RunningRewardScaler(0.99)
    whole.observe("a", np.array(rewards), done=True)
    for start, end in pairwise(edges):
        pieces.observe("a", np.array(rewards[start:end]), done=False)
    assert pieces.count == whole.count
    if whole.scale > 1e-6 and pieces.scale > 1e-6:
        assert pieces.scale == pytest.approx(whole.scale, rel=1e-6, abs=1e-6)


def test_reward_scale_is_stable_far_from_zero() -> None:
    """The sum of squares minus the square of the sum would lose every digit here."""
    scaler = RunningRewardScaler(0.0)
    returns = 1e8 + np.random.default_rng(0).normal(size=1000)
    for part in np.split(returns, 20):
        scaler.observe("a", part, done=True)
    assert scaler.scale == pytest.approx(np.std(returns), rel=1e-4)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(before=fragments, after=fragments)
def test_restored_scaler_continues_where_it_was(before: list, after: list) -> None:
    original = RunningRewardScaler(0.95)
    for stream, rewards, done in before:
        original.observe(stream, np.array(rewards), done=done)
    restored = RunningRewardScaler(0.95)
    state = original.get_state()
    restored.set_state(json.loads(json.dumps(state)))
    for stream, rewards, done in after:
        for scaler in (original, restored):
            scaler.observe(stream, np.array(rewards), done=done)
    assert restored.get_state() == original.get_state()
    assert restored.scale == original.scale
    # The state is a copy: it did not follow the original.
    unchanged = RunningRewardScaler(0.95)
    unchanged.set_state(state)
    replay = RunningRewardScaler(0.95)
    for stream, rewards, done in before:
        replay.observe(stream, np.array(rewards), done=done)
    assert unchanged.get_state() == replay.get_state()


def test_the_first_success_of_a_sparse_task_is_bounded() -> None:
    """Of ten thousand rewards one is not 0: the scale that it leaves makes it a hundred, which the bound cuts."""
    scaler = RunningRewardScaler(gamma=0.99)
    rewards = np.zeros(10_000)
    rewards[9_999] = 1.0
    scaler.observe("a", rewards, done=True)
    assert scale_rewards(rewards, scaler.scale, None).max() > 90.0
    assert scale_rewards(rewards, scaler.scale, 10.0).max() == 10.0
    assert scale_rewards([-1e6, 3.0, 1e6], 2.0, 10.0).tolist() == [-10.0, 1.5, 10.0]
