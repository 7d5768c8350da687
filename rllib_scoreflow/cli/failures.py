"""From what Ray wraps around an error in a trial to what the user needs to read."""

import re

from rllib_scoreflow.errors import InputError

# The error of an actor that dies in its constructor reaches the driver as text alone.
_INPUT_ERROR = re.compile(r"rllib_scoreflow\.errors\.InputError: (?P<message>.+)")
_LAST_LINE = re.compile(r"^(?:[\w.]+(?:Error|Exception|Exit|Interrupt|Warning)\b.*)$", re.MULTILINE)


def input_error_in(error: BaseException) -> InputError | None:
    """Return the InputError that `error` is, wraps, or quotes; None when there is none.

    Args:
        error: what a trial failed with.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if type(current) is InputError:
            return current
        cause = getattr(current, "cause", None)
        current = cause if isinstance(cause, BaseException) else current.__cause__ or current.__context__
    found = [m.group("message").strip() for m in _INPUT_ERROR.finditer(str(error))]
    if not found:
        return None
    return InputError(found[-1])


def summary(error: BaseException) -> str:
    """Return the one line of a trial's error that says what happened.

    Args:
        error: what a trial failed with.
    """
    lines = _LAST_LINE.findall(str(error))
    if lines:
        return str(lines[-1]).strip()
    text = str(error).strip().splitlines()
    return text[-1] if text else type(error).__name__


class RunFailed(RuntimeError):
    """A trial failed; the message says how and where the traceback is. Exit status 1."""


class Interrupted(RuntimeError):
    """The user ended the run; the message says how to go on. Exit status 130."""
