"""Options in words: what a model's fields take, for docstrings and for the reference page."""

import inspect
import json
import textwrap
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

_KINDS = {
    "boolean": "true or false", "integer": "whole number", "number": "number", "string": "text", "object": "mapping",
    "null": "null",
}  # fmt: skip
_BOUNDS = {
    "minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<", "multipleOf": "a multiple of",
}  # fmt: skip


@dataclass(frozen=True)
class OptionText:
    """What is known of one option.

    Attributes:
        name: As it is written in a file.
        takes: Type and bounds in words, such as `whole number >= 1 or null`.
        default: As it is written in a file; None where a value must be given.
        text: Description, without line breaks.
    """

    name: str
    takes: str
    default: str | None
    text: str


def describe_options(model: type[BaseModel]) -> list[OptionText]:
    """Every field of a model in words: first those that it adds to its base, in its order."""
    schema, found = model.model_json_schema(), []
    own = inspect.get_annotations(model)
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] not in own):
        default = None if field.is_required() else write_value(field.get_default(call_default_factory=True))
        text = " ".join((field.description or "").split())
        found.append(OptionText(name, _takes(schema["properties"][name]), default, text))
    return found


def write_value(value: Any) -> str:
    """A default as a YAML file writes it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def list_options(model: type[BaseModel], width: int = 112) -> str:
    """The fields of a model as the section `Attributes:` of a docstring."""
    lines = ["Attributes:"]
    for option in describe_options(model):
        text = f"{option.name} ({option.takes}; default {option.default}): {option.text}"
        lines += textwrap.wrap(text, width, initial_indent=" " * 4, subsequent_indent=" " * 8, break_on_hyphens=False)
    return "\n".join(lines)


def _takes(entry: dict[str, Any]) -> str:
    choices = _choices(entry)
    return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))


def _choices(entry: dict[str, Any]) -> list[str]:
    if "anyOf" in entry:
        return [choice for part in entry["anyOf"] for choice in _choices(part)]
    if "enum" in entry or "const" in entry:
        return [f"`{choice}`" for choice in entry.get("enum", [entry.get("const")])]
    if entry["type"] == "array":
        return [f"list of {_takes(entry['items'])}s"]
    kind = _KINDS[entry["type"]]
    if entry["type"] == "object" and isinstance(entry.get("additionalProperties"), dict):
        kind = f"mapping of names to {_takes(entry['additionalProperties'])}s"
    bounds = [f"{sign} {entry[key]:g}" for key, sign in _BOUNDS.items() if key in entry]
    return [" ".join([kind, " and ".join(bounds)]).rstrip()]
