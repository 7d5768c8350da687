"""Paths as a user writes them."""

import os
from pathlib import Path

from rllib_scoreflow.errors import InputError, shorten


def expand_user(path: str | os.PathLike[str]) -> Path:
    """Return a path with a leading `~` or `~name` replaced by that user's home folder.

    Raises:
        InputError: the user or the home folder is unknown, or the path holds a null character.
    """
    given = os.fspath(path)
    if "\0" in given:
        raise InputError(f"the path '{shorten(given)}' holds a null character; give another one.")
    try:
        return Path(given).expanduser()
    except RuntimeError:
        user = Path(given).parts[0]
        what = "the home folder is unknown here" if user == "~" else f"there is no user '{shorten(user[1:])}'"
        raise InputError(f"the path '{shorten(given)}' begins with {user}, but {what}; write it in full.") from None
