"""Small environments under ids of their own; importing this module registers them."""

import gymnasium as gym
import numpy as np


class Countdown(gym.Env):
    """Counts to a limit drawn at reset; every step is rewarded by its number."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, *, ends_by="terminated", nan_at=None, limit=None):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gym.spaces.Box(-1.0, 2.0, (1,), np.float32)
        self._ends_by, self._nan_at, self._fixed_limit = ends_by, nan_at, limit

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._limit, self._count = self._fixed_limit or int(self.np_random.integers(1, 12)), 0
        return self._observe(), {}

    def step(self, action):
        self._count += 1
        end = self._count >= self._limit
        reward = np.nan if self._count == self._nan_at else float(self._count) + float(action[0])
        terminated, truncated = (end, False) if self._ends_by == "terminated" else (False, end)
        info = {"is_success": end and self._limit % 2 == 0, "episode_metrics": {"limit": self._limit}}
        return self._observe(), reward, terminated, truncated, info

    def _observe(self):
        return np.array([self._count, self._limit], np.float64)


class Shown(Countdown):
    """Shows its count as a grey square."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    frames = 0

    def __init__(self, *, render_mode=None, **options):
        super().__init__(**options)
        self.render_mode = render_mode

    def render(self):
        Shown.frames += 1
        return np.full((32, 32, 3), self._count, np.uint8)


class Unflat(Countdown):
    """Has a two-dimensional observation."""

    def __init__(self):
        super().__init__()
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (2, 2), np.float32)


class Pixels(Shown):
    """Counts before two cameras: the first shows the count in all pixels, the second the limit."""

    def __init__(self, *, without=None, **options):
        super().__init__(**options)
        spaces = {"state": self.observation_space, "images": gym.spaces.Box(0, 255, (2, 4, 6, 3), np.uint8)}
        spaces.pop(without, None)
        self.observation_space = gym.spaces.Dict(spaces)

    def _observe(self):
        images = np.empty((2, 4, 6, 3), np.uint8)
        images[0], images[1] = self._count, self._limit
        return {"state": super()._observe(), "images": images}


class LazyPixels(Pixels):
    """Shows noise after a step whose images nobody wants to see, unless it ends the episode."""

    images_wanted = True
    rendered = 0

    def _observe(self):
        observation = super()._observe()
        if not self.images_wanted and 0 < self._count < self._limit:
            observation["images"][:] = 255
        else:
            self.rendered += 1
        return observation


gym.register("ToyCountdown-v0", Countdown, max_episode_steps=30)
gym.register("ToyEndless-v0", Countdown)
gym.register("ToyShown-v0", Shown, max_episode_steps=500)
gym.register("ToyUnflat-v0", Unflat)
gym.register("ToyPixels-v0", Pixels, max_episode_steps=30)
gym.register("ToyLazyPixels-v0", LazyPixels, max_episode_steps=30)
