"""An environment class with a time limit of its own, for RLlib, which gives one to Gymnasium's ids only."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from rllib_scoreflow.envs.classes import make_env

ENV, MAX_EPISODE_STEPS = "env", "max_episode_steps"


class TimeLimited(gym.wrappers.TimeLimit):  # type: ignore[type-arg]
    """An environment named by its code, truncated after a number of steps.

    Args:
        context: `env`, what `classes.find_code` takes, and `max_episode_steps`; all else is for the class.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        inner = context.copy() if hasattr(context, "copy") else dict(context)  # RLlib's has attributes too
        path, steps = inner.pop(ENV), inner.pop(MAX_EPISODE_STEPS)
        super().__init__(make_env(path, inner), max_episode_steps=steps)
