"""The option `env`: an id, and why not a class or a function."""

from typing import Any

import gymnasium as gym

from rllib_scoreflow.algorithms.common.ray_adapter import is_registered_env
from rllib_scoreflow.data.catalog import D4RL_DATASETS
from rllib_scoreflow.envs.classes import names_code
from rllib_scoreflow.errors import InputError, shorten

_REMEDY = (
    "EnvRunners, evaluations and the exported policy find an environment by its id, so register it by "
    'gymnasium.register(id="Mine-v0", entry_point=...) in a module and give "module:Mine-v0"'
)


def check_env_option(env: Any) -> None:
    """Refuses what is no id of an environment that Gymnasium knows.

    Args:
        env: The option's value.

    Raises:
        InputError: It is a class or another object, or a name that only `tune.register_env` has.
    """
    if env is None:
        return
    if not isinstance(env, str):
        name = getattr(env, "__name__", None) or type(env).__name__
        raise InputError(f"Option 'env' is {shorten(str(name), 60)}, which is no id: {_REMEDY}.")
    if env in D4RL_DATASETS or names_code(env) or env.rpartition(":")[2] in gym.registry:
        return
    if is_registered_env(env):
        raise InputError(f"Option 'env' is '{env}', which is registered with Ray Tune only: {_REMEDY}.")
