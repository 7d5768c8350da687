"""One command at a time writes to an experiment's folder.

The lock is the operating system's, on a file beside the folder, so that it goes with the process that holds it, however
that ends. On a network file system it counts for all machines where the server keeps locks (NFS since version 3); where
there are none at all, a note says so and the command goes on.
"""

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from rllib_scoreflow.errors import InputError, shorten

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def refuse_busy(folders: Iterable[Path]) -> None:
    """Refuse experiments that another command is running; nothing is written.

    Args:
        folders: the experiments' folders.

    Raises:
        InputError: naming the folder and the process.
    """
    for folder in folders:
        path = _lock_path(folder)
        # What cannot be locked at all is found when it is locked for good.
        with contextlib.suppress(OSError, NotImplementedError):
            if path.exists():
                _acquire(path, folder).release()


@contextlib.contextmanager
def hold(folders: Iterable[Path]) -> Iterator[None]:
    """Keep other commands out of experiments' folders; find out that results can be written there.

    Args:
        folders: the experiments' folders, which may be still to be made.

    Raises:
        InputError: another command is running one of them, or a folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        for folder in folders:
            try:
                _hold_one(folder, stack)
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise InputError(
                    f"results cannot be written to {folder} ({reason}); choose another --results-dir."
                ) from error
        yield


def _hold_one(folder: Path, stack: contextlib.ExitStack) -> None:
    stack.callback(_remove_empty, _make(folder))
    path = _lock_path(folder)
    try:
        lock = _acquire(path, folder)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        text = f"the file system of {folder.parent} has no locks: do not run a second command there meanwhile"
        print(f"Note: {text}.", file=sys.stderr)
        return
    stack.callback(lock.release)
    stack.callback(path.unlink, missing_ok=True)
    path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _acquire(path: Path, folder: Path) -> FileLock:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            holder = shorten(path.read_text(encoding="utf-8", errors="replace"), 100)
        except OSError:
            holder = ""
        raise InputError(
            f"{folder} is being written by another `rllib train` ({holder or 'another process'}); "
            "wait until it has ended, or choose another --results-dir."
        ) from None
    return lock


def _make(folder: Path) -> list[Path]:
    """Makes the folder above an experiment's; those that were not there, the deepest first."""
    parent = folder.parent
    missing = [path for path in (parent, *parent.parents) if not path.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "no permission to write, or a read-only file system")
    return missing


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
