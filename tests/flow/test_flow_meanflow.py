"""MeanFlow: the identity on a known average velocity, what its loss asks for, and what one step of it reaches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.config import FieldConfig, VelocityConfig, default_steps
from rllib_scoreflow.flow.fields import VelocityField
from rllib_scoreflow.flow.fields.mlp import VelocityNetwork
from rllib_scoreflow.flow.kinds import KINDS, NOISE, STEP, TIME, Draws, MeanFlow

MEANFLOW = {"kind": "meanflow"}


class PointAverage(torch.nn.Module):
    """To one point `a`: straight lines, so that the average velocity is `(a - x) / (1 - t)` for every step length."""

    def __init__(self, point: torch.Tensor, error: float = 0.0) -> None:
        super().__init__()
        self.point, self.error = point, torch.nn.Parameter(torch.tensor(error))

    def forward(self, x, t, observation, step_size=0.0):
        return (self.point - x) / (1.0 - t) + self.error * torch.as_tensor(step_size, dtype=x.dtype)


class GaussianAverage(torch.nn.Module):
    """From `N(0, 1)` to `N(m, s^2)`: the flow map is affine, and its displacement over a step is known."""

    mean, std = 0.3, 0.4

    def width(self, t):
        return torch.sqrt((1.0 - t) ** 2 + t**2 * self.std**2)

    def instantaneous(self, x, t):
        return self.mean + (t * self.std**2 - (1.0 - t)) / self.width(t) ** 2 * (x - t * self.mean)

    def forward(self, x, t, observation, step_size=0.0):
        end = t + step_size
        return (end * self.mean + (x - t * self.mean) * self.width(end) / self.width(t) - x) / step_size


def points(rows: int = 64, dim: int = 3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    chunk = torch.rand(1, dim, generator=generator).expand(rows, dim) * 2 - 1
    noise = torch.randn(rows, dim, generator=generator)
    draws = MeanFlow().draw(Draws(generator, noise.device), rows, dim, 1.0)
    return torch.zeros(rows, 2), chunk, noise, draws[TIME], draws[STEP]


@pytest.mark.usefixtures("float64_default")
def test_the_average_velocity_to_a_point_has_no_error_and_no_gradient() -> None:
    observation, chunk, noise, t, step = points()
    kind, exact = MeanFlow(), PointAverage(chunk[0])
    errors = kind.step_error(exact, observation, chunk, noise, t, step=step)
    assert errors.max() < 1e-20
    assert torch.autograd.grad(errors.mean(), exact.error)[0].abs() < 1e-8
    off = PointAverage(chunk[0], error=0.1)
    wrong = kind.step_error(off, observation, chunk, noise, t, step=step)
    # u is off by e d, and the right side by d (-e): together 2 e d.
    torch.testing.assert_close(wrong, (0.2 * step.squeeze(-1)).square())


@pytest.mark.usefixtures("float64_default")
def test_the_identity_holds_for_the_average_velocity_of_a_gaussian() -> None:
    """With the marginal velocity in place of the conditional one, which is what the loss's minimiser sees."""
    exact = GaussianAverage()
    generator = torch.Generator().manual_seed(0)
    t = 0.9 * torch.rand(50, 1, generator=generator)
    step = 0.01 + (0.99 - t) * torch.rand(50, 1, generator=generator)
    x = torch.randn(50, 1, generator=generator)
    # A chunk and a noise whose straight line passes x at t with the marginal velocity there.
    velocity = exact.instantaneous(x, t)
    noise, chunk = x - t * velocity, x + (1.0 - t) * velocity
    error = MeanFlow().step_error(exact, torch.zeros(50, 2), chunk, noise, t, step=step)
    assert error.max() < 1e-18
    assert MeanFlow().step_error(exact, torch.zeros(50, 2), chunk + 0.1, noise, t, step=step).min() > 1e-8


@pytest.mark.usefixtures("float64_default")
def test_the_target_is_the_published_one_and_has_no_gradient() -> None:
    """Against finite differences along the line and at a fixed end."""
    network = VelocityNetwork(2, (1, 3), VelocityConfig(hidden_dim=8, activation="tanh", **MEANFLOW))
    observation, chunk, noise, t, step = points()
    x, v, h = (1.0 - t) * noise + t * chunk, chunk - noise, 1e-5
    with torch.no_grad():
        later = network(x + h * v, t + h, observation, step - h)
        earlier = network(x - h * v, t - h, observation, step + h)
        residual = network(x, t, observation, step) - (v + step * (later - earlier) / (2 * h))
    error = MeanFlow().step_error(network, observation, chunk, noise, t, step=step)
    torch.testing.assert_close(error, residual.square().mean(dim=-1), rtol=1e-6, atol=1e-9)
    gradient = torch.autograd.grad(error.mean(), network.trunk[-1].bias)[0]
    # d/d bias of mean((u + b - target)^2), the target held fixed.
    torch.testing.assert_close(gradient, 2.0 * residual.mean(dim=0) / 3, rtol=1e-5, atol=1e-8)


