"""Layers whose passes in reduced precision are written out, for torch is slow or rounds there (`flow.precision`)."""

from typing import Any

import torch
from torch import nn

from rllib_scoreflow.flow.precision import full_precision

_ROWS_AT_ONCE = 1024  # of a float32 copy that stays in the cache
_LINEAR_FROM = 20.0  # where mish(x) is x in float32


class OutputLayer(nn.Linear):
    """A linear layer in float32, whatever precision the layers in front of it have.

    It is cheap, and a rounded velocity would hide what a gradient step changes. Its gradients have the precision of the
    layers that they go to.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, output_dim]`, float32."""
        with full_precision(x.device):
            if x.dtype == self.weight.dtype:
                return super().forward(x)
            out: torch.Tensor = _Float32Output.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return out


class Mish(nn.Module):
    """Mish, `x tanh(softplus(x))`, by torch.

    In bfloat16 it is `x n / (n + 2)` with `n = e^x (e^x + 2)`, the same function: one transcendental function in place
    of three, computed in float32. Torch's takes as long as a layer of 256.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape and dtype as `x`."""
        if x.dtype != torch.bfloat16:
            return nn.functional.mish(x)
        out: torch.Tensor = _RoundedMish.apply(x)  # type: ignore[no-untyped-call]
        return out


class _Float32Output(torch.autograd.Function):
    """Of a rounded input; nothing of its size is kept or handed back in float32."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        parts = [nn.functional.linear(part.to(weight.dtype), weight, bias) for part in torch.split(x, _ROWS_AT_ONCE)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        rounded = gradient.to(x.dtype)
        return rounded @ weight.to(x.dtype), (rounded.T @ x).to(weight.dtype), gradient.sum(0)


class _RoundedMish(torch.autograd.Function):
    """With `d = n + 2` the derivative is `n / d + 4 x e^x (1 + e^x) / d^2`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        exact = x.float()
        e = exact.clamp(max=_LINEAR_FROM).exp_()
        n = (e + 2.0).mul_(e)
        d = n + 2.0
        share = n.div_(d)
        if ctx.needs_input_grad[0]:
            # Now, for everything that it is made of is there.
            slope = e.addcmul_(e, e).mul_(exact).mul_(4.0).div_(d).div_(d).add_(share)
            ctx.save_for_backward(slope.to(x.dtype))
        out: torch.Tensor = exact.mul_(share).to(x.dtype)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (slope,) = ctx.saved_tensors
        out: torch.Tensor = gradient * slope
        return out
