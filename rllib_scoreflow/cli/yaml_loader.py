"""YAML as people write it: ``5e-4`` is a float, and a key given twice is an error."""

import re
from pathlib import Path
from typing import Any

import yaml

from rllib_scoreflow.errors import InputError


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with two corrections; it never builds Python objects from tags."""


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
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} cannot be a key", mark)
        if key in seen:
            first = seen[key].line + 1
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is given twice (first in line {first})", mark
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
        InputError: the text is not YAML, uses a tag that would build an object, or gives a key
        twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a subclass of SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"{origin}{where}: {error.problem}; correct the YAML there.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{origin} is not valid YAML ({reason}).") from None


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
        raise InputError(f"{option} must be a mapping such as '{{\"training_iteration\": 10}}', and {text!r} is not.")
    return value


def read_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Args:
        path: the file.

    Returns:
        Its text.

    Raises:
        InputError: it is missing, a folder, unreadable or not UTF-8.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give the path of an experiment file (.yaml or .py).")
    try:
        return path.read_text(encoding="utf-8")
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the path of an experiment file (.yaml or .py).") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file; give a YAML or Python experiment file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
