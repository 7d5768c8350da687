"""From an id to the environment that stands behind it."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from rllib_scoreflow.data.catalog import D4RL_DATASETS
from rllib_scoreflow.envs.classes import NamedCode, find_code, make_code
from rllib_scoreflow.envs.d4rl.adroit import PREFIX as ADROIT
from rllib_scoreflow.envs.d4rl.adroit import load_adroit
from rllib_scoreflow.envs.d4rl.kitchen import KITCHEN_TASKS, require_kitchen
from rllib_scoreflow.envs.d4rl.locomotion import ANT_ENV_ID, ANT_OBSERVATION_DIM
from rllib_scoreflow.envs.packages import require_package
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.suggest import similar

# Namespaces of ids whose simulator is a package, and an extra, of the same name.
_PACKAGES = ("metaworld", "ogbench")


@dataclass(frozen=True)
class EnvSource:
    """The environment behind an id.

    Attributes:
        requested_id: what the user wrote: a D4RL dataset id, a gymnasium id, or code as `classes` names it.
        env_id: the gymnasium id.
        spec: gymnasium's registration of it.
        padded_observation_dim: length to which observations are padded with zeros, None = as is.
    """

    requested_id: str
    env_id: str
    spec: EnvSpec
    padded_observation_dim: int | None = None


def resolve_env(env_id: str) -> EnvSource:
    """Find the environment of a D4RL dataset id, a gymnasium id, or of code, see `classes`.

    Raises:
        InputError: nothing is registered under the id (names close matches), or its module cannot
            be imported; the package of its simulator is not installed.
    """
    gym_id, padded = env_id, None
    if env_id in D4RL_DATASETS:
        gym_id = D4RL_DATASETS[env_id].env_id
        if env_id.startswith("ant-"):
            gym_id, padded = ANT_ENV_ID, ANT_OBSERVATION_DIM
    if env_id in KITCHEN_TASKS:
        require_kitchen(env_id)
    if gym_id.startswith(ADROIT) and gym_id not in gym.registry:
        load_adroit(env_id)
    namespace = gym_id.partition("/")[0]
    if namespace in _PACKAGES and gym_id in gym.registry:
        require_package(env_id, namespace, namespace)
    code = None if gym_id in gym.registry else find_code(gym_id)
    if code is not None and code.name not in gym.registry:
        return EnvSource(env_id, code.name, _spec_of(code), padded)
    name = gym_id if code is None else code.name
    try:
        spec = gym.spec(name)
    except gym.error.Error:
        raise InputError(_unknown_id_message(env_id, name)) from None
    return EnvSource(env_id, name, spec, padded)


def _spec_of(code: NamedCode) -> EnvSpec:
    """A registration of gymnasium's for an environment that has none."""

    def make(**config: Any) -> Any:
        return make_code(code, config)

    make.__module__ = code.module.__name__  # by which it is told apart from the known simulators
    name = "".join(c for c in code.name if c.isalnum() or c in "_-") or "Environment"
    return EnvSpec(id=f"{name}-v0", entry_point=make)


def _unknown_id_message(env_id: str, name: str) -> str:
    known = {*D4RL_DATASETS, *gym.registry}
    near = similar(name, known)
    hint = f"did you mean {' or '.join(near)}" if near else "nothing has a similar name"
    return (
        f"unknown environment {env_id!r}: {hint}; give a D4RL dataset id, a registered gymnasium "
        "id, or 'module:EnvId' where importing the module registers it"
    )
