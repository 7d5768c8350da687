"""Exponential moving average of weights."""

from collections.abc import Iterable

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class ExponentialMovingAverage:
    """Average `e <- decay * e + (1 - decay) * w` per step, a plain copy during the warm-up.

    It is moved every `interval` steps, by as much as `interval` steps towards the weights of that moment: an average
    over hundreds of steps does not see the difference, and a small network's step takes not much longer than a pass
    over its weights. (`torch.optim.swa_utils.AveragedModel` gives the same numbers in 2.6 times the time, and would
    need the warm-up and the interval around it all the same.)

    Attributes:
        values: Averaged tensors, in the order of the parameters.
        num_steps: Number of `step` calls so far.
    """

    def __init__(
        self, parameters: Iterable[torch.Tensor], decay: float = 0.995, warmup_steps: int = 0, interval: int = 1
    ) -> None:
        """Starts from a copy of `parameters`."""
        self.decay = decay
        self.warmup_steps = warmup_steps
        self.interval = interval
        self.values = [p.detach().clone() for p in parameters]
        self.num_steps = 0
        self._pending_steps = 0

    def step(self, parameters: Iterable[torch.Tensor]) -> None:
        """Counts a step; every `interval` of them moves the average towards `parameters`."""
        self.num_steps += 1
        self._pending_steps += 1
        if self._pending_steps == self.interval:
            self.catch_up(parameters)

    def catch_up(self, parameters: Iterable[torch.Tensor]) -> None:
        """Moves the average by the steps since it was last moved."""
        kept = 0.0 if self.num_steps <= self.warmup_steps else self.decay**self._pending_steps
        self._pending_steps = 0
        average = get_ema_multi_avg_fn(kept)  # type: ignore[no-untyped-call]
        average(self.values, [p.detach() for p in parameters], self.num_steps)

    @torch.no_grad()
    def copy_to(self, parameters: Iterable[torch.Tensor]) -> None:
        """Overwrites `parameters` with the average."""
        for parameter, value in zip(parameters, self.values, strict=True):
            parameter.copy_(value)
