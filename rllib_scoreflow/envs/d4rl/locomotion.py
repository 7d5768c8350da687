"""D4RL's ant: Ant-v4's 27 numbers and 84 contact forces, which D4RL recorded as zeros."""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

ANT_ENV_ID = "Ant-v4"
ANT_OBSERVATION_DIM = 111


class PadObservation(gym.ObservationWrapper[NDArray[np.float64], Any, NDArray[np.float64]]):
    """An environment whose observations, float64 `[n]`, are followed by zeros up to a length of `observation_dim`."""

    def __init__(self, env: gym.Env[NDArray[np.float64], Any], observation_dim: int) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, gym.spaces.Box)
        self._zeros = np.zeros(observation_dim - space.shape[0])
        low, high = self.observation(space.low), self.observation(space.high)
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float64)

    def observation(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        """The padded observation."""
        return np.concatenate([observation, self._zeros])
