"""Checking the environment before Ray starts, and telling RLlib how to make one that is named by its code."""

import functools
from collections.abc import Mapping
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.checks.algorithms import register_own
from rllib_scoreflow.suggest import nearest

# Parts of ids, the package that has them, and its module that registers them.
_PACKAGES = {
    "ALE/": ("ale-py", "ale_py"),
    "NoFrameskip": ("ale-py", "ale_py"),
    "dm_control/": ("shimmy[dm-control]", "shimmy"),
    "BulletEnv": ("pybullet", "pybullet_envs"),
}


def require_env(env: Any, config: Any, algorithm: type[Any], where: str) -> None:
    """Refuse an experiment that says neither where it acts nor between which spaces.

    Args:
        env: what it names as its environment.
        config: its AlgorithmConfig, of a Python file, or None.
        algorithm: its Algorithm class, one of RLlib's.
        where: the start of the message.

    Raises:
        InputError: see above.
    """
    if env is not None or (config is not None and (config.env or config.observation_space)):
        return
    raise InputError(f"{where}: {algorithm.__name__} needs an environment; give `env: ID`, or the option --env ID.")


def check_env(env: Any, where: str) -> None:
    """Check that an environment is known; nothing is constructed.

    What is named by its code is registered with Ray under the text that names it, so that every process makes it so.

    Args:
        env: an id registered with Gymnasium or Tune, code as `envs.classes` names it, or None or a class (neither is
            checked).
        where: the start of the message.

    Raises:
        InputError: the id is unknown (the nearest one is given), or its module raises an exception.
    """
    import gymnasium as gym
    from ray.tune import register_env

    from rllib_scoreflow.algorithms.common.ray_adapter import is_registered_env
    from rllib_scoreflow.envs.classes import find_code, make_env

    if not isinstance(env, str) or env in gym.registry or is_registered_env(env):
        return
    register_own()
    try:
        code = find_code(env)
    except InputError as error:
        raise InputError(f"{where}: {error}.") from error
    if code is not None and (code.found is not None or code.name not in gym.registry or ".py:" in env):
        register_env(env, functools.partial(make_env, env))
    if code is not None:
        return
    try:
        gym.spec(env)
    except gym.error.Error:
        raise InputError(f"{where}: unknown environment {quote(env)}; {_remedy(env, list(gym.registry))}") from None


def find_fault(env: Any, env_config: Mapping[str, Any]) -> str | None:
    """Make the environment of a run that has failed once more, here: RLlib loses what it raises in an EnvRunner.

    Args:
        env: the environment of an AlgorithmConfig.
        env_config: its keyword arguments.

    Returns:
        What its constructor raises, on one line; None where it can be made, or there is none.
    """
    import gymnasium as gym
    from ray.rllib.env.env_context import EnvContext

    from rllib_scoreflow.algorithms.common.ray_adapter import find_registered_env
    from rllib_scoreflow.envs.contract import close_env, reason_of

    if env is None:
        return None
    context = EnvContext(dict(env_config), worker_index=1)
    try:
        creator = find_registered_env(env) if isinstance(env, str) else env
        made = gym.make(env, **env_config) if creator is None else creator(context)
    except (Exception, SystemExit) as error:
        return reason_of(error)
    close_env(made, str(env))
    return None


def _remedy(env: str, known: list[str]) -> str:
    package, module = next((found for part, found in _PACKAGES.items() if part in env), (None, None))
    if package is not None:
        return f"it comes with the package {package}: install that, and give {module}:{env}."
    near = nearest(env, known)
    if near is not None:
        return f"did you mean {near!r}?"
    return "give an id registered with Gymnasium, module:Id, a class's dotted path, or file.py:Class."
