"""The form of an entry: what an old name is called now, what is always so now, or why it is gone and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Renamed:
    """The same thing has another name now.

    Attributes:
        new: today's name.
    """

    new: str


@dataclass(frozen=True)
class Always:
    """One value of it is how things always are now; the others are gone.

    Attributes:
        value: that value.
        otherwise: why no other is taken, and the remedy; a clause without a full stop.
    """

    value: Any
    otherwise: str


@dataclass(frozen=True)
class Removed:
    """There is no such thing any more.

    Attributes:
        reason: why, and the remedy: a clause without a full stop, such as ``episodes are never cut; drop the key``.
    """

    reason: str


Entry = Renamed | Always | Removed
Table = Mapping[str, Entry]


def say_renamed(old: str, new: str) -> str:
    """The sentence on a name that was translated, without a full stop.

    Args:
        old: the name in the file or on the command line.
        new: today's name.
    """
    return f"{old} is called {new} now"
