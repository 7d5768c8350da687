"""Exponential moving average of weights."""

from collections.abc import Iterable

import torch


class ExponentialMovingAverage:
    """Average `e <- decay * e + (1 - decay) * w`, a plain copy during the warm-up.

    Attributes:
        values: Averaged tensors, in the order of the parameters.
        num_updates: Number of `update` calls so far.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], decay: float = 0.995, warmup_steps: int = 0) -> None:
        """Starts from a copy of `parameters`."""
        self.decay = decay
        self.warmup_steps = warmup_steps
        self.values = [p.detach().clone() for p in parameters]
        self.num_updates = 0

    @torch.no_grad()
    def update(self, parameters: Iterable[torch.Tensor]) -> None:
        """Moves the average one step towards `parameters`."""
        self.num_updates += 1
        weight = 1.0 if self.num_updates <= self.warmup_steps else 1.0 - self.decay
        torch._foreach_lerp_(self.values, [p.detach() for p in parameters], weight)

    @torch.no_grad()
    def copy_to(self, parameters: Iterable[torch.Tensor]) -> None:
        """Overwrites `parameters` with the average."""
        for parameter, value in zip(parameters, self.values, strict=True):
            parameter.copy_(value)
