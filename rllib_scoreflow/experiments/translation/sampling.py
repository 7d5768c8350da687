"""What EnvRunners do: environments, observation filter, exploration, episodes' lengths."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from rllib_scoreflow.algorithms.common.ray_adapter import is_registered_env
from rllib_scoreflow.algorithms.common.rllib_options import ENV_TO_MODULE
from rllib_scoreflow.envs import time_limited
from rllib_scoreflow.envs.classes import find_code
from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.renames.config_keys import UNPROCESSED
from rllib_scoreflow.experiments.search_space import each_value, map_values
from rllib_scoreflow.experiments.translation import agents, connectors
from rllib_scoreflow.experiments.translation.draft import Draft, absent

_FILTERS = {"MeanStdFilter", "ConcurrentMeanStdFilter"}
_NOT_FLATTENED = {"DreamerV3", "BC", "MARWIL", "CQL"}  # those learn from recordings, or look at spaces themselves
# As RLlib's EpsilonGreedy had them.
_EPSILONS = (("initial_epsilon", 1.0), ("final_epsilon", 0.05))
_TIMES = (("warmup_timesteps", 0), ("epsilon_timesteps", 100_000))
_EPSILON = {"type", *(key for key, _ in (*_EPSILONS, *_TIMES))}
_EXPLORATION = "RLModules explore by their forward_exploration(), so write an RLModule of your own"


def translate(draft: Draft) -> None:
    """Translate the keys about sampling.

    Raises:
        InputError: one has no counterpart.
    """
    agents.translate(draft)
    if draft.config.get("env_config", draft) is None:
        del draft.config["env_config"]
    _filter_observations(draft)
    _explore(draft)
    _limit_episodes(draft)
    _step_in_parallel(draft)
    _lengthen_fragments(draft)


def _filter_observations(draft: Draft) -> None:
    name = draft.take("observation_filter")
    if absent(name) or name in ("NoFilter", None):
        return
    draft.one_value("observation_filter", name, "a connector")
    if name not in _FILTERS:
        raise InputError(f"{draft.where}.observation_filter is {quote(name)} and must be NoFilter or MeanStdFilter.")
    if draft.algorithm == "DreamerV3":
        raise draft.refuse("observation_filter", name, "DreamerV3 has symlog_obs in its place")
    several = agents.has_several(draft)
    function = connectors.filter_each_agent_by_mean_and_std if several else connectors.filter_by_mean_and_std
    draft.put("observation_filter", ENV_TO_MODULE, function)
    draft.say("observation_filter: MeanStdFilter is RLlib's connector MeanStdFilter now")


def flatten_observations(draft: Draft) -> None:
    """Let an old file's EnvRunners flatten what is not a box, as preprocessors did, unless it has connectors.

    Args:
        draft: a config that all else has changed.
    """
    if draft.config.get(UNPROCESSED) is True:
        del draft.config[UNPROCESSED]
        draft.say(f"{UNPROCESSED}: true is always so now")
        return
    if draft.notes and draft.shown == "{}" and draft.algorithm not in _NOT_FLATTENED:
        several = agents.has_several(draft)
        function = connectors.flatten_each_agent if several else connectors.flatten
        draft.config.setdefault(ENV_TO_MODULE, function)


def _explore(draft: Draft) -> None:
    given = draft.take("exploration_config")
    if absent(given) or not given or given == draft.defaults.get("exploration_config"):
        return
    draft.one_value("exploration_config", given, "other keys")
    if not isinstance(given, Mapping):
        raise InputError(f"{draft.where}.exploration_config is {quote(given)} and must be a mapping.")
    kind = given.get("type")
    kind = str(kind).rpartition(".")[2] if kind is not None else None
    if kind in (None, "EpsilonGreedy") and "epsilon" in draft.defaults and draft.algorithm == "DQN":
        unknown = sorted(set(given) - _EPSILON)
        if unknown:
            raise draft.refuse(f"exploration_config.{unknown[0]}", given[unknown[0]], "give epsilon, a schedule")
        first, last = (_number(draft, given, key, usual) for key, usual in _EPSILONS)
        wait, steps = (int(_number(draft, given, key, usual)) for key, usual in _TIMES)
        schedule = [[0, first], *([[wait, first]] if wait else []), [wait + steps, last]]
        draft.put("exploration_config", "epsilon", schedule)
        draft.say(f"exploration_config is epsilon: {schedule} now")
    elif kind == "StochasticSampling" and draft.algorithm != "DQN" and not given.get("random_timesteps"):
        draft.say("exploration_config: {type: StochasticSampling} is always so now")
    else:
        raise draft.refuse("exploration_config", given, _EXPLORATION)


def _number(draft: Draft, given: Mapping[str, Any], key: str, usual: float) -> float:
    value = given.get(key, usual)
    try:
        return float(value)  # YAML takes 1e5 for a text
    except (TypeError, ValueError):
        wanted = f"must be a number (the default is {usual})"
        raise InputError(f"{draft.where}.exploration_config.{key} is {quote(value)} and {wanted}.") from None


def _limit_episodes(draft: Draft) -> None:
    horizon = draft.take("horizon")
    if absent(horizon) or horizon is None:
        return
    for steps in each_value(horizon):
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise InputError(f"{draft.where}.horizon is {quote(steps)} and must be a whole number of at least 1.")
    env = draft.env if draft.env is not None else draft.config.get("env")
    if not isinstance(env, str):
        raise draft.refuse("horizon", horizon, "it is the time limit of one environment that is named by a text")
    if env.rpartition(":")[2] not in gym.registry:
        if not _is_known(env):
            return  # what is said where the environment is checked
        if (reason := _why_unlimited(env)) is not None:
            raise draft.refuse("horizon", horizon, reason)
        draft.put_below("horizon", "env_config", time_limited.ENV, env)
        draft.limited = f"{time_limited.__name__}.{time_limited.TimeLimited.__name__}"
    draft.put_below("horizon", "env_config", time_limited.MAX_EPISODE_STEPS, horizon)
    draft.say(f"horizon is called env_config.{time_limited.MAX_EPISODE_STEPS} now")


def _is_known(env: str) -> bool:
    try:
        return is_registered_env(env) or find_code(env) is not None
    except InputError:
        return False


def _why_unlimited(env: str) -> str | None:
    """Why no time limit can be put around an environment that is known, or None where one can."""
    code = find_code(env)
    if code is None:  # one that is named by its code is registered too, once it has been checked
        return "put gymnasium.wrappers.TimeLimit around the environment where it is registered"
    if any(base.__name__ == "MultiAgentEnv" for base in getattr(code.found, "__mro__", ())):
        return "an environment of several agents ends its episodes itself; drop the key, or count the steps there"
    return None


def _lengthen_fragments(draft: Draft) -> None:
    """A fragment must hold the steps of one n-step return, which RLlib saw to itself."""
    steps, length = draft.config.get("n_step"), draft.config.get("rollout_fragment_length")
    if draft.algorithm in ("DQN", "SAC") and isinstance(steps, int) and isinstance(length, int) and length < steps:
        draft.config["rollout_fragment_length"] = steps
        draft.say(f"rollout_fragment_length is {steps}, as n_step needs as many steps")


def _step_in_parallel(draft: Draft) -> None:
    remote = draft.take("remote_worker_envs")
    if absent(remote) or remote is False or remote is None:
        return
    for one in each_value(remote):
        if not isinstance(one, bool):
            raise InputError(f"{draft.where}.remote_worker_envs is {quote(one)} and must be true or false.")
    draft.put("remote_worker_envs", "gym_env_vectorize_mode", map_values(remote, lambda on: "async" if on else "sync"))
    draft.say("remote_worker_envs: true is called gym_env_vectorize_mode: async now")
