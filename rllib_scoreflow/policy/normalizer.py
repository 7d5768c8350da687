"""Min-max normalisation that belongs to the policy and travels with its weights."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

# A dimension that only trembles in the data (a joint at rest) would turn noise in the simulator into thousands.
_SMALLEST_RANGE = 1e-3


class MinMaxNormalizer(nn.Module):
    """Maps `[low, high]` of the dataset to `[-1, 1]`, dimension by dimension.

    A dimension whose range is below 1e-3 (a constant goal, a padded zero, a joint at rest) is only centred.
    """

    low: torch.Tensor
    high: torch.Tensor
    middle: torch.Tensor
    half_range: torch.Tensor
    least: torch.Tensor
    greatest: torch.Tensor

    def __init__(self, low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]) -> None:
        """Takes the dataset's per-dimension minimum and maximum, float32 `[D]` each."""
        super().__init__()
        self.register_buffer("low", torch.as_tensor(np.array(low, dtype=np.float32)))
        self.register_buffer("high", torch.as_tensor(np.array(high, dtype=np.float32)))
        self.register_buffer("middle", torch.empty_like(self.low), persistent=False)
        self.register_buffer("half_range", torch.empty_like(self.low), persistent=False)
        self.register_buffer("least", torch.empty_like(self.low), persistent=False)
        self.register_buffer("greatest", torch.empty_like(self.low), persistent=False)
        self.refresh()
        self.register_load_state_dict_post_hook(_refresh_after_load)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def refresh(self) -> None:
        """Computes what follows from the present bounds; called whenever a state is loaded."""
        half = 0.5 * (self.high - self.low)
        narrow = half < 0.5 * _SMALLEST_RANGE
        self.half_range.copy_(torch.where(narrow, torch.ones_like(half), half))
        self.middle.copy_(0.5 * (self.high + self.low))
        self.least.copy_(torch.where(narrow, self.middle - 1.0, self.low))
        self.greatest.copy_(torch.where(narrow, self.middle + 1.0, self.high))

    def normalize(self, values: torch.Tensor) -> torch.Tensor:
        """Raw units to `[-1, 1]` (beyond it outside the dataset's range); shape `[B, D]` or `[B, H * D]`."""
        return ((self._by_dimension(values) - self.middle) / self.half_range).view_as(values)

    def denormalize(self, values: torch.Tensor) -> torch.Tensor:
        """`[-1, 1]` to raw units; shape `[B, D]` or `[B, H * D]`."""
        return (self._by_dimension(values) * self.half_range + self.middle).view_as(values)

    def denormalize_within(self, values: torch.Tensor) -> torch.Tensor:
        """As `denormalize`, of values in `[-1, 1]`; what rounding carries out of the dataset's range is clipped."""
        raw = self._by_dimension(values) * self.half_range + self.middle
        return torch.minimum(torch.maximum(raw, self.least), self.greatest).view_as(values)

    def _by_dimension(self, values: torch.Tensor) -> torch.Tensor:
        return values.reshape(values.shape[0], -1, self.low.shape[0])


def _refresh_after_load(module: nn.Module, incompatible_keys: object) -> None:
    assert isinstance(module, MinMaxNormalizer)
    module.refresh()
