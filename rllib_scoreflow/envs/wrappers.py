"""The wrappers within which a dataset was recorded, put around the environment again."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from rllib_scoreflow.envs.contract import Env, reason_of
from rllib_scoreflow.errors import InputError, shorten

# Those of gymnasium's that change what is seen, done or rewarded, and need nothing but plain arguments.
_APPLIED = frozenset(
    {
        "ClipAction",
        "ClipReward",
        "DtypeObservation",
        "FilterObservation",
        "FlattenObservation",
        "RescaleAction",
        "RescaleObservation",
        "ReshapeObservation",
        "StickyAction",
        "TimeAwareObservation",
    }
)
# Those that only watch.
_WITHOUT_EFFECT = frozenset({"OrderEnforcing", "PassiveEnvChecker", "RecordEpisodeStatistics"})
_MODULE = "gymnasium.wrappers"


def wrap(env: Env, wrappers: Sequence[Mapping[str, Any]], env_id: str) -> Env:
    """Put gymnasium's own wrappers around an environment; modules that a file names are not imported.

    Args:
        env: the environment.
        wrappers: innermost first, each with `name`, `entry_point` ("module:Class") and `kwargs`.
        env_id: its name in messages.

    Raises:
        InputError: a wrapper that is not gymnasium's, or one that cannot be made from what is written.
    """
    for described in wrappers:
        name, kwargs = str(described.get("name")), described.get("kwargs")
        module, _, class_name = str(described.get("entry_point")).partition(":")
        ours = module == _MODULE or module.startswith(f"{_MODULE}.")
        if ours and class_name in _WITHOUT_EFFECT:
            continue
        if not ours or class_name not in _APPLIED or not isinstance(kwargs, Mapping):
            raise InputError(
                f"environment {env_id!r} was recorded within the wrapper {shorten(name)} "
                f"({shorten(str(described.get('entry_point')))}), which is not put around it here: register the "
                "wrapped environment under an id of its own and give that as 'env'"
            )
        try:
            env = getattr(gym.wrappers, class_name)(env, **kwargs)
        # Whatever a wrapper says of arguments or spaces that do not suit it.
        except Exception as error:
            raise InputError(
                f"environment {env_id!r} cannot be put into the wrapper {class_name} with {shorten(dict(kwargs))} "
                f"({reason_of(error)}): register the wrapped environment under an id of its own and give that as 'env'"
            ) from error
    return env
