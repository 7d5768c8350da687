"""Group advantages against their closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_scoreflow.flow.advantages import ESTIMATORS, Fragment, needs_critic, needs_groups

group = ESTIMATORS.choose("group")(gamma=0.3, lambda_=0.2)


def episode(rewards, name="g", *, done=True, terminated=True) -> Fragment:
    values = np.full(len(rewards) + 1, 1e6)  # of no use
    return Fragment(str(id(rewards)), np.asarray(rewards, float), values, terminated and done, done, name)


def scores(*fragments) -> list[float]:
    advantages = group(fragments)
    for fragment, own in zip(fragments, advantages, strict=True):
        assert own.shape == fragment.rewards.shape
        assert np.ptp(own) == 0.0
    return [float(own[0]) for own in advantages]


def test_two_episodes_are_one_deviation_apart_whatever_their_lengths_and_rewards() -> None:
    assert scores(episode([1.0, 2.0, 4.0]), episode([6.5])) == pytest.approx([1.0, -1.0])


def test_groups_do_not_see_each_other() -> None:
    one = [episode([value], "a") for value in (1.0, 2.0, 6.0)]
    two = [episode([value], "b", terminated=False) for value in (100.0, 100.0)]
    mean, deviation = 3.0, np.sqrt((4.0 + 1.0 + 9.0) / 3.0)
    expected = [(value - mean) / deviation for value in (1.0, 2.0, 6.0)]
    mixed = [one[0], two[0], one[1], two[1], one[2]]
    assert scores(*mixed) == pytest.approx([expected[0], 0.0, expected[1], 0.0, expected[2]])


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    returns=st.lists(st.floats(-100, 100), min_size=2, max_size=8), factor=st.floats(0.1, 10), shift=st.floats(-9, 9)
)
def test_advantages_have_mean_0_and_deviation_1_on_any_scale(returns, factor: float, shift: float) -> None:
    found = np.array(scores(*(episode([value]) for value in returns)))
    assert abs(found.mean()) < 1e-6
    if np.std(returns) > 1e-3:
        assert found.std() == pytest.approx(1.0)
        scaled = scores(*(episode([factor * value + shift]) for value in returns))
        np.testing.assert_allclose(scaled, found, atol=1e-6)
    elif np.ptp(returns) == 0.0:
        assert not found.any()


def test_equal_returns_say_nothing_though_their_sums_round() -> None:
    assert scores(episode([0.1, 0.2, 0.3]), episode([0.3, 0.2, 0.1]), episode([0.6])) == [0.0, 0.0, 0.0]


def test_a_cut_episode_has_no_advantage_and_moves_no_others() -> None:
    whole = [episode([1.0]), episode([3.0])]
    assert scores(*whole, episode([50.0], done=False)) == pytest.approx([-1.0, 1.0, 0.0])
    assert scores(episode([1.0]), episode([3.0], done=False)) == [0.0, 0.0]


def test_episodes_that_are_all_cut_at_one_length_are_compared() -> None:
    assert scores(episode([1.0, 1.0], done=False), episode([2.0, 2.0], done=False)) == pytest.approx([-1.0, 1.0])
    assert scores(episode([1.0, 1.0], done=False), episode([2.0], done=False)) == [0.0, 0.0]


def test_what_the_estimators_need() -> None:
    assert (needs_critic(ESTIMATORS["gae"]), needs_groups(ESTIMATORS["gae"])) == (True, False)
    assert (needs_critic(group), needs_groups(group)) == (False, True)
