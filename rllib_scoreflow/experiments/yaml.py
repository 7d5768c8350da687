"""YAML as people write it: ``5e-4`` is a float, and a key given twice is an error.

A document is bounded before anything walks it: in its characters, in its depth, and in the values that it stands for
once every alias is written out, of which 500 characters can name more than any memory holds.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rllib_scoreflow.errors import InputError, quote, shorten

MAX_BYTES = 256 * 1024  # parsed in some seconds; an experiment file has a few thousand
_MAX_VALUES = 100_000
_MAX_DEPTH = 50
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # no file name, terminal or JSON takes one
_MAX_INTEGER = 2**64  # beyond it neither numpy nor Arrow goes, and Python writes no number of 4,300 digits


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with two corrections and a bound; it never builds Python objects from tags."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Composes a node; what is nested too deeply is not read to its end, which takes long.

        Raises:
            RecursionError: it is.
        """
        if self._depth > _MAX_DEPTH:
            raise RecursionError
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


# YAML 1.1, which PyYAML follows, takes 5e-4 (no dot) for a string. YAML 1.2 and every user take it
# for a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, yaml.Mark] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`, whose keys may be given anew
            continue
        key = loader.construct_object(key_node, deep=True)
        mark = key_node.start_mark
        if not isinstance(key, str | int | float | bool):
            raise yaml.constructor.ConstructorError(None, None, f"{quote(key)} cannot be a key", mark)
        if key in seen:
            first = seen[key].line + 1
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {shorten(repr(key), 100)} is given twice (first in line {first})", mark
            )
        seen[key] = mark
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def parse_yaml(text: str, origin: str) -> Any:
    """Parse YAML (or JSON, which is YAML) text.

    Args:
        text: the document.
        origin: what to call the text in a message, such as a file name or ``--config``.

    Returns:
        Plain dicts, lists, strings, numbers, booleans and None.

    Raises:
        InputError: the text is not YAML, uses a tag that would build an object, gives a key twice, is too large or
        nested too deeply, or holds a number that is none (``.nan``) or is too large.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{origin} has {len(text)} characters and may have {MAX_BYTES}; is it an experiment file?")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_extent(node, {}, origin)
        value = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = shorten(str(error.problem or error.context))
        raise InputError(f"{origin}{where}: {problem}; correct the YAML there.") from None
    except RecursionError:
        raise InputError(f"{origin} is nested too deeply; {_FLATTEN}.") from None
    except InputError:  # which is a ValueError
        raise
    except (yaml.YAMLError, ValueError) as error:
        reason = shorten(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise InputError(f"{origin} is not valid YAML ({reason}); correct it.") from None
    _check_values(value, origin)
    return value


_FLATTEN = f"an experiment file has at most {_MAX_DEPTH} levels"


class _Extent(NamedTuple):
    """Of a node: how many values it stands for, and how deep they are nested."""

    values: int
    depth: int


def _check_extent(node: yaml.Node, known: dict[int, _Extent | None], origin: str) -> _Extent:
    """Count what a node stands for; each node is visited once, however often it is named.

    Args:
        node: the node.
        known: the extents found so far by the node's identity; None while a node is being looked at.
        origin: for the message.

    Raises:
        InputError: it is too much, too deep, or a part of itself.
    """
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise InputError(
                f"{origin}, line {node.start_mark.line + 1}: a value is a part of itself; take its alias out."
            )
        return found
    known[id(node)] = None
    parts = [_check_extent(below, known, origin) for below in _below(node)]
    extent = _Extent(1 + sum(part.values for part in parts), 1 + max((part.depth for part in parts), default=0))
    line = node.start_mark.line + 1
    if extent.values > _MAX_VALUES:
        raise InputError(
            f"{origin}, line {line}: with its aliases written out it stands for more than {_MAX_VALUES} values; "
            "take some aliases (`*name`) out."
        )
    if extent.depth > _MAX_DEPTH:
        raise InputError(f"{origin}, line {line} is nested too deeply; {_FLATTEN}.")
    known[id(node)] = extent
    return extent


def _below(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from (key, value)


def _check_values(value: Any, origin: str, path: str = "") -> None:
    """Refuse what no option means: ``.nan``, integers that Python cannot even print, and halves of characters."""
    what = f"{origin}: {path}" if path else origin
    if isinstance(value, dict):
        for key, below in value.items():
            _check_values(key, origin, f"a key below {path or 'the top'}")
            _check_values(below, origin, f"{path}.{shorten(str(key))}".lstrip("."))
    elif isinstance(value, list | tuple | set):
        for below in value:
            _check_values(below, origin, path)
    elif isinstance(value, str) and _HALF_CHARACTER.search(value):
        raise InputError(
            f"{what} is {quote(value)}, which holds half a character (\\uD800 to \\uDFFF); write it whole."
        )
    elif isinstance(value, float) and math.isnan(value):
        raise InputError(f"{what} is .nan, which is no number; give one.")
    elif isinstance(value, int) and abs(value) > _MAX_INTEGER:
        raise InputError(f"{what} is a whole number of more than 64 bits; give a smaller one.")


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Args:
        path: an existing file.

    Returns:
        As `parse_yaml`.

    Raises:
        InputError: as `parse_yaml`, or the file cannot be read or is not UTF-8 text.
    """
    return parse_yaml(read_text(path), str(path))


def parse_mapping(text: str, option: str) -> dict[str, Any]:
    """Parse the JSON or YAML mapping given to a command-line option.

    Args:
        text: such as ``{"lr": 5e-4}`` or ``lr: 5e-4``.
        option: the option's name, for the message.

    Returns:
        The mapping.

    Raises:
        InputError: the text is not a mapping with string keys.
    """
    value = parse_yaml(text, option)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(
            f"{option} must be a mapping such as '{{\"training_iteration\": 10}}', and {quote(text)} is not."
        )
    return value


def read_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Args:
        path: the file.

    Returns:
        Its text.

    Raises:
        InputError: it is missing, a folder, unreadable, too large or not UTF-8.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give the path of an experiment file (.yaml or .py).")
    if not path.is_file():  # a pipe nobody writes to would be waited for without end
        what = "a folder" if path.is_dir() else "no regular file"
        raise InputError(f"{path} is {what}; give the path of an experiment file (.yaml or .py).")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"{path} has more than {MAX_BYTES} bytes; give an experiment file (.yaml or .py).")
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file; give a YAML or Python experiment file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
