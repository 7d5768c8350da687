"""Moving average of weights, learning-rate schedule, annealing of sigma."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_scoreflow.flow.config import NoiseConfig
from rllib_scoreflow.flow.ema import ExponentialMovingAverage
from rllib_scoreflow.flow.noise import annealed_sigma_max
from rllib_scoreflow.flow.schedules import cosine_with_restarts


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    decay=st.floats(0.0, 0.999),
    warmup=st.integers(0, 5),
    weights=st.lists(st.floats(-5, 5), min_size=1, max_size=10),
)
def test_average_follows_its_recursion(decay: float, warmup: int, weights: list[float]) -> None:
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    average = ExponentialMovingAverage([parameter], decay, warmup)
    expected = 2.0
    for count, weight in enumerate(weights, start=1):
        parameter.data.fill_(weight)
        average.step([parameter])
        expected = weight if count <= warmup else decay * expected + (1 - decay) * weight
    assert average.num_steps == len(weights)
    assert average.values[0].item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("interval", [2, 10])
def test_average_moved_now_and_then_is_that_of_weights_which_stood_still(interval: int) -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    every = ExponentialMovingAverage([torch.zeros(1)], decay=0.9)
    some = ExponentialMovingAverage([torch.zeros(1)], decay=0.9, interval=interval)
    for count in range(1, 26):
        every.step([parameter])
        before = some.values[0].item()
        some.step([parameter])
        assert (some.values[0].item() != before) == (count % interval == 0)
    some.catch_up([parameter])
    torch.testing.assert_close(some.values, every.values)


def test_average_is_a_copy_of_all_tensors_and_can_be_written_back() -> None:
    model = torch.nn.Linear(3, 2)
    average = ExponentialMovingAverage(model.parameters(), decay=0.9)
    start = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    for value, initial in zip(average.values, start, strict=True):
        assert torch.equal(value, initial)
    average.step(model.parameters())
    average.copy_to(model.parameters())
    for parameter, initial in zip(model.parameters(), start, strict=True):
        torch.testing.assert_close(parameter.detach(), initial + 0.1)
        assert parameter.requires_grad
    with torch.no_grad():
        model.weight.zero_()
    assert not torch.equal(average.values[0], model.weight)


def test_average_refuses_other_parameters() -> None:
    average = ExponentialMovingAverage([torch.zeros(1)])
    with pytest.raises(ValueError, match="zip"):
        average.copy_to([torch.zeros(1), torch.zeros(1)])


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    iteration=st.integers(0, 1000),
    cycle=st.integers(1, 200),
    warmup=st.integers(0, 50),
    lowest=st.floats(0.0, 0.1),
)
def test_learning_rate_stays_between_its_bounds_and_repeats(
    iteration: int, cycle: int, warmup: int, lowest: float
) -> None:
    kwargs = {"peak": 1.0, "lowest": lowest, "cycle": cycle, "warmup": warmup}
    rate = cosine_with_restarts(iteration, **kwargs)
    assert lowest - 1e-12 <= rate <= 1.0 + 1e-12
    assert rate == cosine_with_restarts(iteration + cycle, **kwargs)


def test_learning_rate_warms_up_linearly_then_falls_by_a_half_cosine() -> None:
    kwargs = {"peak": 1.0, "lowest": 0.1, "cycle": 24, "warmup": 4}
    rates = [cosine_with_restarts(i, **kwargs) for i in range(25)]
    assert rates[:4] == pytest.approx([0.1 + 0.9 * (i + 1) / 5 for i in range(4)])
    assert rates[4] == 1.0
    assert rates[4 + 10] == pytest.approx(0.55)  # half way: the mean of peak and lowest
    assert all(a > b for a, b in pairwise(rates[4:24]))
    assert rates[23] < 0.12
    assert rates[24] == rates[0]


@pytest.mark.parametrize("warmup", [0, 5])
def test_learning_rate_without_a_cycle_is_constant_after_the_warmup(warmup: int) -> None:
    rates = [cosine_with_restarts(i, peak=2.0, lowest=0.0, cycle=0, warmup=warmup) for i in range(9)]
    assert all(rate == 2.0 for rate in rates[warmup:])
    assert all(a < b for a, b in pairwise(rates[: warmup + 1]))
    assert all(rate > 0 for rate in rates)


noise_configs = st.builds(
    lambda low, factor, hold, to: NoiseConfig(sigma_min=low, sigma_max=low * factor, hold_fraction=hold, decay_to=to),
    st.floats(0.01, 1.0),
    st.floats(1.0, 5.0),
    st.floats(0.0, 0.95),
    st.floats(0.0, 1.0),
)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(config=noise_configs, progress=st.floats(0.0, 1.0), later=st.floats(0.0, 1.0))
def test_sigma_max_is_held_then_falls_to_its_end(config: NoiseConfig, progress: float, later: float) -> None:
    end = (1 - config.decay_to) * config.sigma_min + config.decay_to * config.sigma_max
    first, second = sorted([progress, later])
    bound = annealed_sigma_max(config, first)
    assert annealed_sigma_max(config, second) <= bound + 1e-12
    assert end - 1e-12 <= bound <= config.sigma_max + 1e-12
    if first <= config.hold_fraction:
        assert bound == pytest.approx(config.sigma_max, rel=1e-12)
    assert annealed_sigma_max(config, 1.0) == pytest.approx(end)
    assert annealed_sigma_max(config, 1.5) == pytest.approx(end)
    middle = config.hold_fraction + 0.5 * (1 - config.hold_fraction)
    assert annealed_sigma_max(config, middle) == pytest.approx(0.5 * (end + config.sigma_max))


def test_published_annealing() -> None:
    config = NoiseConfig()
    assert config.schedule == "learn_decay"
    assert annealed_sigma_max(config, 0.35) == pytest.approx(0.24)
    assert annealed_sigma_max(config, 1.0) == pytest.approx(0.3 * 0.10 + 0.7 * 0.24)


@pytest.mark.parametrize("overrides", [{"schedule": "learn"}, {"hold_fraction": 1.0}])
def test_sigma_max_without_annealing(overrides: dict) -> None:
    config = NoiseConfig(**overrides)
    assert {annealed_sigma_max(config, p) for p in (0.0, 0.5, 1.0)} == {config.sigma_max}
