"""Where pictures and videos may be written."""

from pathlib import Path

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import find_obstacle


def check_target(what: str, target: Path, ending: str, *, overwrite: bool = False) -> Path:
    """Return `target` if a file may be written there.

    Args:
        what: what to call it in the message, such as "video".
        target: the file.
        ending: what its name must end in, such as ".mp4".
        overwrite: whether it may exist already.

    Raises:
        InputError: another ending, a missing folder, the file exists, or it cannot be written.
    """
    if target.suffix != ending:
        raise InputError(f"{what} {str(target)!r}: choose a name that ends in {ending}")
    if not target.parent.is_dir():
        raise InputError(f"{what} {str(target)!r}: folder {str(target.parent)!r} does not exist")
    if target.exists() and not overwrite:
        raise InputError(f"{what} {str(target)!r} exists: choose another name")
    reason = find_obstacle(target)
    if reason is not None:
        raise InputError(f"{what} {str(target)!r} cannot be written ({reason}): choose another place")
    return target
