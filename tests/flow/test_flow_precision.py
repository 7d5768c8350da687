"""Networks' passes in bfloat16 on weights, log-probabilities and losses in float32."""

import pytest
import torch

from rllib_scoreflow.flow.alpha import Alpha
from rllib_scoreflow.flow.config import NoiseConfig, ScoreConfig, VelocityConfig
from rllib_scoreflow.flow.fields import make_field
from rllib_scoreflow.flow.fields.layers import Mish, OutputLayer
from rllib_scoreflow.flow.kernel import Step
from rllib_scoreflow.flow.losses import flow_matching_error
from rllib_scoreflow.flow.noise import NoiseNetwork
from rllib_scoreflow.flow.path import LINEAR
from rllib_scoreflow.flow.precision import network_passes

CPU = torch.device("cpu")


def batch(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn((rows, width), generator=generator) for width in (12, 12, 11)], torch.rand(
        (rows, 1), generator=generator
    )


@pytest.mark.parametrize("kind", ["flow", "shortcut"])
def test_a_velocity_is_float32_and_about_that_of_full_precision(kind):
    torch.manual_seed(0)
    field = make_field(11, (4, 3), VelocityConfig(hidden_dim=256, kind=kind))
    (x, _, observation), t = batch(64)
    exact = field(x, t, observation, 0.25)
    with network_passes("bfloat16", CPU):
        rounded = field(x, t, observation, 0.25)
    assert rounded.dtype == torch.float32
    assert 0.0 < float((rounded - exact).abs().max()) < 0.02 * float(exact.abs().max())


def test_float32_changes_nothing():
    field = make_field(11, (4, 3), VelocityConfig(hidden_dim=32))
    (x, _, observation), t = batch(8)
    exact = field(x, t, observation)
    with network_passes("float32", CPU):
        assert torch.equal(field(x, t, observation), exact)


def test_the_output_layer_keeps_what_bfloat16_would_round_away():
    """A change of the last bias by 1e-4 of the velocity is seen as it is: PPO's ratio is made of such changes."""
    field = make_field(11, (4, 3), VelocityConfig(hidden_dim=64))
    (x, _, observation), t = batch(16)
    with torch.no_grad(), network_passes("bfloat16", CPU):
        before = field(x, t, observation)
        field.trunk[-1].bias += 1e-4
        torch.testing.assert_close(field(x, t, observation) - before, torch.full_like(before, 1e-4), rtol=2e-3, atol=0)


def test_alpha_is_computed_in_float32():
    alpha, step = Alpha(ScoreConfig(value=0.3)), Step.on(LINEAR, torch.rand(32, 1), 0.25)
    exact = alpha(step)
    with network_passes("bfloat16", CPU):
        assert torch.equal(alpha(step), exact)


def test_sigma_is_float32_within_its_bounds():
    noise = NoiseNetwork(16, 11, 12, NoiseConfig(sigma_min=0.1, sigma_max=0.2))
    with network_passes("bfloat16", CPU):
        sigma = noise(torch.randn(32, 16), torch.randn(32, 11))
    assert sigma.dtype == torch.float32
    assert bool(((sigma >= 0.1) & (sigma <= 0.2)).all())


def test_gradients_and_weights_stay_float32_and_point_the_same_way():
    torch.manual_seed(0)
    field = make_field(11, (4, 3), VelocityConfig(hidden_dim=128))
    (chunk, noise, observation), t = batch(128)
    gradients = {}
    for precision in ("float32", "bfloat16"):
        field.zero_grad()
        with network_passes(precision, CPU):
            loss = flow_matching_error(field, observation, chunk, noise, t).mean()
        loss.backward()
        assert loss.dtype == torch.float32
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in field.parameters())
        gradients[precision] = torch.nn.utils.parameters_to_vector([p.grad for p in field.parameters()])
    cosine = torch.nn.functional.cosine_similarity(gradients["float32"], gradients["bfloat16"], dim=0)
    assert 0.999 < float(cosine) < 1.0


def test_a_row_does_not_depend_on_the_rows_beside_it():
    """So that a log-probability that the Learner has computed once is that of every minibatch."""
    field = make_field(11, (4, 3), VelocityConfig(hidden_dim=256))
    (x, _, observation), t = batch(512)
    with torch.no_grad(), network_passes("bfloat16", CPU):
        whole = field(x, t, observation)
        for rows in (16, 100, 333):
            part = torch.randperm(512, generator=torch.Generator().manual_seed(rows))[:rows]
            assert torch.equal(field(x[part], t[part], observation[part]), whole[part])


def test_mish_of_rounded_inputs_is_mish_and_its_derivative():
    """Everywhere, to what bfloat16 holds: against float64's, computed from its definition."""
    x = torch.cat([torch.linspace(-40.0, 40.0, 4001), torch.tensor([-1e4, -19.9, 19.9, 20.1, 1e4])]).bfloat16()
    x.requires_grad_(True)
    value = Mish()(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    exact = x.detach().double().requires_grad_(True)
    expected = exact * torch.tanh(torch.nn.functional.softplus(exact, threshold=1e3))
    (expected_slope,) = torch.autograd.grad(expected.sum(), exact)
    assert value.dtype == slope.dtype == torch.bfloat16
    torch.testing.assert_close(value.double(), expected.detach(), rtol=2**-8, atol=1e-30)
    torch.testing.assert_close(slope.double(), expected_slope, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("rows", [5, 3000])
def test_the_output_layer_is_exact_on_rounded_inputs_and_its_gradients_are_rounded_once(rows):
    layer = OutputLayer(64, 3)
    x = torch.randn(rows, 64).bfloat16().requires_grad_(True)
    error = torch.randn(rows, 3)
    with network_passes("bfloat16", CPU):
        out = layer(x)
    out.backward(error)
    assert out.dtype == layer.weight.grad.dtype == layer.bias.grad.dtype == torch.float32
    torch.testing.assert_close(out, x.detach().float() @ layer.weight.T + layer.bias, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.bias.grad, error.sum(0), rtol=1e-5, atol=1e-4)
    scale = float(layer.weight.grad.abs().max())
    torch.testing.assert_close(layer.weight.grad, error.T @ x.detach().float(), rtol=0, atol=2**-7 * scale)
    torch.testing.assert_close(
        x.grad.float(), error @ layer.weight.detach(), rtol=0, atol=2**-7 * float(error.abs().max())
    )


def test_without_a_gradient_a_frozen_output_layer_hands_back_that_of_its_input_alone():
    layer = OutputLayer(8, 2).requires_grad_(False)
    x = torch.randn(4, 8).bfloat16().requires_grad_(True)
    with network_passes("bfloat16", CPU):
        layer(x).sum().backward()
    torch.testing.assert_close(
        x.grad, layer.weight.bfloat16().float().sum(0).expand(4, -1).bfloat16(), rtol=2**-7, atol=1e-3
    )
