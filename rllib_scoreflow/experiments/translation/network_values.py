"""Values of RLlib's `DefaultModelConfig`, of which RLlib itself judges few, and those when a run has begun."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.checks.types import fits_type
from rllib_scoreflow.experiments.search_space import each_value

_LSTM_KEYS = ("lstm_", "max_seq_len")


def check_value(what: str, key: str, value: Any) -> None:
    """Refuse a value that no network can be built of.

    Args:
        what: the start of the message: where the key stands, and its name there.
        key: a field of `DefaultModelConfig`.
        value: its value, or a grid or choice of values.

    Raises:
        InputError: it is of another kind.
    """
    for one in each_value(value):
        wanted = _why_not(key, one)
        if wanted is not None:
            raise InputError(f"{what} is {quote(one)} and must be {wanted}.")


def default_of(key: str) -> Any:
    """Return the default of a field of `DefaultModelConfig`."""
    return _defaults()[key]


def unused_without_lstm(config: Mapping[str, Any]) -> list[str]:
    """Return the keys of a model's config that an LSTM alone looks at, where it has none.

    Args:
        config: fields of `DefaultModelConfig`; those that have their defaults do not count.
    """
    if any(each_value(config.get("use_lstm"))):
        return []
    usual = _defaults()
    return [key for key in config if key.startswith(_LSTM_KEYS) and key in usual and config[key] != usual[key]]


def _defaults() -> dict[str, Any]:
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    return dataclasses.asdict(DefaultModelConfig())


def _why_not(key: str, value: Any) -> str | None:
    from ray.rllib.models.utils import get_activation_fn, get_initializer_fn

    usual = _defaults()[key]
    if key.endswith("_activation"):
        return _refusal_of(get_activation_fn, value, "an activation such as tanh, relu, elu, silu or linear")
    if key.endswith("_initializer"):
        return _refusal_of(get_initializer_fn, value, "a function of torch.nn.init that ends in _, or null")
    if key.endswith("_kwargs"):
        return None if value is None or isinstance(value, Mapping) else "a mapping"
    if key.endswith("_hiddens"):
        return None if _are_widths(value) else "a list of whole numbers of at least 1"
    if key == "conv_filters":
        return None if value is None or _are_filters(value) else "a list of [filters, kernel, stride]"
    words = {bool: "true or false", int: "a whole number of at least 1", float: "a number"}
    good = fits_type(value, type(usual)) and (type(usual) is not int or value >= 1)
    return None if good else f"{words[type(usual)]} (the default is {quote(usual)})"


def _refusal_of(find: Callable[..., Any], value: Any, wanted: str) -> str | None:
    if value is not None and not isinstance(value, str):
        return wanted
    try:
        find(value, framework="torch")
    except (ValueError, AttributeError, TypeError):
        return wanted
    return None


def _are_widths(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(_is_width(width) for width in value)


def _are_filters(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(layer, list | tuple)
        and len(layer) >= 3
        and _is_width(layer[0])
        and all(_is_width(part) or (_are_widths(part) and len(part) == 2) for part in layer[1:3])
        for layer in value
    )


def _is_width(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
