"""Naming the nearest valid word, and finding misspelt keys."""

import difflib
from collections.abc import Iterable

_ALIKE = 0.66  # two letters of three that changed places; below it, words have little in common
_MOST_LISTED = 15  # a wall of keys is read by nobody
_LONGEST_WORD = 100  # comparing takes time with the square of the length


def nearest(word: str, valid: Iterable[str], cutoff: float = _ALIKE) -> str | None:
    """Return the valid word most like `word`, or None when none is like it.

    Args:
        word: what the user wrote.
        valid: the words that would have been right.
        cutoff: how alike they must be, from 0 to 1.
    """
    choices = sorted(set(valid))
    lowered = {choice.lower(): choice for choice in choices}
    if word.lower() in lowered:
        return lowered[word.lower()]
    return next(iter(similar(word, choices, most=1, cutoff=cutoff)), None)


def similar(word: str, valid: Iterable[str], most: int = 3, cutoff: float = 0.5) -> list[str]:
    """Return the valid words that are like `word`, the most alike first.

    Args:
        word: what the user wrote.
        valid: the words that would have been right.
        most: how many at most.
        cutoff: how alike they must be, from 0 to 1.
    """
    if len(word) > _LONGEST_WORD:
        return []
    return difflib.get_close_matches(word, sorted(set(valid)), n=most, cutoff=cutoff)


def hint(word: str, valid: Iterable[str], what: str = "valid ones") -> str:
    """Return the remedy for an unknown word: the nearest valid one, or all of them if they are few.

    Args:
        word: what the user wrote.
        valid: the words that would have been right.
        what: what to call them.

    Returns:
        A clause such as ``did you mean 'gamma'?`` without a leading space.
    """
    choices = sorted(set(valid))
    match = nearest(word, choices)
    if match is not None:
        return f"did you mean {match!r}?"
    if len(choices) > _MOST_LISTED:
        return f"none of the {len(choices)} that there are is like it, so take it out or correct it."
    return f"{what}: {', '.join(choices)}."
