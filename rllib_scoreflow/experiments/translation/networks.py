"""``model:`` and its relatives: the networks of RLlib's default RLModules, `DefaultModelConfig` now."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.renames.model_keys import MODEL_KEYS, UNREAD
from rllib_scoreflow.experiments.renames.old_defaults import OLD_MODEL_DEFAULTS
from rllib_scoreflow.experiments.renames.table import Renamed, say_renamed
from rllib_scoreflow.experiments.translation.draft import Draft, absent
from rllib_scoreflow.experiments.translation.network_values import check_value, default_of, unused_without_lstm
from rllib_scoreflow.suggest import hint

MODEL_CONFIG = "model_config"
_TWO_NETWORKS = {"fcnet_hiddens": [256, 256], "fcnet_activation": "relu"}


def network_keys() -> frozenset[str]:
    """The fields of RLlib's `DefaultModelConfig` that some network of RLlib's looks at."""
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    return frozenset(field.name for field in dataclasses.fields(DefaultModelConfig)) - set(MODEL_KEYS)


def translate(draft: Draft) -> None:
    """Turn ``model``, ``q_model_config``, ``policy_model_config``, ``hiddens`` and the like into ``model_config``.

    Raises:
        InputError: a key of theirs has no counterpart, or two of them say different things.
    """
    if draft.algorithm == "DreamerV3":
        model = draft.take("model")
        if not absent(model) and model != draft.defaults.get("model"):
            raise draft.refuse("model", model, "DreamerV3's networks are chosen by model_size; drop the key")
        return
    model = draft.take("model")
    if not absent(model) and model is not None:
        _put(draft, "model", _todays(draft, "model", model))
    _join_two_networks(draft)
    shared = draft.take("vf_share_layers")
    if not absent(shared) and (isinstance(shared, bool) or shared != draft.defaults.get("vf_share_layers")):
        _put(draft, None, {"vf_share_layers": shared})
        draft.say(say_renamed("vf_share_layers", f"{MODEL_CONFIG}.vf_share_layers"))
    if "hiddens" in draft.defaults:
        hiddens = draft.take("hiddens")
        if not absent(hiddens):
            _put(draft, None, {"head_fcnet_hiddens": hiddens})
            draft.say(say_renamed("hiddens", f"{MODEL_CONFIG}.head_fcnet_hiddens"))
    check_model_config(draft)


def _put(draft: Draft, old: str | None, found: Any) -> None:
    if search_space.is_space(found):
        draft.put(f"{old}", MODEL_CONFIG, found)
        return
    for key, value in found.items():
        draft.put_below(key if old is None else f"{old}.{key}", MODEL_CONFIG, key, value)


def _todays(draft: Draft, name: str, model: Any) -> Any:
    """The keys of `DefaultModelConfig` that a mapping of the old stack's stands for."""
    if search_space.is_space(model):
        kind, values = next(iter(model.items()))
        if kind in (search_space.GRID, search_space.CHOICE) and isinstance(values, list):
            return {kind: [_todays(draft, name, one) for one in values]}
    if not isinstance(model, Mapping):
        raise InputError(f"{draft.where}.{name} is {quote(model)} and must be a mapping.")
    usual = _old_defaults(draft, name)
    known = network_keys()
    found: dict[str, Any] = {}
    for key, value in model.items():
        entry = MODEL_KEYS.get(key)
        today = entry.new if isinstance(entry, Renamed) else key
        if today in known:
            if value is None and today != "conv_filters":
                continue
            check_value(f"{draft.where}.{name}.{key}", today, value)
            if today in found and found[today] != value:
                raise InputError(f"{draft.where}.{name}: {key} and {today} are the same; keep {today}.")
            found[today] = value
            if isinstance(entry, Renamed):
                draft.say(say_renamed(f"{name}.{key}", f"{MODEL_CONFIG}.{today}"))
        elif any(key in table and value == table[key] for table in (usual, OLD_MODEL_DEFAULTS)):
            continue
        elif entry is not None and not isinstance(entry, Renamed):
            raise draft.refuse(f"{name}.{key}", value, getattr(entry, "reason", ""))
        else:
            choices = {*known, *(old for old, new in MODEL_KEYS.items() if isinstance(new, Renamed))}
            raise InputError(f"{draft.where}.{name} has no key {quote(key)}; {hint(str(key), choices)}")
    if found and name == "model":
        draft.say(say_renamed(name, MODEL_CONFIG))
    return found


