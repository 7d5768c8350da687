"""Refusing options of RLlib that would have no effect, with the reason: the same in YAML, in Python and with --set."""

import functools
from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.utils import force_list

from rllib_scoreflow.algorithms.common.rllib_options import (
    BOOKKEEPING,
    EFFECTS,
    PASSED_OVER,
    SHOWN_AS,
    Honoured,
    Refused,
)
from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.suggest import hint

_CALLBACK = "callbacks_"
_SEEDS = 2**32  # numpy takes no others
_OLD_HOOK = Refused("RLlib's new API stack calls it no more; leave it out")


def check_rllib_options(
    config: AlgorithmConfig, defaults: AlgorithmConfig, classes: Mapping[str, type], derived: Mapping[str, Any]
) -> None:
    """Checks every option that a config has from RLlib.

    Args:
        config: The config.
        defaults: A fresh one of the same algorithm.
        classes: Class that an option's own class must extend, by option.
        derived: What `validate()` has set itself, by option: it counts as a default.

    Raises:
        InputError: On the first option that is set and would have no effect, or that RLlib does not know.
    """
    if config.in_evaluation:  # RLlib's copy for evaluations, with what RLlib sets in it
        return
    algorithm = type(defaults).__name__.removesuffix("Config")
    effects, fresh = EFFECTS[algorithm], vars(defaults)
    for name, value in vars(config).items():
        effect = effects.get(name)
        if not isinstance(effect, Refused) or _same(value, fresh.get(name)) or _same(value, derived.get(name)):
            continue
        if (
            name == "policies" and isinstance(value, Mapping) and set(value) == set(fresh[name])
        ):  # restored: of another form
            continue
        raise InputError(_sentence(*_find_change(name, value, fresh.get(name)), algorithm, effect.because))
    _check_known(config, defaults, algorithm)
    _check_classes(config, defaults, classes, algorithm)
    _check_evaluation_config(config.evaluation_config, algorithm)
    for callback in force_list(config.callbacks_class):
        _check_hooks(callback, algorithm)
    for name, value in vars(config).items():
        if name.startswith(f"{_CALLBACK}on_") and not all(map(callable, force_list(value))):
            raise InputError(_sentence(name, value, algorithm, "it must be a function, or a list of such"))
    seed = config.seed
    if seed is not None and not (isinstance(seed, Integral) and 0 <= int(seed) < _SEEDS):
        raise InputError(f"Option 'seed' is {quote(seed)}: give a whole number from 0 to {_SEEDS - 1}, or none.")


def refusal_of(algorithm: str, key: str) -> str | None:
    """Why an option of RLlib has no effect on one of this package's algorithms, or None where it has one.

    Args:
        algorithm: `FlowBC` or `ScoreFlow`.
        key: The option as a user writes it.
    """
    attribute = {shown: name for name, shown in SHOWN_AS.items()}.get(key, key)
    if attribute in BOOKKEEPING or key in PASSED_OVER:
        return "it is a note of RLlib's own; leave it out"
    effect = EFFECTS[algorithm].get(attribute)
    return effect.because if isinstance(effect, Refused) else None


def _sentence(name: str, value: Any, algorithm: str, because: str) -> str:
    shown = SHOWN_AS.get(name, name)
    return f"Option '{shown}' is {shorten(repr(value), 100)}, which has no effect on {algorithm}: {because}."


def _find_change(name: str, value: Any, default: Any) -> tuple[str, Any]:
    """Name and value of what was set: of a mapping such as `model` the first entry that is not the default."""
    if isinstance(value, Mapping) and isinstance(default, Mapping):
        for key, part in value.items():
            if not _same(part, default.get(key)):
                return f"{SHOWN_AS.get(name, name)}.{key}", part
    return name, value


def _same(value: Any, default: Any) -> bool:
    if value is default:
        return True
    try:
        return bool(value == default)
    except Exception:  # whatever a user's class raises when it is compared
        return False


def _check_known(config: AlgorithmConfig, defaults: AlgorithmConfig, algorithm: str) -> None:
    """`update_from_dict()`, which Tune uses too, sets whatever it is given."""
    known = {*vars(defaults), *_own_attributes(type(config)), "class"}  # "class": in a restored config
    for name, value in vars(config).items():
        if name not in known and not name.startswith("_"):
            raise InputError(
                f"{algorithm} has no option '{shorten(name, 60)}' (it is {shorten(repr(value), 60)}); "
                f"{hint(name, (option for option in known if not option.startswith('_')))}"
            )


def _own_attributes(config_class: type[AlgorithmConfig]) -> Iterator[str]:
    """Attributes of a user's own config class."""
    try:
        yield from vars(config_class())
    except Exception:  # its constructor needs arguments, or refuses
        return


def _check_classes(
    config: AlgorithmConfig, defaults: AlgorithmConfig, classes: Mapping[str, type], algorithm: str
) -> None:
    for name, base in classes.items():
        value = getattr(config, name)
        if _same(value, getattr(defaults, name)):
            continue
        if not (isinstance(value, type) and issubclass(value, base)):
            raise InputError(_sentence(name, value, algorithm, f"it must be a class that extends {base.__name__}"))
    if config.learner_config_dict and config.learner_class is config.get_default_learner_class():
        because = "only a Learner of your own reads it; give one by learner_class"
        raise InputError(_sentence("learner_config_dict", config.learner_config_dict, algorithm, because))


def _check_evaluation_config(value: Any, algorithm: str) -> None:
    because = (
        "an evaluation plays the policy without exploration in the run's own environment; set evaluation_duration, "
        "or play the policy otherwise by `rllib evaluate`"
    )
    if value is not None and not isinstance(value, Mapping):
        raise InputError(_sentence("evaluation_config", value, algorithm, because))
    for key, part in (value or {}).items():
        if key != "explore" or part is not False:
            raise InputError(_sentence(f"evaluation_config.{key}", part, algorithm, because))


def _check_hooks(callback: Any, algorithm: str) -> None:
    """Refuses a class with a hook that is never called."""
    found = callback.func if isinstance(callback, functools.partial) else callback
    if not (isinstance(found, type) and issubclass(found, RLlibCallback)):
        because = "it must be a class that extends RLlibCallback, or a list of such"
        raise InputError(_sentence("callbacks_class", callback, algorithm, because))
    effects = EFFECTS[algorithm]
    for name in dir(RLlibCallback):
        if not name.startswith("on_") or getattr(found, name) is getattr(RLlibCallback, name):
            continue
        effect = effects.get(_CALLBACK + name, _OLD_HOOK)
        if isinstance(effect, Refused):
            called = [known.removeprefix(_CALLBACK) for known, e in effects.items() if _is_called(known, e)]
            raise InputError(
                f"Option 'callbacks' names {found.__name__}, whose hook {name} has no effect on {algorithm}: "
                f"{effect.because}; called are {', '.join(sorted(called))}."
            )


def _is_called(name: str, effect: Honoured | Refused) -> bool:
    return name.startswith(f"{_CALLBACK}on_") and isinstance(effect, Honoured)
