"""The closed-form score against the analytic score of a Gaussian target (method section 3)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_scoreflow.flow.path import LINEAR
from rllib_scoreflow.flow.score import closed_form_score
from rllib_scoreflow.flow.time_grid import time_grid

means = st.floats(-2.0, 2.0)
widths = st.floats(0.05, 3.0)
points = st.floats(-4.0, 4.0)


def linear_score(velocity, x, t, clip=None):
    return closed_form_score(LINEAR.estimates(velocity, x, t, 1.0 - t)[1], LINEAR.b(t), clip)


def gaussian_velocity(x: torch.Tensor, t: torch.Tensor, m: float, s: float) -> torch.Tensor:
    """Marginal velocity of the linear path from `N(0, 1)` to `N(m, s^2)`."""
    variance = (1.0 - t) ** 2 + t**2 * s**2
    return m + (t * s**2 - (1.0 - t)) / variance * (x - t * m)


def marginal_score(x: torch.Tensor, t: torch.Tensor, m: float, s: float) -> torch.Tensor:
    """Gradient of the log-density of the marginal, by autograd through torch.distributions."""
    x = x.detach().requires_grad_()
    std = torch.sqrt((1.0 - t) ** 2 + t**2 * s**2)
    log_density = torch.distributions.Normal(t * m, std).log_prob(x).sum()
    return torch.autograd.grad(log_density, x)[0]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(m=means, s=widths, t=st.floats(0.0, 0.999), x=points)
def test_closed_form_equals_gaussian_score(m: float, s: float, t: float, x: float) -> None:
    x_, t_ = torch.full((1, 1), x).double(), torch.full((1, 1), t).double()
    score, clip_rate = linear_score(gaussian_velocity(x_, t_, m, s), x_, t_)
    expected = marginal_score(x_, t_, m, s)
    torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-5)
    assert clip_rate == 0


@settings(deadline=None, derandomize=True, max_examples=100)
@given(m=means, s=st.floats(0.3, 3.0), steps=st.integers(1, 10), x=points)
def test_closed_form_on_the_grid_in_float32(m: float, s: float, steps: int, x: float) -> None:
    """The precision of training: float32; error relative to the terms that cancel."""
    t = time_grid(steps).unsqueeze(-1)
    x_ = torch.full_like(t, x)
    velocity = gaussian_velocity(x_.double(), t.double(), m, s)
    score, _ = linear_score(velocity.float(), x_, t)
    expected = marginal_score(x_.double(), t.double(), m, s)
    magnitude = 1.0 + ((t * velocity).abs() + x_.abs()) / (1.0 - t)
    assert ((score - expected).abs() <= 1e-6 * magnitude).all()


def test_score_of_the_source_is_minus_x() -> None:
    x = torch.linspace(-3, 3, 7).unsqueeze(-1)
    score, _ = linear_score(torch.randn(7, 1), x, torch.zeros(7, 1))
    torch.testing.assert_close(score, -x)


def test_score_points_to_the_data_when_the_target_is_one_point() -> None:
    """Target a = 0.5: p_t = N(t a, (1-t)^2), so the score is (t a - x) / (1-t)^2."""
    x = torch.tensor([[-1.0], [0.1], [2.0]])
    t = torch.full((3, 1), 0.75)
    score, _ = linear_score((0.5 - x) / (1 - t), x, t)
    torch.testing.assert_close(score, (0.75 * 0.5 - x) / 0.25**2, rtol=1e-5, atol=1e-5)


def test_clip_bounds_components_and_counts_them() -> None:
    # At t = 0 the score is -x; the component that lies on the bound is not changed by it.
    x = torch.tensor([[-30.0, 3.0], [10.0, 12.0]])
    score, clip_rate = linear_score(torch.zeros(2, 2), x, torch.zeros(2, 1), clip=10.0)
    torch.testing.assert_close(score, torch.tensor([[10.0, -3.0], [-10.0, -10.0]]))
    assert clip_rate == pytest.approx(0.5)


def test_score_is_differentiable_in_the_velocity() -> None:
    velocity = torch.randn(5, 2, requires_grad=True)
    t = torch.full((5, 1), 0.6)
    score, _ = linear_score(velocity, torch.randn(5, 2), t, clip=1e6)
    (gradient,) = torch.autograd.grad(score.sum(), velocity)
    torch.testing.assert_close(gradient, torch.full((5, 2), 0.6 / 0.4))
