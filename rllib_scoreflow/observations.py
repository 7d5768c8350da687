"""What a policy observes: a state vector, or a state vector and camera images.

With cameras an observation is a dictionary `{"state": float32 [..., O], "images": uint8 [..., V, H, W, 3]}`, V cameras
of one size, upright, RGB. Without, it is the float32 array `[..., O]` itself.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

STATE = "state"
IMAGES = "images"

Float32 = NDArray[np.float32]
Observation: TypeAlias = Float32 | dict[str, NDArray[Any]]


def map_observation(function: Callable[..., Any], *observations: Any) -> Any:
    """Applies `function` to the array, or to the arrays of every entry; several observations go side by side.

    Args:
        function: Takes one array (or tensor) of each observation.
        observations: All arrays, or all dictionaries with the same entries.
    """
    first = observations[0]
    if isinstance(first, dict):
        return {name: function(*(observation[name] for observation in observations)) for name in first}
    return function(*observations)


def num_rows(observation: Any) -> int:
    """Length of the first axis of an observation's arrays or tensors."""
    first = next(iter(observation.values())) if isinstance(observation, dict) else observation
    return len(first)
