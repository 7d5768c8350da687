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


class Faulty(Countdown):
    """Breaks gymnasium's contract in one way, from one step on."""

    def __init__(self, *, fault=None, at=1, space=None, limit=8):
        if fault == "constructor raises":
            raise LookupError("no license\nfor this simulator")
        super().__init__(limit=limit)
        self._fault, self._at = fault, at
        if space is not None:
            self.observation_space = space

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        faults = {"reset without info": observation, "reset of one number": (observation[:1], info)}
        if self._fault == "reset raises":
            raise OSError("the robot is off")
        return faults.get(self._fault, (observation, info))

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self._count < self._at or self._fault is None:
            return observation, reward, terminated, truncated, info
        if self._fault == "step raises":
            raise ArithmeticError("joint 3 has left its socket")
        if self._fault == "step exits":
            raise SystemExit(0)
        if self._fault == "four values":
            return observation, reward, terminated, info
        changed = {
            "observation of one number": {0: observation[:1]},
            "observation of another rank": {0: observation[None]},
            "observation of text": {0: ["1", "2"]},
            "observation is None": {0: None},
            "reward of one": {1: np.array([reward])},
            "reward of two": {1: np.array([reward, reward])},
            "reward is None": {1: None},
            "reward is text": {1: "1.0"},
            "reward is NaN": {1: float("nan")},
            "flags of numpy": {2: np.bool_(terminated), 3: np.array([truncated])},
            "flags of int": {2: int(terminated), 3: int(truncated)},
            "terminated is None": {2: None},
            "terminated is text": {2: "no"},
            "info is None": {4: None},
            "success of one": {4: info | {"success": np.array([terminated])}},
            "success of two": {4: info | {"success": np.array([terminated, terminated])}},
            "success is text": {4: info | {"success": "yes"}},
            "metrics are a list": {4: info | {"episode_metrics": [1.0]}},
            "metric of two": {4: info | {"episode_metrics": {"limit": [1.0, 2.0]}}},
        }.get(self._fault, {})
        result = [observation, reward, terminated, truncated, info]
        for place, value in changed.items():
            result[place] = value
        return tuple(result)

    def close(self):
        if self._fault == "close raises":
            raise OSError("already closed")


class OldReset(Countdown):
    """Has the reset of gym before 0.26."""

    def reset(self):
        return super().reset()[0]


class OtherEveryTime(Countdown):
    """Has one more number to observe every time that it is made."""

    made = 0

    def __init__(self):
        super().__init__()
        OtherEveryTime.made += 1
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (OtherEveryTime.made,), np.float32)


class WithoutSpaces(gym.Env):
    """Sets no spaces."""


class Strict(Countdown):
    """Dies of an action outside its space."""

    def __init__(self, *, low=-1.0, high=2.0, size=1, dtype="float32"):
        super().__init__()
        low, high = (np.broadcast_to(np.asarray(bound, dtype), (size,)) for bound in (low, high))
        self.action_space = gym.spaces.Box(low, high, dtype=np.dtype(dtype).type)

    def step(self, action):
        assert self.action_space.contains(action), action
        return super().step(action)


class BrieflySuccessful(Countdown):
    """Succeeds in the second step only, and says so in every step."""

    def step(self, action):
        *result, info = super().step(action)
        return *result, info | {"success": self._count == 2, "is_success": False}


gym.register("ToyFaulty-v0", Faulty, max_episode_steps=30)
gym.register("ToyOldReset-v0", OldReset, max_episode_steps=30)
gym.register("ToyOther-v0", OtherEveryTime, max_episode_steps=30)
gym.register("ToyWithoutSpaces-v0", WithoutSpaces, max_episode_steps=30)
gym.register("ToyStrict-v0", Strict, max_episode_steps=30)
gym.register("ToyBriefly-v0", BrieflySuccessful, max_episode_steps=30)
gym.register("ToyCountdown-v0", Countdown, max_episode_steps=30)
gym.register("ToyEndless-v0", Countdown)
gym.register("ToyShown-v0", Shown, max_episode_steps=500)
gym.register("ToyUnflat-v0", Unflat)
gym.register("ToyPixels-v0", Pixels, max_episode_steps=30)
gym.register("ToyLazyPixels-v0", LazyPixels, max_episode_steps=30)
