"""A reaching task that is learned in seconds; importing this module registers it."""

import gymnasium as gym
import numpy as np

ENV_ID = "toy_reach:ToyReach-v0"
DIM = 2


class Reach(gym.Env):
    """A point is pushed towards a goal; the reward is minus the distance after every step."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self):
        self.observation_space = gym.spaces.Box(-4.0, 4.0, (2 * DIM,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (DIM,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._point, self._goal = self.np_random.uniform(-1.0, 1.0, (2, DIM))
        return self._observe(), {}

    def step(self, action):
        self._point = np.clip(self._point + 0.2 * np.clip(action, -1.0, 1.0), -4.0, 4.0)
        distance = float(np.linalg.norm(self._point - self._goal))
        return self._observe(), -distance, False, False, {"is_success": distance < 0.2}

    def _observe(self):
        return np.concatenate([self._point, self._goal]).astype(np.float32)


class PixelReach(Reach):
    """The same, but the goal is seen by two cameras and not told: the state is the point alone."""

    SIZE = 24

    def __init__(self):
        super().__init__()
        images = gym.spaces.Box(0, 255, (2, self.SIZE, self.SIZE, 3), np.uint8)
        self.observation_space = gym.spaces.Dict(
            {"state": gym.spaces.Box(-4.0, 4.0, (DIM,), np.float32), "images": images}
        )

    def _observe(self):
        images = np.zeros((2, self.SIZE, self.SIZE, 3), np.uint8)
        row, column = ((self._goal + 1.0) / 2.0 * (self.SIZE - 5)).astype(int)
        images[:, row : row + 5, column : column + 5] = 255
        return {"state": self._point.astype(np.float32), "images": images}


class LateReach(Reach):
    """Does something wrong after a number of steps, be they in one episode or in many."""

    def __init__(self, *, fault="raises", at=1000):
        super().__init__()
        self._fault, self._left = fault, at

    def step(self, action):
        observation, reward, *rest = super().step(action)
        self._left -= 1
        if self._left < 0 and self._fault == "raises":
            raise ArithmeticError("the point is lost")
        return (observation if self._left >= 0 else observation[:1]), reward, *rest


class NarrowReach(Reach):
    """Takes a hundredth of the actions."""

    def __init__(self):
        super().__init__()
        self.action_space = gym.spaces.Box(-0.01, 0.01, (DIM,), np.float32)


def demonstrations(episodes: int = 60, steps: int = 20, seed: int = 0) -> dict[str, np.ndarray]:
    """Flat D4RL columns of a sluggish, noisy controller: it reaches, but slowly."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list] = {k: [] for k in ("observations", "actions", "rewards", "terminals", "timeouts")}
    env = Reach()
    for episode in range(episodes):
        observation, _ = env.reset(seed=1000 * seed + episode)
        for step in range(steps):
            towards = observation[DIM:] - observation[:DIM]
            action = np.clip(0.4 * towards + 0.3 * rng.standard_normal(DIM), -1.0, 1.0)
            columns["observations"].append(observation)
            columns["actions"].append(action)
            observation, reward, _, _, _ = env.step(action)
            columns["rewards"].append(reward)
            columns["terminals"].append(False)
            columns["timeouts"].append(step == steps - 1)
    return {name: np.asarray(values) for name, values in columns.items()}


gym.register("ToyReach-v0", Reach, max_episode_steps=20)
gym.register("PixelReach-v0", PixelReach, max_episode_steps=20)
gym.register("EndlessReach-v0", Reach)
gym.register("LateReach-v0", LateReach, max_episode_steps=20)
gym.register("NarrowReach-v0", NarrowReach, max_episode_steps=20)
