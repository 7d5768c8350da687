"""What the command prints: any text on any terminal, and names as they are."""

import codecs
import sys
from typing import Any

from rich.console import Console

_ERRORS = "rllib_scoreflow.ascii"
_ASCII = {"±": "+-", "…": "...", "—": "-"}
# A message is one sentence; what is longer than this repeats somebody's file.
_LONGEST_MESSAGE = 2000


def adapt_streams() -> None:
    """Let the standard streams print every character: what the terminal lacks in ASCII, ``±`` as ``+-``.

    Under LANG=C, or for a file name that is not UTF-8, Python would raise UnicodeEncodeError in the middle of a run.
    """
    codecs.register_error(_ERRORS, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(_ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in found), error.end


def new_console(**options: Any) -> Console:
    """Return a console of rich that prints texts as they are: ``[red]`` and ``:name:`` may be parts of a file's name.

    Args:
        options: arguments of `rich.console.Console`.
    """
    return Console(highlight=False, markup=False, emoji=False, **options)


def wide_console() -> Console:
    """Return a console for tables; in a file or pipe it has no edge to wrap at, so that a path can be copied."""
    console = new_console()
    return console if console.is_terminal else new_console(width=200)


def one_line(message: str) -> str:
    """Return a message on one line, control characters as escapes, the middle of a very long one left out.

    Args:
        message: any text.
    """
    text = " ".join(message.split("\n"))
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    if len(text) <= _LONGEST_MESSAGE:
        return text
    half = _LONGEST_MESSAGE // 2
    return f"{text[:half]} ... {text[-half:]}"