@given(rows=st.integers(1, 40), fraction=st.floats(0.0, 0.99), seed=st.integers(0, 2**31))
def test_steps_stay_within_the_path_and_take_their_share(rows: int, fraction: float, seed: int) -> None:
    draws = MeanFlow().draw(Draws(torch.Generator().manual_seed(seed), torch.device("cpu")), rows, 5, fraction)
    assert draws[NOISE].shape == (rows, 5)
    assert draws[TIME].shape == (rows, 1)
    assert draws[STEP].shape == (round(fraction * rows), 1)
    ends = draws[TIME][: len(draws[STEP])] + draws[STEP]
    assert ((draws[TIME] >= 0) & (draws[TIME] < 1)).all()
    assert ((draws[STEP] >= 0) & (ends <= 1 + 1e-6)).all()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_several_learners_draw_together_what_one_draws(name: str) -> None:
    kind, device = KINDS[name](), torch.device("cpu")
    alone = kind.draw(Draws(torch.Generator().manual_seed(3), device), 24, 5, 0.25)
    for rank in range(3):
        share = Draws(torch.Generator().manual_seed(3), device, lambda draw, rows, rank=rank: draw(3 * rows)[rank::3])
        part = kind.draw(share, 8, 5, 0.25)
        assert part.keys() == alone.keys()
        for column, values in part.items():
            assert torch.equal(values, alone[column][rank::3]), column


def learn(kind: str) -> torch.Tensor:
    """Where one step ends of a network that was taught two modes, -0.8 and 0.8, with the batches of cloning."""
    torch.manual_seed(0)
    draws, rows = Draws(torch.Generator().manual_seed(0), torch.device("cpu")), 128
    network = VelocityNetwork(1, (1, 1), VelocityConfig(hidden_dim=32, activation="mish", kind=kind))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 250)
    for _ in range(250):
        chunk = draws.integers(2, rows, 1) * 1.6 - 0.8
        drawn = KINDS[kind]().draw(draws, rows, 1, 0.75)
        error = KINDS[kind]().error(network, torch.zeros(rows, 1), chunk, drawn)
        optimizer.zero_grad()
        error.mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        z, zero = draws.normal(2048, 1), torch.zeros(2048, 1)
        return z + network(z, zero, zero, 1.0)


def test_one_step_of_a_mean_flow_comes_near_the_modes_where_one_of_a_flow_lands_between_them() -> None:
    reached, between = learn("meanflow"), learn("flow")
    assert (reached.abs() > 0.4).float().mean() > 0.5
    assert 0.3 < (reached > 0).float().mean() < 0.7
    assert (between.abs() > 0.4).float().mean() < 0.05


class Linear(VelocityField):
    """A field that leaves its time features to the base class."""

    def __init__(self, config: FieldConfig) -> None:
        super().__init__(2, (1, 3), config)
        self.layer = torch.nn.Linear(3 + config.time_dim, 3)

    def velocity(self, x, t, observation, step_size):
        return self.layer(torch.cat([x.flatten(1), self.time_features(t, step_size)], dim=-1)).view_as(x)


@pytest.mark.parametrize("width", [4, 6, 16])
def test_every_field_sees_its_step_length(width: int) -> None:
    observation, chunk, noise, t, step = points()
    field = Linear(FieldConfig(type="linear", time_dim=width, **MEANFLOW))
    assert field.time_features(t, step).shape == (64, width)
    assert not torch.allclose(field(noise, t, observation, step), field(noise, t, observation, 0.0))
    MeanFlow().step_error(field, observation, chunk, noise, t, step=step).mean().backward()
    with pytest.raises(InputError, match=r"time_dim' is 2, too narrow"):
        Linear(FieldConfig(type="linear", time_dim=2, **MEANFLOW)).time_features(t, step)


def test_the_kind_says_how_many_steps() -> None:
    steps = {kind: default_steps(VelocityConfig(kind=kind)) for kind in ("flow", "shortcut", "meanflow")}
    assert steps == {"flow": 4, "shortcut": 4, "meanflow": 1}
    with pytest.raises(ValueError, match="did you mean 'meanflow'"):
        VelocityConfig(kind="meanflw")
