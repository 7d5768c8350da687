"""What the first step of a chain does to a network that predicts the noise."""

import math

import pytest
import torch

from rllib_scoreflow.flow.config import VelocityConfig, default_tuned_steps
from rllib_scoreflow.flow.kernel import Step
from rllib_scoreflow.flow.kinds import KINDS


def shares(k: int, steps: int) -> tuple[float, float]:
    """Shares `a` and `b` of data and noise behind `k` steps of the cosine schedule, the least `a` that of 20 levels."""

    def angle(u: float) -> float:
        return 0.5 * math.pi * (u + 0.008) / 1.008

    largest_beta = 0.999
    least = math.cos(angle(0.95)) / math.cos(angle(0.0)) * math.sqrt(1.0 - largest_beta)
    a = max(math.cos(angle(1.0 - k / steps)) / math.cos(angle(0.0)), least)
    return a, math.sqrt(1.0 - a**2)


@pytest.mark.parametrize("steps", [2, 4, 5, 10, 20])
def test_the_mean_of_the_first_step_follows_the_output_many_times(float64_default, steps: int) -> None:
    """By `c - a(s) b / a`, for `D^ = (x - b eps) / a`; later steps follow it once at most."""
    path = KINDS["epsilon"]().path
    found = []
    for k in range(steps):
        step = Step.on(path, torch.full((1, 1), k / steps), 1.0 / steps)
        output = torch.randn(1, 1, requires_grad=True)
        data, noise = path.estimates(output, torch.randn(1, 1), step.a, step.b)
        (gradient,) = torch.autograd.grad(step.mean(data, noise, step.c).sum(), output)
        found.append(float(gradient))
        (a, b), (a_next, c) = shares(k, steps), shares(k + 1, steps)
        assert found[-1] == pytest.approx(c - a_next * b / a, rel=1e-5, abs=1e-6)
    assert -found[0] > 30.0
    assert all(abs(gradient) < 1.02 for gradient in found[1:])


def test_a_noise_predictor_keeps_its_first_step() -> None:
    epsilon = VelocityConfig(kind="epsilon")
    assert [default_tuned_steps(epsilon, steps) for steps in (1, 2, 4, 20)] == [None, 1, 3, 19]
    assert {default_tuned_steps(VelocityConfig(kind=kind), 4) for kind in ("flow", "shortcut", "meanflow")} == {None}
