"""Keys that have another name now, or none."""

from collections.abc import Set
from typing import Any

from rllib_scoreflow.experiments.renames.config_keys import CONFIG_KEYS, OF_ALGORITHM
from rllib_scoreflow.experiments.renames.old_defaults import is_off, is_old_default
from rllib_scoreflow.experiments.renames.table import Always, Removed, Renamed, say_renamed
from rllib_scoreflow.experiments.search_space import each_value
from rllib_scoreflow.experiments.translation.draft import Draft


def new_name(key: str) -> str:
    """What a key is called now.

    Args:
        key: an old name, or any other.
    """
    entry = CONFIG_KEYS.get(key)
    return entry.new if isinstance(entry, Renamed) else key


def rename(draft: Draft, kept: Set[str] = frozenset()) -> None:
    """Give every key that only has another name that name.

    Args:
        draft: the config.
        kept: keys that keep their names.

    Raises:
        InputError: both names are given, with two values.
    """
    table = {**CONFIG_KEYS, **OF_ALGORITHM.get(draft.algorithm, {})}
    for key in list(draft.config):
        entry = table.get(key)
        if not isinstance(entry, Renamed) or key in kept:
            continue
        usual = key in draft.defaults and draft.defaults[key] == draft.config[key]  # RLlib's mark of today
        counts = key.startswith(("num_", "sgd_", "evaluation_num_w"))  # where -1 is a slip
        if usual or (_is_marked(draft.config[key]) and not counts) or is_old_default(key, draft.config[key]):
            del draft.config[key]
        else:
            draft.put(draft.shown.format(key), entry.new, draft.config.pop(key))
            draft.renamed[entry.new] = key
            draft.say(say_renamed(draft.shown.format(key), draft.shown.format(entry.new)))


def refuse_removed(draft: Draft) -> None:
    """Refuse keys that are gone, and take out those whose value is how things always are now.

    Raises:
        InputError: a key is gone; the reason and the remedy are given.
    """
    for key in list(draft.config):
        entry, value = CONFIG_KEYS.get(key), draft.config[key]
        if entry is None or isinstance(entry, Renamed):
            continue
        if isinstance(entry, Always) and all(_same(one, entry.value) for one in each_value(value)):
            del draft.config[key]
            if not _same(draft.defaults.get(key), entry.value):
                draft.say(f"{draft.shown.format(key)}: {str(entry.value).lower()} is always so now")
        elif _asks_for_nothing(draft, key, entry):
            del draft.config[key]
        else:
            reason = entry.otherwise if isinstance(entry, Always) else entry.reason
            assert isinstance(entry, Always | Removed)
            raise draft.refuse(key, value, reason)


def _asks_for_nothing(draft: Draft, key: str, entry: Always | Removed) -> bool:
    value = draft.config[key]
    off = is_off(value) if isinstance(entry, Removed) else value is None
    return (
        off
        or is_old_default(key, value)
        or _is_marked(value)
        or (key in draft.defaults and bool(value == draft.defaults[key]))
    )


def _is_marked(value: Any) -> bool:
    """Whether it is what earlier versions of RLlib wrote for an option that they had dropped."""
    return isinstance(value, int) and not isinstance(value, bool) and value == -1


def _same(value: Any, wanted: Any) -> bool:
    return isinstance(value, bool) is isinstance(wanted, bool) and bool(value == wanted)
