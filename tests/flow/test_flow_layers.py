"""Layers written out for bfloat16 against torch's in float64."""

import pytest
import torch
from torch import nn

from rllib_scoreflow.flow.fields.layers import Mish, OutputLayer

BFLOAT16_STEP = 2.0**-8


def test_mish_in_bfloat16_is_rounded_mish_with_its_derivative() -> None:
    x = torch.cat([torch.linspace(-60.0, 100.0, 4001), torch.tensor([-1e4, 1e4, 19.9, 20.1])])
    rounded = x.to(torch.bfloat16).requires_grad_()
    exact = rounded.detach().double().requires_grad_()
    ours, theirs = Mish()(rounded), nn.functional.mish(exact)
    assert ours.dtype == torch.bfloat16
    ours.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(ours.double(), theirs, rtol=2 * BFLOAT16_STEP, atol=1e-12)
    assert rounded.grad is not None
    torch.testing.assert_close(rounded.grad.double(), exact.grad, rtol=2 * BFLOAT16_STEP, atol=1e-6)


def test_mish_in_float32_is_torchs() -> None:
    x = torch.linspace(-10.0, 10.0, 101)
    assert torch.equal(Mish()(x), nn.functional.mish(x))


@pytest.mark.parametrize("rows", [1, 1024, 2500])
def test_the_output_layer_is_float32_behind_bfloat16(rows: int) -> None:
    torch.manual_seed(0)
    layer = OutputLayer(32, 5)
    x = torch.randn(rows, 32).to(torch.bfloat16).requires_grad_()
    exact = x.detach().double().requires_grad_()
    weight, bias = (parameter.detach().double().requires_grad_() for parameter in (layer.weight, layer.bias))
    out = layer(x)
    reference = nn.functional.linear(exact, weight, bias)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), reference, rtol=1e-5, atol=1e-5)
    slopes = torch.randn(rows, 5)
    (out * slopes).sum().backward()
    (reference * slopes).sum().backward()
    for ours, theirs in ((x, exact), (layer.weight, weight), (layer.bias, bias)):
        assert ours.grad is not None
        scale = float(theirs.grad.abs().max())  # rounded terms cancel, so that small sums are relatively worse
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=0.02, atol=0.02 * scale)
