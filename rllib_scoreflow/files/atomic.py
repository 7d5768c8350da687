"""Files and folders that appear whole or not at all, and the sweeping of what a killed process left of them."""

import contextlib
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# `.<name>.<host>-<process>-<random>.tmp<ending>`: the parts tell whether whoever writes it still lives.
_TEMPORARY = re.compile(r"^\..+\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{12}\.tmp(?:\.[^.]*)?$")
# What another machine writes into a shared folder, which cannot be asked about, is left alone for so long.
_FOREIGN_SECONDS = 24 * 3600.0


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary sibling of `path` to write to, and move it to `path` if the block succeeds.

    After a failure neither file exists (or `path` is what it was before); that the disk is full is found before the
    move. The sibling has the ending of `path`, by which some libraries choose the format. What killed processes left in
    the folder is removed.
    """
    sweep(path.parent)
    temporary = temporary_sibling(path)
    try:
        yield temporary
        _hand_to_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        _name(error, temporary, path)
        raise
    finally:
        with contextlib.suppress(OSError):  # which would hide the one above
            temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Try, before long work, whether `atomic_path` could write a file, and leave nothing behind.

    Args:
        path: the file; its folder exists.

    Raises:
        OSError: it could not; the error names `path`.
    """
    temporary = temporary_sibling(path)
    try:
        temporary.touch(exist_ok=False)
        temporary.unlink()
    except OSError as error:
        _name(error, temporary, path)
        raise


def nearest_existing(path: Path) -> Path:
    """Return a path, or the innermost folder above it that exists, in which it would be made.

    Args:
        path: of a file or folder.
    """
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def find_obstacle(path: Path) -> str | None:
    """Return why `require_writable` fails, in a few words for a message, or None where a file can be written.

    Args:
        path: the file; its folder exists.
    """
    try:
        require_writable(path)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _name(error: OSError, temporary: Path, path: Path) -> None:
    """Let an error name the file that the user knows."""
    if error.filename in (str(temporary), os.fspath(temporary)):
        error.filename, error.filename2 = str(path), None


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new temporary sibling folder, and move it to `path` if the block succeeds; a folder there is replaced.

    What killed processes left in the parent folder is removed.
    """
    sweep(path.parent)
    temporary, former = temporary_sibling(path), temporary_sibling(path)
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            os.replace(path, former)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if former.exists():
            if not path.exists():  # the second move failed
                os.replace(former, path)
            shutil.rmtree(former, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in `folder` whose writers were killed; never raises.

    Args:
        folder: may be missing; the folders within it are not looked at.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = _TEMPORARY.match(entry.name)
            if found is not None and _is_abandoned(found["host"], int(found["process"]), entry):
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path)
                    else:
                        Path(entry.path).unlink()


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, whole or not at all.

    Args:
        path: the file, which is made if it is missing.
        line: text without line breaks.

    Raises:
        OSError: it cannot be written; the file is as it was before.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        before = os.fstat(descriptor).st_size
        rest = (line + "\n").encode("utf-8")
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, before)
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Whether a name is one of `temporary_sibling`.

    Args:
        path: a file or folder.
    """
    return _TEMPORARY.match(path.name) is not None


def temporary_sibling(path: Path) -> Path:
    """A name beside `path` that nobody else uses, and that `sweep` knows once this process has ended.

    Args:
        path: a file or folder.
    """
    # A name may have 255 bytes; the end of a long one is left out.
    stem = os.fsdecode(os.fsencode(path.stem)[:120])
    return path.with_name(f".{stem}.{_host()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.tmp{path.suffix}")


def _hand_to_disk(path: Path) -> None:
    if path.is_file():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _host() -> str:
    return f"{uuid.uuid5(uuid.NAMESPACE_DNS, socket.gethostname()).int & 0xFFFFFFFF:08x}"


def _is_abandoned(host: str, process: int, entry: os.DirEntry[str]) -> bool:
    if host != _host():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _FOREIGN_SECONDS
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's process, which lives; a number that no process has
        return False
    return False
