"""The space of what a policy observes."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Space

from rllib_scoreflow.interface import ImageShape
from rllib_scoreflow.observations import IMAGES, STATE


def observation_space(observation_dim: int, image_shape: ImageShape | None = None) -> Space[Any]:
    """Return the space of one observation: any float32 `[O]`, with images (`[V, H, W, 3]`) a dictionary of both."""
    state = Box(-np.inf, np.inf, (observation_dim,), np.float32)
    return state if image_shape is None else Dict({STATE: state, IMAGES: Box(0, 255, image_shape, np.uint8)})
