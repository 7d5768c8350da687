"""Flow-matching loss and PPO's clipped surrogate."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rllib_scoreflow.flow.config import VelocityConfig
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.fields.mlp import VelocityNetwork
from rllib_scoreflow.flow.kinds import Epsilon
from rllib_scoreflow.flow.losses import clipped_surrogate_loss, flow_matching_error
from rllib_scoreflow.flow.path import CosinePath

POINT = 0.6


class PointVelocity(nn.Module):
    """Exact velocity to the single target `POINT`: `(a - x) / (1 - t)`."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
        return (POINT - x) / (1.0 - t)


class ShiftedGaussianVelocity(nn.Module):
    """Exact velocity of the target `N(0.4, 0.5^2)` plus `w0 + w1 x + w2 t`."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
        m, s = 0.4, 0.5
        variance = (1.0 - t) ** 2 + t**2 * s**2
        exact = m + (t * s**2 - (1.0 - t)) / variance * (x - t * m)
        return exact + self.weights[0] + self.weights[1] * x + self.weights[2] * t


def test_error_is_zero_for_the_exact_velocity_to_one_point() -> None:
    noise, t = torch.randn(64, 3), 0.99 * torch.rand(64, 1)
    chunk = torch.full((64, 3), POINT)
    observation = torch.zeros(64, 1)
    exact = flow_matching_error(PointVelocity(), observation, chunk, noise, t)
    other = flow_matching_error(PointVelocity(), observation, chunk + 0.1, noise, t)
    assert exact.shape == (64,)
    assert exact.max() < 1e-6
    assert other.min() > 1e-3


def test_error_is_the_mean_squared_error_of_the_velocity() -> None:
    """By hand: the prediction 0 leaves the mean over D of (a - z)^2 per sample, whatever t."""

    class Zero(nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x)

    chunk = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    noise = torch.tensor([[0.0, 2.0], [1.0, -1.0]])
    error = flow_matching_error(Zero(), torch.zeros(2, 1), chunk, noise, torch.tensor([[0.3], [0.9]]))
    torch.testing.assert_close(error, torch.tensor([(1 + 4) / 2, 1.0]))


def test_network_sees_the_point_on_the_path_and_the_observation() -> None:
    seen = []

    class Recorder(nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
            seen.append((x, t, o))
            return x

    chunk, noise, t = torch.tensor([[1.0]]), torch.tensor([[-1.0]]), torch.tensor([[0.25]])
    observation = torch.tensor([[7.0]])
    flow_matching_error(Recorder(), observation, chunk, noise, t)
    x_seen, t_seen, o_seen = seen[0]
    assert x_seen.item() == pytest.approx(0.75 * -1.0 + 0.25 * 1.0)
    assert torch.equal(t_seen, t)
    assert torch.equal(o_seen, observation)


@pytest.mark.parametrize("weights", [[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.0, -0.2, 0.4]])
def test_gradient_vanishes_at_the_marginal_velocity_and_points_back_to_it(
    weights: list[float],
) -> None:
    """The conditional loss has the marginal gradient `2 E[phi phi'] w`, `phi = (1, x, t)`."""
    generator = torch.Generator().manual_seed(0)
    velocity = ShiftedGaussianVelocity(weights)
    gradients, moments = [], []
    for _ in range(50):
        noise = torch.randn(4000, 1, generator=generator)
        chunk = 0.4 + 0.5 * torch.randn(4000, 1, generator=generator)
        t = torch.rand(4000, 1, generator=generator)
        loss = flow_matching_error(velocity, torch.zeros(4000, 1), chunk, noise, t).mean()
        gradients.append(torch.autograd.grad(loss, velocity.weights)[0])
        features = torch.cat([torch.ones_like(t), (1 - t) * noise + t * chunk, t], dim=1)
        moments.append(2 * features.T @ features / 4000 @ velocity.weights.detach())
    difference = torch.stack(gradients) - torch.stack(moments)
    standard_error = difference.std(dim=0) / 50**0.5
    assert (difference.mean(dim=0).abs() < 4 * standard_error).all()


def test_training_on_two_modes_finds_both(make_sde) -> None:
    """A regression would answer with the mean, 0. The modes depend on the observation."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VelocityNetwork(1, (1, 1), VelocityConfig(hidden_dim=64, num_layers=3))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

    def modes(observation: torch.Tensor) -> torch.Tensor:
        side = torch.randint(0, 2, observation.shape, generator=generator) * 2.0 - 1.0
        return side * (0.6 + 0.2 * observation)

    first = last = 0.0
    for step in range(400):
        observation = torch.randint(0, 2, (256, 1), generator=generator) * 2.0 - 1.0
        chunk = modes(observation)
        noise = torch.randn(256, 1, generator=generator)
        t = torch.rand(256, 1, generator=generator)
        loss = flow_matching_error(network, observation, chunk, noise, t).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = (loss.item(), last) if step == 0 else (first, loss.item())
    assert last < first
    sde = make_sde("flow", observation_dim=1, chunk_dim=1, velocity={"hidden_dim": 64})
    sde.velocity.load_state_dict(network.state_dict())
    for sign, centre in ((1.0, 0.8), (-1.0, 0.4)):
        distribution = ChainDistribution(sde, torch.full((1000, 1), sign), denoising_steps=20)
        with torch.no_grad():
            x = distribution.sample(generator=generator)[:, -1]
        for mode in (-centre, centre):
            assert ((x - mode).abs() < 0.1).float().mean() > 0.35, (sign, mode)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    ratio=st.floats(0.0, 5.0),
    advantage=st.floats(-10.0, 10.0),
    clip_range=st.floats(0.001, 0.5),
)
def test_clipped_surrogate_by_cases(ratio: float, advantage: float, clip_range: float) -> None:
    loss = clipped_surrogate_loss(torch.tensor([ratio]), torch.tensor([advantage]), clip_range)
    if advantage >= 0:
        expected = -advantage * min(ratio, 1 + clip_range)
    else:
        expected = -advantage * max(ratio, 1 - clip_range)
    assert loss.shape == (1,)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_clipped_surrogate_stops_the_gradient_of_what_has_gone_far_enough() -> None:
    ratio = torch.tensor([1.3, 1.3, 0.7, 0.7, 1.0], requires_grad=True)
    advantages = torch.tensor([2.0, -2.0, 2.0, -2.0, 3.0])
    clipped_surrogate_loss(ratio, advantages, 0.2).sum().backward()
    assert ratio.grad is not None
    torch.testing.assert_close(ratio.grad, torch.tensor([0.0, 2.0, -2.0, 0.0, -3.0]))


