"""What of a source is wanted: the options that readers share."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rllib_scoreflow.errors import InputError, quote, shorten


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading; None everywhere is a reader's default.

    Attributes:
        filter_key: name of a subset that the file defines under `mask/` (Robomimic), such as "train"; LeRobot: a task.
        observation_keys: which arrays make up the observation, in this order.
        cameras: whose images are read, in this order.
    """

    filter_key: str | None = None
    observation_keys: tuple[str, ...] | None = None
    cameras: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        filter_key: str | None = None,
        observation_keys: Sequence[str] | None = None,
        cameras: Sequence[str] | None = None,
    ) -> "ReadOptions":
        """Check and take over what a user gave; an empty list is the default, too.

        Raises:
            InputError: a name is empty or given twice, or a text stands for the list.
        """
        keys = _names("observation_keys", observation_keys)
        # Robomimic's files call the images of the camera `agentview` `agentview_image`.
        views = _names("cameras", [str(c).removesuffix("_image") for c in _sequence("cameras", cameras)])
        return cls(filter_key or None, keys, views)

    def tag(self) -> str:
        """Return what tells data read with these options apart in the cache: empty for the defaults."""
        if self == ReadOptions():
            return ""
        text = json.dumps([getattr(self, field.name) for field in fields(self)])
        return "-" + hashlib.sha256(text.encode()).hexdigest()[:8]

    def refuse_all_but(self, allowed: set[str], path: Path | str, what: str) -> None:
        """Refuse options that a format has no use for.

        Raises:
            InputError: naming the option.
        """
        for field in fields(self):
            if getattr(self, field.name) is not None and field.name not in allowed:
                raise InputError(f"{path}: the option '{field.name}' does not apply to {what}; leave it out")


def _sequence(option: str, names: Sequence[str] | None) -> Sequence[str]:
    if names is None:
        return ()
    if isinstance(names, str):
        raise InputError(f"{option} is {quote(names)}; give a list of names, such as [{shorten(names, 50)}]")
    return names


def _names(option: str, names: Sequence[str] | None) -> tuple[str, ...] | None:
    chosen = tuple(str(name) for name in _sequence(option, names))
    if not all(chosen) or len(set(chosen)) < len(chosen):
        raise InputError(f"{option} is {quote(list(chosen))}; give a list of different names")
    return chosen or None
