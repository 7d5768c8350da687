"""Validation of algorithm options: one sentence for the first bad one."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from rllib_scoreflow.envs.settings import MAX_EPISODE_STEPS, SUCCESS_RULE
from rllib_scoreflow.errors import InputError, quote, shorten

# Limits, of which an infinite one is none.
_MAY_BE_INFINITE = frozenset({"target_kl", "grad_clip", "clip_param", "reward_clip"})


def check_options(config: Any, annotations: dict[str, Any]) -> None:
    """Checks options of a config object against their annotations; numbers are not parsed from strings.

    Args:
        config: Any object with the options as attributes.
        annotations: Type (or `Annotated` type with pydantic bounds) by option name.

    Raises:
        InputError: Naming the option, its value and what is expected.
    """
    for name, annotation in annotations.items():
        value = getattr(config, name)
        try:
            finite = ConfigDict(strict=True, allow_inf_nan=name in _MAY_BE_INFINITE)
            TypeAdapter(annotation, config=finite).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise InputError(
                f"Option '{name}' of {type(config).__name__} is {quote(value)}: {reason[0].lower()}{reason[1:]}."
            ) from error


def build_section(name: str, section: type[BaseModel], values: dict[str, Any]) -> Any:
    """Builds a section such as `score:` or `noise:` from its YAML mapping.

    Raises:
        InputError: Naming the key (with the nearest valid one) or the bad value.
    """
    try:
        return section(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([name, *(str(part) for part in first["loc"])])
        if first["type"] == "extra_forbidden":
            near = get_close_matches(str(first["loc"][-1]), section.model_fields, n=1, cutoff=0.0)
            raise InputError(f"Unknown key '{shorten(key)}'; did you mean '{name}.{near[0]}'?") from error
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"Option '{key}' is {quote(first['input'])}: {reason[0].lower()}{reason[1:]}.") from error


def overlay_env_config(recorded: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Returns what an environment is made with: `env_config` laid over what was recorded, and over both the options.

    The options `max_episode_steps` and `success` stand in `env_config` from then on, so that they reach every
    environment of the run and are exported with the policy.

    Args:
        recorded: `env_config` of the dataset or policy that names the same environment.
        config: An algorithm's config with `env_config` and the two options, None where they are not given.
    """
    options = {key: getattr(config, key) for key in (MAX_EPISODE_STEPS, SUCCESS_RULE)}
    return {**recorded, **config.env_config, **{key: value for key, value in options.items() if value is not None}}
