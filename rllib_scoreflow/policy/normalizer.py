"""Min-max normalisation that belongs to the policy and travels with its weights."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

_SMALLEST_RANGE = 1e-6


class MinMaxNormalizer(nn.Module):
    """Maps `[low, high]` of the dataset to `[-1, 1]`, dimension by dimension.

    A dimension whose range is below 1e-6 (a constant goal, a padded zero) is only centred.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]) -> None:
        """Takes the dataset's per-dimension minimum and maximum, float32 `[D]` each."""
        super().__init__()
        self.register_buffer("low", torch.as_tensor(np.array(low, dtype=np.float32)))
        self.register_buffer("high", torch.as_tensor(np.array(high, dtype=np.float32)))

    def _half_range(self) -> torch.Tensor:
        half = 0.5 * (self.high - self.low)
        return torch.where(half < 0.5 * _SMALLEST_RANGE, torch.ones_like(half), half)

    def normalize(self, values: torch.Tensor) -> torch.Tensor:
        """Raw units to `[-1, 1]` (beyond it outside the dataset's range); shape `[B, D]` or `[B, H * D]`."""
        return ((self._by_dimension(values) - self._middle()) / self._half_range()).view_as(values)

    def denormalize(self, values: torch.Tensor) -> torch.Tensor:
        """`[-1, 1]` to raw units; shape `[B, D]` or `[B, H * D]`."""
        return (self._by_dimension(values) * self._half_range() + self._middle()).view_as(values)

    def _by_dimension(self, values: torch.Tensor) -> torch.Tensor:
        return values.reshape(values.shape[0], -1, self.low.shape[0])

    def _middle(self) -> torch.Tensor:
        return 0.5 * (self.high + self.low)
