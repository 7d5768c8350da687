"""Replay buffers: the old stack's, and the keys outside them, as episode buffers."""

from collections.abc import Mapping
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.checks.types import fits_type
from rllib_scoreflow.experiments.renames.table import say_renamed
from rllib_scoreflow.experiments.search_space import each_value, map_values
from rllib_scoreflow.experiments.translation.draft import Draft
from rllib_scoreflow.suggest import hint

_CONFIG = "replay_buffer_config"
_LEARNING_STARTS = "num_steps_sampled_before_learning_starts"
_PRIORITIZED, _UNIFORM = "PrioritizedEpisodeReplayBuffer", "EpisodeReplayBuffer"
_TYPES = {
    "MultiAgentPrioritizedReplayBuffer": _PRIORITIZED, "PrioritizedReplayBuffer": _PRIORITIZED,
    "MultiAgentReplayBuffer": _UNIFORM, "ReplayBuffer": _UNIFORM, "SimpleReplayBuffer": _UNIFORM,
    "LocalReplayBuffer": _UNIFORM,
}  # fmt: skip
_RENAMED = {
    "buffer_size": "capacity", "prioritized_replay_alpha": "alpha", "prioritized_replay_beta": "beta",
    "learning_starts": _LEARNING_STARTS, "min_size_for_sampling": _LEARNING_STARTS, "replay_burn_in": "burn_in_len",
}  # fmt: skip
_OUTSIDE = {_LEARNING_STARTS, "burn_in_len"}
# As things always are now.
_ALWAYS: dict[str, tuple[Any, ...]] = {
    "_enable_replay_buffer_api": (True,), "worker_side_prioritization": (False,), "storage_unit": ("timesteps",),
    "replay_mode": ("independent",), "replay_sequence_length": (1, None), "replay_zero_init_states": (True,),
    "no_local_replay_buffer": (False,), "prioritized_replay_eps": (1e-6,), "replay_sequence_override": (True,),
}  # fmt: skip
_SIZES = {f"{_CONFIG}.min_size_for_sampling", f"{_CONFIG}.learning_starts"}
_KEYS = {_UNIFORM: {"type", "capacity"}, _PRIORITIZED: {"type", "capacity", "alpha", "beta"}}
_TOP = {"buffer_size", "prioritized_replay", "prioritized_replay_alpha", "prioritized_replay_beta",
        "prioritized_replay_eps"}  # fmt: skip


def translate(draft: Draft) -> None:
    """Translate ``replay_buffer_config`` and what stood beside it.

    Raises:
        InputError: a key has no counterpart.
    """
    beside = {key: draft.config.pop(key) for key in sorted(_TOP & draft.config.keys())}
    beside = {key: value for key, value in beside.items() if value != draft.defaults.get(key)}
    inside = draft.config.get(_CONFIG)
    if inside is None and not beside and draft.algorithm != "CQL":
        return
    if draft.algorithm not in ("DQN", "SAC", "CQL"):
        if beside:
            key, value = next(iter(beside.items()))
            raise draft.refuse(key, value, f"{draft.algorithm} has no replay buffer of this kind")
        return
    draft.one_value(_CONFIG, inside, "several keys")
    if inside is not None and not isinstance(inside, Mapping):
        raise InputError(f"{draft.where}.{_CONFIG} is {quote(inside)} and must be a mapping.")
    if draft.algorithm == "CQL":
        _refuse_for_dataset(draft, dict(inside or {}), beside)
        return
    todays: dict[str, Any] = {}
    for key, value in beside.items():
        _take(draft, todays, key, value, shown=key)
    for key, value in (inside or {}).items():
        _take(draft, todays, key, value, shown=f"{_CONFIG}.{key}")
    _complete(draft, todays)


def _take(draft: Draft, todays: dict[str, Any], key: str, value: Any, *, shown: str) -> None:
    today = _RENAMED.get(key, key)
    if key == "prioritized_replay":
        today, value = "type", _PRIORITIZED if value else _UNIFORM
        draft.say(f"{shown} is {_CONFIG}.type: {value} now")
    elif key == "type":
        name = value if isinstance(value, str) else getattr(value, "__name__", str(value))
        name = name.rpartition(".")[2]
        if name in _TYPES:
            value = _TYPES[name]
            draft.say(f"{shown}: {name} is {value} now")
    elif key in _ALWAYS:
        if not any(value == usual for usual in _ALWAYS[key]):
            raise draft.refuse(shown, value, "episode buffers have no such setting; drop the key")
        return
    if today in _OUTSIDE:
        draft.put(shown, today, value)
        draft.say(say_renamed(shown, today))
        return
    if today in todays and todays[today] != value:
        raise InputError(f"{draft.where}: {shown} says {today}: {quote(value)}, and another key "
                         f"{quote(todays[today])}; keep one.")  # fmt: skip
    todays[today] = value
    if key in _RENAMED:
        draft.say(say_renamed(shown, f"{_CONFIG}.{today}"))


def _complete(draft: Draft, todays: dict[str, Any]) -> None:
    """Check the keys against the buffer's, and add the algorithm's capacity, which a change of type would drop."""
    usual = draft.defaults.get(_CONFIG) or {}
    kind = str(todays.get("type", usual.get("type", _PRIORITIZED)))
    plain = kind.rpartition(".")[2].removeprefix("MultiAgent")
    if plain in _KEYS:
        for key in todays:
            if key not in _KEYS[plain]:
                raise InputError(f"{draft.where}.{_CONFIG}: {plain} has no key {quote(key)}; "
                                 f"{hint(str(key), _KEYS[plain])}")  # fmt: skip
        if "policies" in draft.config and kind == plain:
            todays["type"] = f"MultiAgent{plain}"
        todays.setdefault("capacity", usual.get("capacity", 50_000))
        _check_numbers(draft, todays)
    draft.config.pop(_CONFIG, None)
    draft.config[_CONFIG] = {**{key: usual[key] for key in usual if key in _KEYS.get(plain, ())}, **todays}
    draft.config[_CONFIG].setdefault("type", kind)


def _check_numbers(draft: Draft, todays: dict[str, Any]) -> None:
    for key in todays.keys() & {"capacity", "alpha", "beta"}:
        whole = key == "capacity"
        for one in each_value(todays[key]):
            if isinstance(one, list) or not fits_type(one, int if whole else float) or one < whole:
                wanted = "a whole number of at least 1" if whole else "a number of at least 0"
                raise InputError(f"{draft.where}.{_CONFIG}.{key} is {quote(one)} and must be {wanted}.")
    todays["capacity"] = map_values(todays["capacity"], int)


def _refuse_for_dataset(draft: Draft, inside: dict[str, Any], beside: Mapping[str, Any]) -> None:
    usual = draft.defaults.get(_CONFIG) or {}
    draft.config.pop(_CONFIG, None)
    given = {**{f"{_CONFIG}.{key}": value for key, value in inside.items() if value != usual.get(key)}, **beside}
    for key, value in given.items():
        name = str(value).rpartition(".")[2]
        if (key == f"{_CONFIG}.type" and _TYPES.get(name, name) == _UNIFORM) or (key in _SIZES and value == 0):
            draft.say(f"{key}: {value} is always so now, as CQL draws from its dataset alone")
            continue
        raise draft.refuse(key, value, "CQL reads its dataset without a replay buffer; drop the key")
    if draft.shown == "{}":  # RLlib refuses CQL's own default of what it does not use
        draft.config[_CONFIG] = {"type": _UNIFORM}
