"""Precision of the networks' passes; weights, optimisers, log-probabilities and losses are float32 whatever it is."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

Precision = Literal["float32", "bfloat16"]


def network_passes(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """A context in which matrix products and convolutions are computed in `precision`, on weights that stay float32.

    The networks hand out float32, so that all that follows them, transitions, log-probabilities and losses, is
    computed in it (torch's automatic mixed precision; bfloat16 has float32's range, so no loss scaling is needed).
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """A context for what is computed in the precision of its weights within `network_passes`, too."""
    # Entering torch's context where there is nothing to leave costs as much as a small layer.
    if not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
