"""Whether an environment is the one for which a published score is defined."""

import inspect
from collections.abc import Mapping
from typing import Any

from gymnasium.envs.registration import load_env_creator

from rllib_scoreflow.envs.d4rl.kitchen import KITCHEN_TASKS
from rllib_scoreflow.envs.resolve import EnvSource
from rllib_scoreflow.envs.settings import EnvSettings

# Module of the environment, and the time limit of D4RL's episodes.
_PUBLISHED = (("gymnasium.envs.mujoco.", 1000), ("rllib_scoreflow.envs.d4rl.kitchen:", 280))
# Arguments that change nothing but pictures.
_PICTURES = frozenset(
    {"render_mode", "width", "height", "camera_id", "camera_name", "default_camera_config", "max_geom"}
)


def is_standard(source: EnvSource, env_config: Mapping[str, Any] | None, max_episode_steps: int | None) -> bool:
    """Return whether episodes are those of D4RL's locomotion or kitchen tasks, rewards and length included.

    Args:
        source: the environment; a user may have registered another one under a known id.
        env_config: with what it is made; arguments that are the defaults change nothing.
        max_episode_steps: the time limit in primitive steps.
    """
    spec, settings = source.spec, EnvSettings.of(env_config)
    limit = next((limit for module, limit in _PUBLISHED if str(spec.entry_point).startswith(module)), None)
    if limit is None or max_episode_steps != limit or settings.wrappers or spec.additional_wrappers:
        return False
    assert isinstance(spec.entry_point, str)
    parameters = inspect.signature(load_env_creator(spec.entry_point)).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    defaults["tasks"] = KITCHEN_TASKS.get(source.requested_id)
    given = {**spec.kwargs, **settings.kwargs}
    return all(key in _PICTURES or _same(value, defaults.get(key)) for key, value in given.items())


def _same(one: Any, other: Any) -> bool:
    # YAML and JSON know lists only.
    return (tuple(one) if isinstance(one, list) else one) == (tuple(other) if isinstance(other, list) else other)
