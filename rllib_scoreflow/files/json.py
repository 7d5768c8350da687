"""JSON files that others may have written or damaged: read here, or refused in one sentence."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from rllib_scoreflow.errors import InputError, shorten

_MAX_BYTES = 64 << 20
_MAX_DEPTH = 100
_REMEDY = "write or copy the file again"


def parse_json(text: str | bytes, origin: str, *, finite: bool = False, remedy: str = _REMEDY) -> Any:
    """Parse a JSON document, nested at most a hundred deep.

    Args:
        text: the document; bytes are UTF-8.
        origin: what to call it in a message, such as the path of its file.
        finite: refuse NaN and infinities, which JSON does not have but Python reads and writes.
        remedy: what the user can do about it.

    Raises:
        InputError: it is not JSON, or nested too deeply.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text  # json would guess other encodings
        content = json.loads(text, parse_constant=_refuse_constant if finite else None)
    except RecursionError:
        raise InputError(f"{origin} cannot be read as JSON (it is nested too deeply); {remedy}.") from None
    except ValueError as error:  # also what is not UTF-8, and numbers of thousands of digits
        raise InputError(f"{origin} cannot be read as JSON ({shorten(str(error), 100)}); {remedy}.") from None
    # Long results are not walked where they cannot be deep.
    may_be_deep = text.count("[") + text.count("{") > _MAX_DEPTH
    problem = _problem(content, finite=finite) if finite or may_be_deep else None
    if problem is not None:
        raise InputError(f"{origin} cannot be read as JSON ({problem}); {remedy}.")
    return content


def read_json(path: Path, *, finite: bool = False, remedy: str = _REMEDY) -> Any:
    """Read a JSON file of at most 64 MB; see `parse_json`.

    Args:
        path: the file.
        finite: refuse NaN and infinities.
        remedy: what the user can do about a damaged file.

    Raises:
        InputError: it cannot be read, is too large or is not JSON.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # a null character in the path
        raise InputError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); {remedy}.") from error
    if len(text) > _MAX_BYTES:
        raise InputError(f"{path} cannot be read as JSON (it has more than {_MAX_BYTES} bytes); {remedy}.")
    return parse_json(text, str(path), finite=finite, remedy=remedy)


def check_form(content: Any, model: type[BaseModel], path: Path, what: str, remedy: str) -> Any:
    """Return a file's content as a model of it, which says what of it is used.

    Args:
        content: from `read_json`.
        model: of the content.
        path: the file.
        what: whose form it is, such as "an experiment".
        remedy: what the user can do about a damaged file.

    Raises:
        InputError: it has another form; naming the entry.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        entry = f"a bad entry '{shorten(where)}'" if where else f"another form than {what}'s"
        raise InputError(f"{path} has {entry} ({shorten(first['msg'])}); {remedy}.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _problem(content: Any, *, finite: bool) -> str | None:
    """What is wrong with parsed content, or None; level by level, so that no depth can exhaust the stack."""
    level: list[Any] = [content]
    for _ in range(_MAX_DEPTH):
        if finite and any(isinstance(value, float) and not math.isfinite(value) for value in level):
            return "a number in it is too large"
        containers = [value for value in level if isinstance(value, dict | list)]
        if not containers:
            return None
        level = [inner for one in containers for inner in (one.values() if isinstance(one, dict) else one)]
    return "it is nested too deeply"
