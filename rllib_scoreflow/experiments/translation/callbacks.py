"""Callbacks: the class that a file names, and whether RLlib can call what it has."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.renames.environments import current_module
from rllib_scoreflow.experiments.translation.draft import Draft

_KEY = "callbacks"
# Arguments and methods of the old API stack, which RLlib's class still has.
_GONE_ARGUMENTS = frozenset({"worker", "base_env", "policies", "worker_set", "worker_ids"})
_GONE_HOOKS: Mapping[str, str] = {
    "on_postprocess_trajectory": "give a connector",
    "on_learn_on_batch": "give a Learner of your own",
    "on_create_policy": "take on_algorithm_init",
    "on_sub_environment_created": "take on_environment_created",
    "on_workers_recreated": "take on_env_runners_recreated",
}


def translate(draft: Draft) -> None:
    """Find the class that ``callbacks`` names, under today's path.

    Raises:
        InputError: there is none, or RLlib calls one of its methods no more, or with other arguments.
    """
    given = draft.config.get(_KEY)
    if given is None or isinstance(given, type) or search_space.is_space(given):
        return
    what = f"{draft.where}.{_KEY} is {quote(given)}"
    if not isinstance(given, str) or "." not in given:
        raise InputError(f"{what} and must be a class's dotted path, such as module.Class.")
    today = current_module(given)
    if today != given:
        draft.say(f"{given} has moved to {today}")
        draft.config[_KEY] = today
    module, _, name = today.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module raises what it likes
        raise InputError(f"{what}, which cannot be imported ({error}); correct it.") from error
    _check_class(found, what)


def _check_class(found: Any, what: str) -> None:
    from ray.rllib.callbacks.callbacks import RLlibCallback

    if not (isinstance(found, type) and issubclass(found, RLlibCallback)):
        raise InputError(f"{what}, which does not extend RLlibCallback of ray.rllib.callbacks.callbacks; let it.")
    for name in dir(found):
        own, usual = getattr(found, name), getattr(RLlibCallback, name, None)
        if not name.startswith("on_") or own is usual or not callable(own):
            continue
        if name in _GONE_HOOKS:
            raise InputError(f"{what}, whose {name} RLlib calls no more; {_GONE_HOOKS[name]}, and take it out.")
        needed = [
            argument.name
            for argument in inspect.signature(own).parameters.values()
            if argument.name in _GONE_ARGUMENTS and argument.default is argument.empty
        ]
        if needed:
            because = f"whose {name} asks for {needed[0]}, which RLlib gives no more"
            raise InputError(f"{what}, {because}; take env_runner, env and rl_module in its place, and **kwargs.")
