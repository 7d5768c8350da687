"""Checking the environment id before Ray starts."""

import importlib
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.suggest import hint


def check_env(env: Any, where: str) -> None:
    """Check that an environment id is known; nothing is constructed.

    Args:
        env: an id registered with Gymnasium or Tune, ``module:EnvId``, a dotted class path, a D4RL
            dataset id, or None or a class (neither is checked).
        where: the start of the message.

    Raises:
        InputError: the id is unknown (the nearest one is given), or its module raises an exception.
    """
    import gymnasium as gym

    from rllib_scoreflow.algorithms.common.ray_adapter import is_registered_env
    from rllib_scoreflow.envs.resolve import import_env_module

    if not isinstance(env, str) or is_registered_env(env):
        return
    if _is_class_path(env):
        return
    module, _, name = env.rpartition(":")
    try:
        if module:
            import_env_module(module, env)
        gym.spec(name)
    except InputError as error:
        raise InputError(f"{where}: {error}.") from error
    except gym.error.Error:
        remedy = _remedy(name, list(gym.registry))
        raise InputError(f"{where}: unknown environment {quote(env)}; {remedy}") from None


def _remedy(env: str, known: list[str]) -> str:
    text = hint(env, known)
    return text if text.startswith("did") else "give an id registered with Gymnasium, or module:EnvId."


def _is_class_path(env: str) -> bool:
    module, _, name = env.rpartition(".")
    if not module or not module.replace(".", "").isidentifier() or not name.isidentifier():
        return False
    try:
        return hasattr(importlib.import_module(module), name)
    except Exception:  # what it raises is told where the id is taken for one of Gymnasium's
        return False
