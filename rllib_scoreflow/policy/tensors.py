"""The one way from an environment's arrays to the tensors that the networks see."""

from typing import Any

import numpy as np
import torch
import tree

from rllib_scoreflow.observations import Observation


def to_tensors(observation: Observation, device: torch.device | None) -> Any:
    """An observation's arrays as tensors on `device`: state float32, images uint8 until the network looks at them.

    Args:
        observation: State `[B, O]`, or the dictionary of `state` and `images [B, V, H, W, 3]`.
        device: None: the CPU.
    """

    def convert(array: Any) -> torch.Tensor:
        return torch.as_tensor(
            array if array.dtype == np.uint8 else array.astype(np.float32, copy=False), device=device
        )

    return tree.map_structure(convert, observation)
