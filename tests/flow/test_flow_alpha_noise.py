"""Drift strength, noise, and that the two do not touch each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_scoreflow.flow.alpha import Alpha
from rllib_scoreflow.flow.config import NoiseConfig, ScoreConfig, VelocityConfig
from rllib_scoreflow.flow.fields.mlp import VelocityNetwork
from rllib_scoreflow.flow.kernel import Step
from rllib_scoreflow.flow.noise import NoiseNetwork, annealed_sigma_max
from rllib_scoreflow.flow.path import LINEAR
from rllib_scoreflow.flow.score import closed_form_score

TIMES = torch.linspace(0.0, 0.999, 50).unsqueeze(-1)


def step_at(t: torch.Tensor, dt: float = 1e-4) -> Step:
    return Step.on(LINEAR, t, dt)


KINDS = ["none", "constant", "linear", "mlp"]


def scatter(module: torch.nn.Module, size: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decay", [True, False])
@settings(deadline=None, derandomize=True, max_examples=15)
@given(scale=st.floats(0.1, 5.0), size=st.floats(0.0, 10.0), seed=st.integers(0, 1000))
def test_alpha_is_bounded(kind: str, decay: bool, scale: float, size: float, seed: int) -> None:
    config = ScoreConfig(strength=kind, scale=scale, decay=decay, value=1.9)
    strength = Alpha(config)
    scatter(strength, size, seed)
    alpha = strength(step_at(TIMES))
    assert alpha.shape == TIMES.shape
    assert (alpha >= 0).all()
    assert (alpha <= 2 * scale * (1 + 1e-6)).all()


def test_alpha_reaches_its_upper_bound() -> None:
    strength = Alpha(ScoreConfig(strength="constant", value=2.0, scale=1.5))
    assert strength(step_at(torch.zeros(1, 1))).item() == 3.0


@pytest.mark.parametrize("kind", ["constant", "linear", "mlp"])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_initial_alpha_is_the_published_gain(kind: str, scale: float) -> None:
    decayed = Alpha(ScoreConfig(strength=kind, scale=scale))(step_at(TIMES))
    torch.testing.assert_close(decayed, 0.127 * scale * (1 - TIMES), rtol=1e-3, atol=0)
    flat = Alpha(ScoreConfig(strength=kind, scale=scale, decay=False))(step_at(TIMES))
    torch.testing.assert_close(flat, torch.full_like(TIMES, 0.127 * scale), rtol=1e-3, atol=0)


@pytest.mark.parametrize("kind", ["constant", "linear", "mlp"])
@pytest.mark.parametrize("power", [1.0, 4.0])
@pytest.mark.parametrize("value", [0.0, 1.6])
def test_alpha_begins_at_the_chosen_gain_and_power(kind: str, power: float, value: float) -> None:
    alpha = Alpha(ScoreConfig(strength=kind, value=value, scale=2.0, decay_power=power))(step_at(TIMES))
    torch.testing.assert_close(alpha, 2.0 * value * (1 - TIMES) ** power)


def test_alpha_kinds_have_the_parameters_they_claim() -> None:
    counts = {kind: sum(p.numel() for p in Alpha(ScoreConfig(strength=kind)).parameters()) for kind in KINDS}
    mlp = (1 * 16 + 16) + (16 * 16 + 16) + (16 + 1)
    assert counts == {"none": 0, "constant": 0, "linear": 2, "mlp": mlp}
    assert (Alpha(ScoreConfig(strength="none"))(step_at(TIMES)) == 0).all()


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_learned_alpha_depends_on_time_after_a_step(kind: str) -> None:
    strength = Alpha(ScoreConfig(strength=kind, decay=False))
    optimizer = torch.optim.SGD(strength.parameters(), lr=0.5)
    target = 0.2 + 0.5 * TIMES
    for _ in range(3):
        optimizer.zero_grad()
        (strength(step_at(TIMES)) - target).square().mean().backward()
        optimizer.step()
    gain = strength(step_at(TIMES))
    assert gain.mean() > 0.127
    assert (gain.max() - gain.min()) > 1e-3


@pytest.mark.parametrize("kind", ["constant", "linear", "mlp"])
def test_decay_cancels_the_divergence_of_the_score(kind: str) -> None:
    """alpha * score = gain * (t v - x) with the factor (1-t); without it, 1 / (1-t) stays."""
    near_one = 1.0 - torch.logspace(-1, -4, 10).unsqueeze(-1)
    velocity, x = torch.ones(10, 2), torch.full((10, 2), -2.0)
    score, _ = closed_form_score(x - near_one * velocity, 1.0 - near_one)
    assert score.abs().max() > 1e4
    bounded = Alpha(ScoreConfig(strength=kind))(step_at(near_one)) * score
    assert bounded.abs().max() < 0.127 * 3.01
    free = Alpha(ScoreConfig(strength=kind, decay=False))(step_at(near_one)) * score
    assert free[-1].abs().max() > 900 * free[0].abs().max()


def noise_inputs(batch: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, 8, generator=generator),
        torch.randn(batch, 3, generator=generator),
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    low=st.floats(0.01, 1.0),
    factor=st.floats(1.0, 10.0),
    size=st.floats(0.0, 20.0),
    seed=st.integers(0, 1000),
)
def test_sigma_stays_within_its_bounds(low: float, factor: float, size: float, seed: int) -> None:
    config = NoiseConfig(sigma_min=low, sigma_max=low * factor, hidden_dims=(8,))
    network = NoiseNetwork(8, 3, 4, config)
    scatter(network, size, seed)
    sigma = network(*noise_inputs())
    assert sigma.shape == (40, 4)
    assert (sigma >= low * (1 - 1e-5)).all()
    assert (sigma <= low * factor * (1 + 1e-5)).all()


def test_sigma_interpolates_the_log_variance() -> None:
    """logvar = min + (max - min) (tanh(u) + 1) / 2, so that u = 0 is the geometric mean."""
    network = NoiseNetwork(8, 3, 2, NoiseConfig(sigma_min=0.1, sigma_max=0.4, hidden_dims=(8,)))
    last = network.mlp[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, 0.7]))
    sigma = network(*noise_inputs(1))[0]
    low, high = 2 * torch.log(torch.tensor(0.1)), 2 * torch.log(torch.tensor(0.4))
    u = torch.tensor([0.0, 0.7])
    expected = torch.exp((low + (high - low) * (torch.tanh(u) + 1) / 2) / 2)
    torch.testing.assert_close(sigma, expected)
    assert sigma[0].item() == pytest.approx(0.2)


def test_annealed_bound_is_obeyed_and_travels_with_the_weights() -> None:
    config = NoiseConfig(sigma_min=0.1, sigma_max=0.4, hidden_dims=(8,))
    network, copy = NoiseNetwork(8, 3, 4, config), NoiseNetwork(8, 3, 4, config)
    scatter(network, 10.0, 0)
    assert network(*noise_inputs()).max() > 0.35
    network.sigma_max.fill_(annealed_sigma_max(config, 1.0))
    copy.load_state_dict(network.state_dict())
    sigma = copy(*noise_inputs())
    assert sigma.max().item() == pytest.approx(0.3 * 0.1 + 0.7 * 0.4, rel=1e-4)
    torch.testing.assert_close(sigma, network(*noise_inputs()))


def test_sigma_without_time_depends_on_the_observation_alone() -> None:
    network = NoiseNetwork(8, 3, 4, NoiseConfig(use_time=False, hidden_dims=(8,)))
    time_embedding, observation = noise_inputs()
    sigma = network(time_embedding, observation)
    torch.testing.assert_close(network(time_embedding + 1.0, observation), sigma, rtol=0, atol=0)
    assert (network(time_embedding, observation + 1.0) - sigma).abs().max() > 1e-4


def test_sigma_gradient_stops_at_the_time_embedding() -> None:
    velocity = VelocityNetwork(3, (1, 4), VelocityConfig(hidden_dim=8))
    network = NoiseNetwork(16, 3, 4, NoiseConfig())
    _, observation = noise_inputs(10)
    network(velocity.time_embedding(torch.rand(10, 1)), observation).sum().backward()
    assert all(p.grad is None for p in velocity.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_sigma_depends_on_time_and_observation_not_on_x(make_sde) -> None:
    sde = make_sde("scoreflow", perturbation=0.5)
    t, observation = torch.full((6, 1), 0.25), torch.randn(6, 3)
    std = sde.transition(torch.randn(6, 4), t, observation, 0.25).std
    again = sde.transition(5 * torch.randn(6, 4), t, observation, 0.25).std
    assert torch.equal(std, again)
    later = sde.transition(torch.randn(6, 4), t + 0.25, observation, 0.25).std
    elsewhere = sde.transition(torch.randn(6, 4), t, observation + 1.0, 0.25).std
    # Some components may sit at a bound, where tanh is flat.
    assert (std - later).abs().max(dim=-1).values.min() > 1e-4
    assert (std - elsewhere).abs().max(dim=-1).values.min() > 1e-4


@pytest.mark.parametrize("variant", ["reinflow", "constant_alpha", "scoreflow"])
@pytest.mark.parametrize("kind", ["learn", "constant"])
def test_sigma_is_a_deviation_per_step(make_sde, variant: str, kind: str) -> None:
    """Decoupled sigma is not multiplied by sqrt(dt): K does not enter."""
    sde = make_sde(variant, noise={"kind": kind})
    x, t, observation = torch.randn(6, 4), torch.rand(6, 1), torch.randn(6, 3)
    stds = [sde.transition(x, t, observation, 1 / steps).std for steps in (1, 4, 16)]
    assert torch.equal(stds[0], stds[1])
    assert torch.equal(stds[0], stds[2])
    if kind == "constant":
        assert (stds[0] == torch.tensor(sde.config.noise.sigma_max)).all()


@pytest.mark.parametrize("variant", ["score_sde", "score_sde_fixed"])
def test_coupled_sigma_is_sqrt_of_two_alpha_dt(make_sde, variant: str) -> None:
    sde = make_sde(variant)
    t = torch.rand(6, 1)
    step = sde.transition(torch.randn(6, 4), t, torch.randn(6, 3), 0.2)
    torch.testing.assert_close(step.std, (2 * sde.alpha(step_at(t)) * 0.2).sqrt().expand(6, 4))


@pytest.mark.parametrize("variant", ["reinflow", "constant_alpha", "scoreflow"])
@settings(deadline=None, derandomize=True, max_examples=20)
@given(size=st.floats(0.01, 5.0), bound=st.floats(0.1, 1.0), seed=st.integers(0, 1000))
def test_changing_sigma_leaves_every_mean(make_sde, variant: str, size: float, bound: float, seed: int) -> None:
    sde = make_sde(variant)
    generator = torch.Generator().manual_seed(seed)
    x, observation = torch.randn(8, 4, generator=generator), torch.randn(8, 3, generator=generator)
    t = torch.rand(8, 1, generator=generator)
    before = sde.transition(x, t, observation, 0.25)
    scatter(sde.noise, size, seed)
    sde.noise.sigma_max.fill_(bound)
    after = sde.transition(x, t, observation, 0.25)
    assert not torch.equal(before.std, after.std)
    assert torch.equal(before.mean, after.mean)
    assert all(torch.equal(before.details[name], after.details[name]) for name in before.details)


@pytest.mark.parametrize("noise", ["learn", "constant"])
@settings(deadline=None, derandomize=True, max_examples=20)
@given(size=st.floats(0.1, 5.0), seed=st.integers(0, 1000))
def test_changing_alpha_leaves_every_std(make_sde, noise: str, size: float, seed: int) -> None:
    sde = make_sde("scoreflow", noise={"kind": noise})
    generator = torch.Generator().manual_seed(seed)
    # Inside the mean clip, where a change of the drift can be seen.
    x = 0.3 * torch.randn(8, 4, generator=generator)
    observation = torch.randn(8, 3, generator=generator)
    t = 0.9 * torch.rand(8, 1, generator=generator)
    before = sde.transition(x, t, observation, 0.25)
    scatter(sde.alpha, size, seed)
    after = sde.transition(x, t, observation, 0.25)
    assert not torch.equal(before.mean, after.mean)
    assert torch.equal(before.std, after.std)


def test_drift_is_velocity_plus_alpha_score(make_sde) -> None:
    sde = make_sde("scoreflow", score={"clip": None}, chain={"mean_clip": None})
    x, t, observation = torch.randn(6, 4), 0.9 * torch.rand(6, 1), torch.randn(6, 3)
    velocity = sde.velocity(x, t, observation)
    expected = x + 0.25 * (velocity + sde.alpha(step_at(t)) * (t * velocity - x) / (1 - t))
    torch.testing.assert_close(sde.transition(x, t, observation, 0.25).mean, expected)


def test_logp_reaches_every_network(make_sde) -> None:
    from rllib_scoreflow.flow.distribution import ChainDistribution

    sde = make_sde("scoreflow", chain={"logp_clamp": None, "mean_clip": None})
    distribution = ChainDistribution(sde, torch.randn(8, 3))
    distribution.logp(distribution.sample().detach()).sum().backward()
    for name, parameter in sde.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
