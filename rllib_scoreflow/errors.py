"""The exception types of bad input and of failing simulators, and how much of a file's text its message may repeat."""

import re

MESSAGE_LIMIT = 200
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of an object: another one in each run
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+|\s+")


class InputError(ValueError):
    """Input that the user can correct: a file, a key, a value, an id.

    The message is one sentence that names the file or key, what was found and the remedy. The command line prints it
    without a traceback and exits with status 2; nothing has been written when it is raised.
    """


class SimulatorError(RuntimeError):
    """An environment raised an exception, or returned NaN or infinity; the message is one sentence.

    Another episode may go well: rollouts go on with new environments, and give up after a few tries.
    """


def drop_addresses(text: str) -> str:
    """A text without the addresses of objects, such as that of ``<function f at 0x7f3a5c>``.

    Args:
        text: any text.
    """
    return _ADDRESS.sub("", text)


def shorten(found: object, limit: int = MESSAGE_LIMIT) -> str:
    """Text from a file as a message may repeat it: on one line, no control characters or addresses, cut at `limit`.

    A file must not be able to fill the terminal, move its cursor or add lines that look like ours.

    Args:
        found: a text, or a value, which is shown as Python writes it.
        limit: most characters of the answer.
    """
    if isinstance(found, str):
        text = found
    else:
        try:
            text = repr(found)
        except (RecursionError, ValueError):  # nested too deeply; a number of too many digits
            text = f"a {type(found).__name__}"
    # More than the limit is looked at, because the substitution may shorten; all of it would cost time.
    line = _UNPRINTABLE.sub(" ", drop_addresses(text[: 4 * limit])).strip()
    if len(line) <= limit and len(text) <= 4 * limit:
        return line
    return line[: limit - 4].rstrip() + " ..."


def quote(found: object) -> str:
    """A value of a file or an option as a message shows it: as `shorten`, a text in quotation marks."""
    return f"'{shorten(found)}'" if isinstance(found, str) else shorten(found)
