"""The studies' statistics against independent calculations."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reproductions.measures import area_under_curve, steps_to_threshold
from reproductions.statistics import Comparison, compare, interquartile_means

SCORES = {
    "base": np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]),
    "better": np.array([[2.0], [2.5], [5.0], [5.5], [5.2]]),
    "other": np.array([[0.5], [2.1], [3.5], [3.0], [6.0]]),
}


@pytest.fixture(scope="module")
def found() -> dict[str, Comparison]:
    return compare(SCORES, "base")


def exact_p(differences: np.ndarray) -> float:
    """Share of the sign patterns whose mean is at least as far from 0 on the same side, doubled."""
    means = [np.mean(differences * signs) for signs in product((-1.0, 1.0), repeat=len(differences))]
    observed = np.mean(differences) - 1e-12
    above = np.mean([mean >= observed for mean in means])
    below = np.mean([mean <= np.mean(differences) + 1e-12 for mean in means])
    return float(min(1.0, 2 * min(above, below)))


def test_interquartile_mean_is_the_mean_of_the_middle_half() -> None:
    values = np.array([1.0, 100.0, 3.0, 4.0, 2.0, 5.0, 6.0, 7.0])[:, None]
    estimate = interquartile_means({"m": values})["m"]
    assert estimate.value == pytest.approx(stats.trim_mean(values.ravel(), 0.25))
    assert estimate.low <= estimate.value <= estimate.high


def test_the_same_scores_give_the_same_interval() -> None:
    one = {"m": SCORES["other"]}
    assert interquartile_means(one) == interquartile_means(one)


def test_paired_comparison_agrees_with_the_enumeration_of_all_signs(found: dict[str, Comparison]) -> None:
    for name in ("better", "other"):
        differences = (SCORES[name] - SCORES["base"]).ravel()
        assert found[name].difference.value == pytest.approx(differences.mean())
        assert found[name].p == pytest.approx(exact_p(differences), abs=1e-9)
    assert found["better"].smallest_p == 2 / 2**5
    assert found["better"].improvement.value == pytest.approx(
        np.mean([(x > y) + 0.5 * (x == y) for x in SCORES["better"].ravel() for y in SCORES["base"].ravel()])
    )


def test_holm_multiplies_the_smallest_p_by_the_number_of_methods(found: dict[str, Comparison]) -> None:
    small, large = sorted(found.values(), key=lambda comparison: comparison.p)
    assert small.p_holm == pytest.approx(min(1.0, 2 * small.p))
    assert large.p_holm == pytest.approx(max(small.p_holm, large.p))


def test_what_is_not_paired_is_refused() -> None:
    with pytest.raises(ValueError, match="must be paired"):
        compare({"base": np.zeros((3, 1)), "short": np.zeros((2, 1))}, "base")


def test_equal_methods_have_no_difference() -> None:
    same = compare({"base": SCORES["base"], "twin": SCORES["base"].copy()}, "base")["twin"]
    assert (same.p, same.difference.value, same.improvement.value) == (1.0, 0.0, 0.5)


@settings(deadline=None, max_examples=30)
@given(st.floats(-10, 10), st.floats(-5, 5), st.floats(1, 100))
def test_area_under_a_line_is_its_middle(start: float, slope: float, end: float) -> None:
    steps = np.linspace(0.0, end, 7)
    assert area_under_curve(steps, start + slope * steps) == pytest.approx(start + slope * end / 2, abs=1e-9)
    assert area_under_curve(steps, start + slope * steps, end / 3) == pytest.approx(start + slope * end / 6, abs=1e-9)


def test_area_leaves_out_points_before_any_episode_has_ended() -> None:
    assert area_under_curve(np.array([0.0, 10.0, 20.0]), np.array([np.nan, 1.0, 3.0])) == 2.0


def test_a_run_that_never_reaches_the_threshold_is_censored() -> None:
    steps, returns = np.array([10.0, 20.0, 30.0]), np.array([1.0, 5.0, 4.0])
    assert steps_to_threshold(steps, returns, 4.5) == 20.0
    assert np.isinf(steps_to_threshold(steps, returns, 6.0))
