"""Connectors that do now what earlier RLlib did by itself. RLlib calls these functions in each EnvRunner."""

from typing import Any


def filter_by_mean_and_std(env: Any = None, spaces: Any = None, device: Any = None) -> list[Any]:
    """RLlib's connector for ``observation_filter: MeanStdFilter``, behind that of `flatten`.

    Args:
        env: the vector environment, or None.
        spaces: its spaces, or None.
        device: where the RLModule is.
    """
    from ray.rllib.connectors.env_to_module import MeanStdFilter

    return [*flatten(env, spaces, device), MeanStdFilter(multi_agent=False)]


def filter_each_agent_by_mean_and_std(env: Any = None, spaces: Any = None, device: Any = None) -> list[Any]:
    """As `filter_by_mean_and_std`, of several agents.

    Args:
        env: the vector environment, or None.
        spaces: its spaces, or None.
        device: where the RLModule is.
    """
    from ray.rllib.connectors.env_to_module import MeanStdFilter

    return [*flatten_each_agent(env, spaces, device), MeanStdFilter(multi_agent=True)]


def flatten(env: Any = None, spaces: Any = None, device: Any = None) -> list[Any]:
    """RLlib's connector that flattens observations (a discrete one to one-hot), where they are no box.

    Preprocessors did so; the networks of the new API stack take boxes alone.

    Args:
        env: the vector environment, or None.
        spaces: its spaces, or None.
        device: where the RLModule is.
    """
    return _flatten([_observation_space(env, spaces)], multi_agent=False)


def flatten_each_agent(env: Any = None, spaces: Any = None, device: Any = None) -> list[Any]:
    """As `flatten`, of several agents.

    Args:
        env: the vector environment, or None.
        spaces: its spaces, or None.
        device: where the RLModule is.
    """
    space = _observation_space(env, spaces)
    return _flatten(list(getattr(space, "spaces", {}).values()), multi_agent=True)


def _observation_space(env: Any, spaces: Any) -> Any:
    from ray.rllib.env import INPUT_ENV_SINGLE_SPACES

    if env is not None:
        return getattr(env, "single_observation_space", None) or env.observation_space
    return None if not spaces or INPUT_ENV_SINGLE_SPACES not in spaces else spaces[INPUT_ENV_SINGLE_SPACES][0]


def _flatten(found: list[Any], *, multi_agent: bool) -> list[Any]:
    import gymnasium as gym
    from ray.rllib.connectors.env_to_module import FlattenObservations

    if all(space is None or isinstance(space, gym.spaces.Box) for space in found):
        return []
    return [FlattenObservations(multi_agent=multi_agent)]