class ExactNoise(nn.Module):
    """`E[z | x_t]` on the cosine path for data `N(0.4, 0.5^2)`, times `1 + slope`."""

    config = VelocityConfig(kind="epsilon")

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
        a, b = CosinePath().a(t), CosinePath().b(t)
        return (1.0 + self.slope) * b * (x - 0.4 * a) / (0.25 * a**2 + b**2)


def test_error_of_the_noise_is_least_at_its_conditional_mean() -> None:
    """There it is the variance that is left, and its gradient vanishes; on the path `x = a D + b z`."""
    chunk, noise, t = 0.4 + 0.5 * torch.randn(200_000, 1), torch.randn(200_000, 1), torch.rand(200_000, 1)
    exact, off = ExactNoise(0.0), ExactNoise(0.3)
    kind = Epsilon()
    errors = [kind.matching_error(network, torch.zeros(200_000, 1), chunk, noise, t) for network in (exact, off)]
    a, b = CosinePath().a(t).squeeze(-1), CosinePath().b(t).squeeze(-1)
    left = 0.25 * a**2 / (0.25 * a**2 + b**2)
    assert abs((errors[0] - left).mean().item()) < 4 * errors[0].std().item() / 200_000**0.5
    for error, network in zip(errors, (exact, off), strict=True):
        (gradient,) = torch.autograd.grad(error.mean(), network.slope)
        assert abs(gradient.item() - 2 * network.slope.item() * (1 - left).mean().item()) < 0.02
