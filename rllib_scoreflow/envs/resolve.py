"""From an id to the environment that stands behind it."""

import importlib
from dataclasses import dataclass

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from rllib_scoreflow.data.catalog import D4RL_DATASETS
from rllib_scoreflow.envs.contract import reason_of
from rllib_scoreflow.envs.d4rl.kitchen import KITCHEN_TASKS, require_kitchen
from rllib_scoreflow.envs.d4rl.locomotion import ANT_ENV_ID, ANT_OBSERVATION_DIM
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.suggest import similar


@dataclass(frozen=True)
class EnvSource:
    """The environment behind an id.

    Attributes:
        requested_id: what the user wrote: a D4RL dataset id, a gymnasium id or "module:EnvId".
        env_id: the gymnasium id.
        spec: gymnasium's registration of it.
        padded_observation_dim: length to which observations are padded with zeros, None = as is.
    """

    requested_id: str
    env_id: str
    spec: EnvSpec
    padded_observation_dim: int | None = None


def resolve_env(env_id: str) -> EnvSource:
    """Find the environment of a D4RL dataset id, a gymnasium id or "module:EnvId".

    Raises:
        InputError: nothing is registered under the id (names close matches), or its module cannot
            be imported; a kitchen, and gymnasium-robotics is not installed.
    """
    gym_id, padded = env_id, None
    if env_id in D4RL_DATASETS:
        gym_id = D4RL_DATASETS[env_id].env_id
        if env_id.startswith("ant-"):
            gym_id, padded = ANT_ENV_ID, ANT_OBSERVATION_DIM
    if env_id in KITCHEN_TASKS:
        require_kitchen(env_id)
    module, colon, name = gym_id.rpartition(":")
    if colon:
        import_env_module(module, env_id)
    try:
        spec = gym.spec(name)
    except gym.error.Error:
        raise InputError(_unknown_id_message(env_id, name)) from None
    return EnvSource(env_id, name, spec, padded)


def import_env_module(module: str, env_id: str) -> None:
    """Import the module that registers an environment.

    Raises:
        InputError: it cannot be found, or raises an exception, or ends the process, which would end in silence.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"environment {env_id!r}: module {module!r} cannot be imported ({shorten(str(error))}): "
            "install it or put its folder on PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:
        raise InputError(
            f"environment {env_id!r}: module {module!r} raised {reason_of(error)} when it was imported; correct it"
        ) from error


def _unknown_id_message(env_id: str, name: str) -> str:
    known = {*D4RL_DATASETS, *gym.registry}
    near = similar(name, known)
    hint = f"did you mean {' or '.join(near)}" if near else "nothing has a similar name"
    return (
        f"unknown environment {env_id!r}: {hint}; give a D4RL dataset id, a registered gymnasium "
        "id, or 'module:EnvId' where importing the module registers it"
    )
