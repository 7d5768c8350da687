"""Trying an environment before a training relies on it."""

import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from rllib_scoreflow.envs.contract import CheckedEnv, Env, close_env
from rllib_scoreflow.envs.resolve import EnvSource, resolve_env
from rllib_scoreflow.envs.seeding import keep_random_states
from rllib_scoreflow.envs.settings import EnvSettings
from rllib_scoreflow.envs.single_env import EnvDims, dims_of, make_single_env
from rllib_scoreflow.errors import InputError, SimulatorError, quote
from rllib_scoreflow.observations import STATE

_STEPS, _SECONDS = 100, 0.5
# Environments of these packages keep the contract, and some take long to reset.
_KNOWN = ("gymnasium.", "gymnasium_robotics.", "rllib_scoreflow.")
_tried: set[tuple[str, str]] = set()


def try_env(env_id: str, env_config: Mapping[str, Any] | None = None) -> EnvDims:
    """Return the dimensions of an environment after playing its first steps, at most half a second of them.

    What a user's environment does wrong in its first steps is so known before Ray starts. Within a process the same
    environment is played once; environments of gymnasium and of this package are not played.

    Args:
        env_id: D4RL dataset id, gymnasium id or "module:EnvId".
        env_config: keyword arguments of the environment and the keys of EnvSettings.

    Raises:
        InputError: as `env_dims`; the environment breaks gymnasium's contract, raises an exception or returns NaN.
    """
    source, settings = resolve_env(env_id), EnvSettings.of(env_config)
    env = make_single_env(source, env_config)
    try:
        dims = dims_of(env, source, settings.max_episode_steps)
        key = (env_id, json.dumps(env_config, sort_keys=True, default=repr))
        if not _is_known(source, settings) and key not in _tried:
            with keep_random_states():
                _play(env, env_id, dims, settings)
            _tried.add(key)
        return dims
    except SimulatorError as error:
        raise InputError(f"{error}; correct the environment, or its env_config") from error
    except SystemExit as error:
        raise InputError(
            f"environment {env_id!r} ended the process in its first steps (SystemExit: {quote(error.code)}); correct "
            "the environment, or its env_config"
        ) from error
    finally:
        close_env(env, source.requested_id)


def _is_known(source: EnvSource, settings: EnvSettings) -> bool:
    entry_point = source.spec.entry_point
    module = entry_point if isinstance(entry_point, str) else getattr(entry_point, "__module__", "")
    return module.startswith(_KNOWN) and not settings.wrappers and not source.spec.additional_wrappers


def _play(env: Env, env_id: str, dims: EnvDims, settings: EnvSettings) -> None:
    checked = CheckedEnv(env, env_id, settings.success)
    bounded = np.isfinite(dims.action_low) & np.isfinite(dims.action_high)
    middle = np.where(bounded, 0.5 * dims.action_low + 0.5 * dims.action_high, 0.0)
    action = dims.fit_actions(middle.astype(np.float32))
    _refuse_non_finite(checked.reset(seed=0), 0.0, env_id)
    ends = time.monotonic() + _SECONDS
    for _ in range(_STEPS):
        observation, reward, terminated, truncated = checked.step(action.copy())
        _refuse_non_finite(observation, reward, env_id)
        checked.success()
        checked.episode_metrics()
        if time.monotonic() > ends:
            return
        if terminated or truncated:
            _refuse_non_finite(checked.reset(), 0.0, env_id)


def _refuse_non_finite(observation: Any, reward: float, env_id: str) -> None:
    state = observation[STATE] if isinstance(observation, dict) else observation
    for what, value in (("observation", np.asarray(state, np.float32)), ("reward", reward)):
        if not np.isfinite(value).all():
            raise SimulatorError(f"environment {env_id!r} returned a {what} that is NaN or infinite")
