"""From what Ray wraps around an error in a trial to what the user needs to read."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rllib_scoreflow.errors import InputError, drop_addresses
from rllib_scoreflow.files.atomic import nearest_existing

# The error of an actor that dies in its constructor reaches the driver as text alone.
_INPUT_ERROR = re.compile(r"rllib_scoreflow\.errors\.InputError: (?P<message>.+)")
_LONGEST_NAME = 300
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_TEXT = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_PASSING = re.compile(
    r"[\w.]*(?:Actor|Worker|Node|Object|Owner|Raylet|Connection|BrokenPipe|Timeout|TimedOut|OutOfMemory|Memory|RaySystem|"
    r"BlockingIO|Cuda|NCCL|Nccl|DistBackend|SimulatorError)\w*(?::|$)|.*CUDA (?:out of memory|error)"
)
_OUT_OF_MEMORY = re.compile(r"\d+ worker\(s\) were killed due to the node running low on memory")
_LAST_LINE = re.compile(r"^(?:[\w.]+(?:Error|Exception|Exit|Interrupt|Warning)\b.*)$", re.MULTILINE)


def input_error_in(error: BaseException) -> InputError | None:
    """Return the InputError that `error` is, wraps, or quotes; None when there is none.

    Args:
        error: what a trial failed with.
    """
    bad_input = next((each for each in _causes(error) if type(each) is InputError), None)
    if bad_input is not None:
        return bad_input
    found = [m.group("message").strip() for m in _INPUT_ERROR.finditer(str(error))]
    if not found:
        return None
    return InputError(found[-1])


def disk_is_full(error: BaseException) -> bool:
    """Whether an error is, wraps or quotes one of a disk that is full, or of a quota that is used up.

    Args:
        error: what a trial, or the command itself, failed with.
    """
    full = any(isinstance(each, OSError) and each.errno in _FULL for each in _causes(error))
    return full or _FULL_TEXT.search(str(error)) is not None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and, one after the other, what it wraps or came from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        cause = getattr(current, "cause", None)  # of an error that Ray wraps
        current = cause if isinstance(cause, BaseException) else current.__cause__ or current.__context__


@contextmanager
def naming_full_disk(name: str, folder: Path, resume_command: str) -> Iterator[None]:
    """Turn the errors of a full disk into one sentence.

    Args:
        name: the experiment's.
        folder: where its results go.
        resume_command: what to type to go on.

    Raises:
        RunFailed: the disk is full.
    """
    try:
        yield
    except (InputError, RunFailed, Interrupted):
        raise
    except Exception as error:
        if not disk_is_full(error):
            raise
        raise RunFailed(
            f"{name}: the disk is full, {_fullest(folder)}; make room and go on with: {resume_command}"
        ) from error


def _fullest(folder: Path) -> str:
    """The place with the least room: results go to one, what Ray is about to write to another."""
    left = {}
    for place in (folder, Path(tempfile.gettempdir())):
        left[place] = shutil.disk_usage(nearest_existing(place)).free
    place = min(left, key=lambda one: left[one])
    return f"{place} has {left[place] / 2**20:,.1f} MiB left"


def as_error(kept: BaseException | str) -> BaseException:
    """Return what Tune keeps of a trial's failure as an exception; of one that it could not write it keeps the text.

    Args:
        kept: `error` of a result.
    """
    return kept if isinstance(kept, BaseException) else RuntimeError(kept)


def summary(error: BaseException) -> str:
    """Return the one line of a trial's error that says what happened.

    Args:
        error: what a trial failed with.
    """
    text = str(error).strip()
    killed = _OUT_OF_MEMORY.search(text)  # the first of many lines, of which the last ones are advice
    if killed is not None:
        return f"{killed[0]}; run fewer trials or EnvRunners at once"
    found = list(_LAST_LINE.finditer(text))
    lines = text[found[-1].start() :].splitlines() if found else text.splitlines()[-1:]
    if len(lines) > 1 and lines[0].rstrip().endswith(":"):  # the line says that the next one is the reason
        lines[0] += f" {lines[1].strip()}"
    return drop_addresses(lines[0].strip()) if lines else type(error).__name__


def ending_error(error: BaseException) -> BaseException | None:
    """Return what ends a whole run, of which every trial would meet the same; None where a trial may go on.

    Args:
        error: what a trial failed with.

    Returns:
        The InputError that `error` is, wraps or quotes, or `error` itself on a full disk.
    """
    return input_error_in(error) or (error if disk_is_full(error) else None)


def is_permanent(error: BaseException) -> bool:
    """Whether a trial that has reported nothing since it began would fail with this error again.

    What a process, a machine, the network or the memory has done may be otherwise the next time; what code raises on
    its way to the first result is raised again.

    Args:
        error: what the trial failed with.
    """
    return ending_error(error) is not None or _PASSING.match(summary(error)) is None


_REMEDIES = {
    errno.EACCES: "choose another place, or change its permissions",
    errno.EPERM: "choose another place, or change its permissions",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "make room there, and give the command again (training goes on with --resume)",
    errno.EDQUOT: "make room there, and give the command again (training goes on with --resume)",
    errno.ENAMETOOLONG: "choose a shorter one",
    errno.ELOOP: "mend the links",
    errno.EEXIST: "choose another name",
    errno.ENOTEMPTY: "choose another name",
    errno.ENOTDIR: "a part of it is a file where a folder is needed; choose another",
    errno.EISDIR: "give a file, not a folder",
    errno.ENOENT: "give one that exists",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def file_system_sentence(error: OSError) -> str | None:
    """Return what the user reads of an error of the file system, or None where it names no file.

    Args:
        error: any OSError.
    """
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    if not names or error.errno is None:
        return None
    reason = os.strerror(error.errno)
    where = " and ".join(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..." for name in names)
    return f"{where}: {reason[0].lower()}{reason[1:]}; {_REMEDIES.get(error.errno, 'correct that and try again')}."


class RunFailed(RuntimeError):
    """A trial failed; the message says how and where the traceback is. Exit status 1."""


class Interrupted(RuntimeError):
    """The user ended the run; the message says how to go on. Exit status 130."""
