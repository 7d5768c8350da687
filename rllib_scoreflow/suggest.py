"""Naming the nearest valid word, and finding misspelt keys."""

import difflib
from collections.abc import Iterable

_LONGEST_WORD = 100  # comparing takes time with the square of the length


def nearest(word: str, valid: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the valid word most like `word`, or None when none is like it.

    Args:
        word: what the user wrote.
        valid: the words that would have been right.
        cutoff: how alike they must be, from 0 to 1.
    """
    if len(word) > _LONGEST_WORD:
        return None
    choices = sorted(set(valid))
    lowered = {choice.lower(): choice for choice in choices}
    if word.lower() in lowered:
        return lowered[word.lower()]
    matches = difflib.get_close_matches(word, choices, n=1, cutoff=cutoff)
    return matches[0] if matches else None


def hint(word: str, valid: Iterable[str], what: str = "valid ones") -> str:
    """Return the remedy for an unknown word: the nearest valid one, or the first of them all.

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
    listed = ", ".join(choices[:30]) + (", ..." if len(choices) > 30 else "")
    return f"{what}: {listed}."
