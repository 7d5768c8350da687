"""Several agents in an experiment file: their policies, and which agent has which."""

import importlib
from collections.abc import Mapping
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.checks.config import MULTIAGENT
from rllib_scoreflow.experiments.renames.environments import current_module
from rllib_scoreflow.experiments.translation.draft import Draft, absent

_KEYS = ("policies", "policy_mapping_fn", "policies_to_train", "count_steps_by")
_FUNCTION = f"{__name__}.NamedFunction"
_ONE_AGENT = "default_policy"
_OWN_SETTINGS = "set algorithm_config_overrides_per_module in a Python file, or drop what stands below the name"


class NamedFunction:
    """A function, or an object of a class that can be called, by its dotted path.

    Args:
        path: such as ``package.module.function``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        found = _load(path)
        self._call = found() if isinstance(found, type) else found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._call(*args, **kwargs)


def name_by_number(agent_id: Any, *args: Any, **kwargs: Any) -> str:
    """Policy ``p3`` for agent 3, as the class PolicyMappingFn of RLlib's examples did.

    Args:
        agent_id: the agent's number.
        args: unused.
        kwargs: unused.
    """
    return f"p{agent_id}"


def has_several(draft: Draft) -> bool:
    """Whether a config names policies of its own.

    Args:
        draft: a config that `translate` has changed.
    """
    return MULTIAGENT in draft.config


def translate(draft: Draft) -> None:
    """Gather the keys about agents, of which RLlib makes policies and functions only together.

    Raises:
        InputError: a key is unknown or of another form.
    """
    given = draft.take(MULTIAGENT)
    if not absent(given) and given is not None:
        if not isinstance(given, Mapping) or search_space.is_space(given):
            raise InputError(f"{draft.where}.{MULTIAGENT} is {quote(given)} and must be a mapping.")
        for key, value in given.items():
            draft.put(f"{MULTIAGENT}.{key}", key, value)
        if given:
            draft.say(f"what was in {MULTIAGENT} ({', '.join(map(str, given))}) is in config itself now")
    for key in _KEYS:  # null and none at all say nothing
        if draft.config.get(key, draft) in (None, {}, []) and key != "policies_to_train":
            del draft.config[key]
    policies = draft.config.get("policies")
    # RLlib compares its default with nothing else.
    if policies is None or policies is draft.defaults.get("policies"):
        if isinstance(draft.config.get("policy_mapping_fn"), str | Mapping):
            raise InputError(f"{draft.where}.policy_mapping_fn is given without policies; give their names.")
        return
    names = _names(draft, policies)
    alone = draft.config.get("policies_to_train") in (None, [_ONE_AGENT]) and "policy_mapping_fn" not in draft.config
    if names == [_ONE_AGENT] and alone:
        draft.say(f"policies: {_ONE_AGENT} is always so with one agent")
        for key in ("policies", "policies_to_train"):
            draft.config.pop(key, None)
        return
    found = {key: draft.config.pop(key) for key in _KEYS if key in draft.config}
    found["policies"] = names
    if "policy_mapping_fn" not in found:
        raise InputError(f"{draft.where}.policies is given without policy_mapping_fn; give a function's dotted path.")
    found["policy_mapping_fn"] = _function(draft, found["policy_mapping_fn"])
    trained = found.get("policies_to_train")
    if trained is not None and not (isinstance(trained, list) and set(trained) <= set(found["policies"])):
        raise InputError(f"{draft.where}.policies_to_train is {quote(trained)} and must name some of the policies.")
    draft.config[MULTIAGENT] = found


def _names(draft: Draft, policies: Any) -> list[str]:
    if isinstance(policies, Mapping):
        for name, own in policies.items():
            if own not in (None, {}, [None, None, None, {}], [None, None, None, None]):
                raise draft.refuse(f"policies.{name}", own, _OWN_SETTINGS)
        policies = list(policies)
    if not isinstance(policies, list | set | tuple) or not all(isinstance(name, str) for name in policies):
        raise InputError(f"{draft.where}.policies is {quote(policies)} and must be a list of names.")
    return list(policies)


def _function(draft: Draft, given: Any) -> Any:
    """What RLlib makes the function of."""
    path = given.get("type") if isinstance(given, Mapping) else given
    if not isinstance(path, str) or "." not in path or (isinstance(given, Mapping) and set(given) != {"type"}):
        raise InputError(
            f"{draft.where}.policy_mapping_fn is {quote(given)} and must be a function's dotted path, such as "
            "module.function."
        )
    today = current_module(path)
    if today != path:
        draft.say(f"{path} has moved to {today}")
    try:
        found = _load(today)
    except Exception as error:  # a module raises what it likes
        raise InputError(
            f"{draft.where}.policy_mapping_fn is {quote(path)}, which cannot be imported ({error}); correct it."
        ) from error
    if not callable(found):
        raise InputError(f"{draft.where}.policy_mapping_fn is {quote(path)}, which cannot be called; name a function.")
    return {"type": _FUNCTION, "path": today}


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
