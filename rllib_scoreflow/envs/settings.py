"""The keys of `env_config` that are not arguments of the environment's constructor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rllib_scoreflow.errors import InputError, quote, shorten

SuccessRule = Literal["last", "any"]
"""What makes an episode a success: the `success` of its last step, or of any of its steps."""

MAX_EPISODE_STEPS = "max_episode_steps"
SUCCESS_RULE = "success"
ADDITIONAL_WRAPPERS = "additional_wrappers"
RESERVED_KEYS = frozenset({"num_threads", MAX_EPISODE_STEPS, SUCCESS_RULE, ADDITIONAL_WRAPPERS})


@dataclass(frozen=True)
class EnvSettings:
    """How episodes of an environment are played and counted.

    Attributes:
        max_episode_steps: time limit in primitive steps instead of the registered one, None: the registered one.
        success: "last" counts an episode by the `success` of its last step, "any" by that of any step.
        wrappers: gymnasium's wrappers around the environment, innermost first, each a mapping of `name`,
            `entry_point` and `kwargs` as in gymnasium's EnvSpec.
        kwargs: arguments of the environment's constructor.
    """

    max_episode_steps: int | None
    success: SuccessRule
    wrappers: tuple[Mapping[str, Any], ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, env_config: Mapping[str, Any] | None) -> "EnvSettings":
        """Take `env_config` apart.

        Raises:
            InputError: a reserved key has a value that it cannot have.
        """
        config = dict(env_config or {})
        limit = config.get(MAX_EPISODE_STEPS)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InputError(f"{MAX_EPISODE_STEPS} is {quote(limit)}: choose a whole number from 1 on")
        success = config.get(SUCCESS_RULE) or "last"
        if success not in get_args(SuccessRule):
            raise InputError(
                f"{SUCCESS_RULE} is {quote(success)}: choose 'last' (an episode counts by its last step) or 'any' "
                "(by any of its steps)"
            )
        wrappers = config.get(ADDITIONAL_WRAPPERS) or ()
        if not isinstance(wrappers, list | tuple) or not all(isinstance(each, Mapping) for each in wrappers):
            raise InputError(f"{ADDITIONAL_WRAPPERS} is {shorten(wrappers)}: give a list of name, entry_point, kwargs")
        kwargs = {key: value for key, value in config.items() if key not in RESERVED_KEYS}
        return cls(limit, "any" if success == "any" else "last", tuple(wrappers), kwargs)
