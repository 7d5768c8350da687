"""Finding the algorithm that `run` names, and the keys of its config."""

import contextlib
import importlib
import re
from typing import Any

from rllib_scoreflow.algorithms.common.rllib_options import NO_OPTIONS
from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.experiments.quiet import set_log_levels
from rllib_scoreflow.experiments.renames import algorithms as renames
from rllib_scoreflow.experiments.renames.table import Removed
from rllib_scoreflow.experiments.spec import first_line
from rllib_scoreflow.suggest import hint

OWN_ALGORITHMS = ("FlowBC", "ScoreFlow")
# Keys that RLlib's config takes under another name than its attribute has.
_SPELLINGS = {
    "lambda": "lambda_",
    "framework": "framework_str",
    "callbacks": "callbacks_class",
    "input": "input_",
    "create_env_on_driver": "create_env_on_local_worker",
    "custom_eval_function": "custom_evaluation_function",
    "num_workers": "num_env_runners",
    "num_cpus_for_driver": "num_cpus_for_main_process",
}


def register_own() -> None:
    """Register this package's algorithms and environments with Ray in this process."""
    import rllib_scoreflow

    rllib_scoreflow.register()


def find_algorithm(run: Any, where: str) -> type[Any]:
    """Return the Algorithm class that `run` names.

    Args:
        run: a name ("PPO", "ScoreFlow", anything registered with Tune), ``module:Class``, or the
            class itself.
        where: the start of the message, such as ``hopper.yaml: hopper-finetune``.

    Returns:
        A subclass of ray.rllib.algorithms.Algorithm.

    Raises:
        InputError: no such algorithm; the nearest name is given.
    """
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.algorithms.registry import ALGORITHMS

    from rllib_scoreflow.algorithms.common.ray_adapter import find_trainable

    set_log_levels()
    if isinstance(run, type):
        found: Any = run
    elif run in ALGORITHMS:
        found = ALGORITHMS[run]()[0]
    elif ":" in run:
        found = _import_class(run, where)
    else:
        register_own()
        found = find_trainable(run)
        if found is None:
            gone = renames.ALGORITHMS.get(run)
            if isinstance(gone, Removed):
                raise InputError(f"{where}: there is no algorithm {quote(run)} any more: {gone.reason}.")
            known = {
                *ALGORITHMS,
                *(name for name in OWN_ALGORITHMS if find_trainable(name) is not None),
            }
            raise InputError(f"{where}: unknown algorithm {quote(run)}; {hint(run, known, 'known are')}")
    if not (isinstance(found, type) and issubclass(found, Algorithm)):
        raise InputError(f"{where}: `run` names {quote(run)}, which is not an RLlib Algorithm class.")
    return found


def _import_class(path: str, where: str) -> Any:
    module, _, name = path.partition(":")
    what = f"{where}: the module of `run: {shorten(path)}`"
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        reason = shorten(first_line(error))
        raise InputError(f"{what} cannot be imported ({reason}); put its folder on PYTHONPATH.") from error
    except (Exception, SystemExit) as error:
        reason = shorten(f"{type(error).__name__}: {first_line(error)}")
        raise InputError(f"{what} fails when it is imported ({reason}); correct it.") from error
    if found is None:
        raise InputError(f"{where}: the module {shorten(module)} has no class {quote(name)} for `run`.")
    return found


def own_name(algorithm: type[Any]) -> str | None:
    """Return which of this package's algorithms a class is or extends, or None.

    Args:
        algorithm: a class from `find_algorithm`.
    """
    from rllib_scoreflow.algorithms.registry import ALGORITHMS

    return next((name for name, own in ALGORITHMS.items() if issubclass(algorithm, own)), None)


def base_name(algorithm: type[Any]) -> str:
    """Return the name of RLlib's own algorithm that a class is or extends, or else its own name.

    Args:
        algorithm: an Algorithm class.
    """
    for base in algorithm.__mro__:
        if base.__module__.startswith("ray.rllib.algorithms.") and base.__name__ != "Algorithm":
            return base.__name__
    return algorithm.__name__


def refusal_of(algorithm: type[Any], key: str) -> str | None:
    """Return why a key of RLlib's has no effect on one of this package's algorithms, or None.

    Args:
        algorithm: a class from `find_algorithm`.
        key: as a user writes it.
    """
    from rllib_scoreflow.algorithms.common import rllib_option_check

    own = own_name(algorithm)
    return None if own is None else rllib_option_check.refusal_of(own, attribute_of(key))


def attribute_of(key: str) -> str:
    """Return the config attribute that a key sets (``lambda`` -> ``lambda_``)."""
    return _SPELLINGS.get(key, key)


def settable_key(algorithm: type[Any], key: str) -> str:
    """Return the key under which RLlib takes an option from a dictionary.

    Args:
        algorithm: a class from `find_algorithm`.
        key: a valid key.

    Returns:
        The key itself, but ``_model_config`` for ``model_config``, which only a method can set.
    """
    member = getattr(type(algorithm.get_default_config()), key, None)
    return f"_{key}" if isinstance(member, property) and member.fset is None else key


def option_defaults(algorithm: type[Any]) -> dict[str, Any]:
    """Return option -> default of the algorithm's config; settable properties are included.

    Args:
        algorithm: a class from `find_algorithm`.
    """
    default = algorithm.get_default_config()
    options = {key: value for key, value in vars(default).items() if key not in NO_OPTIONS}
    for base in type(default).__mro__:
        for name, member in vars(base).items():
            if not isinstance(member, property) or name in options or current_name(algorithm, name) is not None:
                continue
            # RLlib keeps some options, such as train_batch_size_per_learner, behind properties,
            # and some, such as model_config, behind properties that only a method can set.
            if member.fset is not None or f"_{name}" in options:
                with contextlib.suppress(Exception):  # getters of dropped options raise
                    options[name] = getattr(default, name)
    return options


def current_name(algorithm: type[Any], attribute: str) -> str | None:
    """Return what RLlib calls an option of an earlier version now, or None for one that it still takes.

    Args:
        algorithm: a class from `find_algorithm`.
        attribute: of its config.
    """
    default = algorithm.get_default_config()
    member = getattr(type(default), attribute, None)
    if not isinstance(member, property) or member.fset is None:
        return None
    try:
        setattr(default, attribute, None)  # the getter complains only once
    except Exception as error:
        named = re.search(r"Use `AlgorithmConfig\.(\w+)`", str(error))
        return None if named is None or named[1] == attribute else named[1]
    return None


def config_keys(algorithm: type[Any]) -> frozenset[str]:
    """Return the keys that the algorithm's config takes, without those beginning with _.

    Args:
        algorithm: a class from `find_algorithm`.
    """
    options = option_defaults(algorithm)
    keys = {key for key in options if not key.startswith("_")}
    keys |= {key for key, attribute in _SPELLINGS.items() if attribute in options}
    return frozenset(keys)
