"""What a policy observes: a state vector, or a state vector and camera images.

With cameras an observation is a dictionary `{"state": float32 [..., O], "images": uint8 [..., V, H, W, 3]}`, V cameras
of one size, upright, RGB. Without, it is the float32 array `[..., O]` itself. `tree.map_structure` treats both alike.
"""

from typing import Any, TypeAlias

import numpy as np
import tree
from numpy.typing import NDArray

STATE = "state"
IMAGES = "images"

Float32 = NDArray[np.float32]
Observation: TypeAlias = Float32 | dict[str, NDArray[Any]]


def num_rows(observation: Any) -> int:
    """Length of the first axis of an observation's arrays or tensors."""
    return len(tree.flatten(observation)[0])
