"""Paths as a user writes them."""

import os
import stat
import tempfile
from pathlib import Path

from rllib_scoreflow.errors import InputError, shorten


def ensure_home() -> None:
    """Give this process and those it starts a home folder where nobody has one, as in a container with a free uid.

    Ray cannot be imported without. The folder is a private one among the temporary files, and the same every time.

    Raises:
        InputError: somebody else's folder is in its place.
    """
    if os.path.expanduser("~") != "~":  # noqa: PTH111 (pathlib raises where this says so)
        return
    folder = Path(tempfile.gettempdir()) / f"rllib_scoreflow-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise InputError(f"no home folder is known, and {folder} is somebody else's; set HOME to a folder of yours.")
    os.environ["HOME"] = str(folder)
    os.environ.setdefault("USER", str(os.getuid()))


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