def _old_defaults(draft: Draft, name: str) -> Mapping[str, Any]:
    from ray.rllib.models.catalog import MODEL_DEFAULTS

    own = draft.defaults.get(name)
    return {**MODEL_DEFAULTS, **(own if isinstance(own, Mapping) else {})}


def _join_two_networks(draft: Draft) -> None:
    """SAC's two mappings, which are one now."""
    if draft.algorithm not in ("SAC", "CQL"):
        return
    given = {name: draft.take(name) for name in ("q_model_config", "policy_model_config")}
    if all(absent(value) for value in given.values()):
        return
    todays = {
        name: {**_TWO_NETWORKS, **({} if absent(value) else _todays(draft, name, value))}
        for name, value in given.items()
    }
    first, second = todays["q_model_config"], todays["policy_model_config"]
    if first != second:
        raise InputError(
            f"{draft.where}: q_model_config and policy_model_config differ ({_difference(first, second)}), and "
            f"{draft.algorithm} builds both networks from one {MODEL_CONFIG} now; give both the same keys."
        )
    # The Q-network's own layers are those behind the encoders of observation and action.
    fused = {key.replace("fcnet", "fusionnet", 1): value for key, value in first.items() if key in _TWO_NETWORKS}
    _put(draft, None, {**first, **fused})
    for name, value in given.items():
        if not absent(value):
            draft.say(say_renamed(name, MODEL_CONFIG))


def _difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    key = next(key for key in {**first, **second} if first.get(key) != second.get(key))
    return f"{key} is {quote(first.get(key))} and {quote(second.get(key))}"


def check_model_config(draft: Draft) -> None:
    """Refuse keys of ``model_config`` that no network of RLlib's looks at.

    Raises:
        InputError: there is one.
    """
    value = draft.config.get(MODEL_CONFIG)
    if not isinstance(value, Mapping) or draft.algorithm == "DreamerV3":
        return
    usual = draft.defaults.get(MODEL_CONFIG) or {}
    for point in search_space.each_value(value):
        for key in point if isinstance(point, Mapping) else ():
            if key in MODEL_KEYS:
                entry = MODEL_KEYS[key]
                if isinstance(entry, Renamed):
                    raise InputError(f"{draft.where}.{MODEL_CONFIG}.{key} is called {entry.new} now; write that.")
                if point[key] != _old_defaults(draft, "model").get(key):
                    raise draft.refuse(f"{MODEL_CONFIG}.{key}", point[key], getattr(entry, "reason", ""))
            elif key in usual and point[key] == usual[key]:
                continue  # what RLlib itself puts there
            elif key not in network_keys():
                raise InputError(
                    f"{draft.where}.{MODEL_CONFIG} has no key {quote(key)}; {hint(str(key), network_keys())}"
                )
            elif point[key] is not None:
                check_value(f"{draft.where}.{MODEL_CONFIG}.{key}", key, point[key])
            reason = UNREAD.get(draft.algorithm, {}).get(key)
            if reason is not None and any(one != default_of(key) for one in search_space.each_value(point[key])):
                raise draft.refuse(f"{MODEL_CONFIG}.{key}", point[key], reason)
    if not search_space.is_space(value):
        _check_lstm(draft, value)


def _check_lstm(draft: Draft, value: Mapping[str, Any]) -> None:
    """Say, or refuse, what an LSTM alone looks at: a file that says ``use_lstm: false`` says so itself."""
    for key in unused_without_lstm(value):
        if "use_lstm" not in value:
            raise draft.refuse(f"{MODEL_CONFIG}.{key}", value[key], "use_lstm: true is missing beside it")
        draft.say(f"{MODEL_CONFIG}.{key} has no part in use_lstm: false")
        draft.config[MODEL_CONFIG] = {name: one for name, one in draft.config[MODEL_CONFIG].items() if name != key}
