"""A config on its way from old keys to today's, with what there is to say about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments import search_space

_NOTHING = object()


@dataclass
class Draft:
    """The config of one experiment, changed in place by each step of the translation.

    Attributes:
        config: key -> value.
        algorithm: name of the algorithm, such as ``PPO``; of RLlib's own that a user's class extends.
        defaults: option -> default of the algorithm.
        where: the start of messages, such as ``x.yaml: exp: config``.
        env: the experiment's environment, if it is an id or a path.
        limited: the environment that takes its place, with a time limit, or None.
        shown: how a key is shown in notes, with ``{}`` for the key.
        notes: what was translated: sentences without a full stop.
        renamed: today's key -> the old one, of keys that only have another name.
    """

    config: dict[str, Any]
    algorithm: str
    defaults: Mapping[str, Any]
    where: str
    env: Any = None
    limited: str | None = None
    shown: str = "{}"
    notes: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    def say(self, note: str) -> None:
        """Add a note, unless it is there."""
        if note not in self.notes:
            self.notes.append(note)

    def take(self, key: str) -> Any:
        """Take a key out of the config; `absent` holds for the answer where it is not there."""
        return self.config.pop(key, _NOTHING)

    def put(self, old: str, key: str, value: Any) -> None:
        """Set a key in place of an old one; null gives way to a value.

        Raises:
            InputError: it has another value already.
        """
        here = self.config.get(key, _NOTHING)
        if value is None and here is not _NOTHING:
            return
        if here is not None and here is not _NOTHING and here != value:
            raise InputError(
                f"{self.where}: {old} and {key} are the same and have two values, {quote(value)} and {quote(here)}; "
                f"keep {key}."
            )
        self.config[key] = value

    def put_below(self, old: str, key: str, below: str, value: Any) -> None:
        """Set ``key.below`` in place of an old key.

        Raises:
            InputError: it has another value already, or `key` is no mapping.
        """
        inner = self.config.setdefault(key, {})
        if not isinstance(inner, dict) or search_space.is_space(inner):
            raise InputError(f"{self.where}: {old} is {key}.{below} now, and {key} is {quote(inner)}; write it there.")
        here = inner.get(below, _NOTHING)
        if here is not _NOTHING and here != value:
            raise InputError(
                f"{self.where}: {old} and {key}.{below} are the same and have two values, {quote(value)} and "
                f"{quote(here)}; keep {key}.{below}."
            )
        self.config[key] = {**inner, below: value}

    def refuse(self, key: str, value: Any, reason: str) -> InputError:
        """The error of a key that has no counterpart."""
        return InputError(f"{self.where}.{key} is {quote(value)}, which has no effect any more: {reason}.")

    def one_value(self, key: str, value: Any, becomes: str) -> Any:
        """Refuse a grid or domain where one value decides several keys.

        Raises:
            InputError: it is one.
        """
        if search_space.is_space(value):
            raise InputError(f"{self.where}.{key} is {quote(value)} and becomes {becomes}; give one value.")
        return value


def absent(value: Any) -> bool:
    """Whether `Draft.take` found nothing."""
    return value is _NOTHING
