"""What ``--help`` shows of an option's value: a word that says what to type, and nothing where there is no value."""

import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from types import NoneType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

# Of an option that does not say it better by its `metavar`.
_WORDS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}


class App(typer.Typer):
    """A Typer whose commands and groups show their values' types in words."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """As Typer's.

        Args:
            name: of the command, by default the function's.
            options: Typer's.
        """
        return super().command(name, **{"cls": _Command, **options})


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return _in_words(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return _in_words(super().get_params(ctx))


def _in_words(parameters: Iterable[Any]) -> list[Any]:
    """Parameters whose column of types reads so; an argument's name, beside its description, says enough."""
    found = list(parameters)
    for each in found:
        if each.param_type_name == "argument":
            word = ""
        elif each.metavar is not None:
            continue
        else:
            word = "" if each.is_flag or each.count else _WORDS.get(_plain(each.type_descriptor.annotation), "VALUE")
        vars(each).update(display_type_rich=lambda ctx, word=word: word)
    return found


def _plain(annotation: Any) -> Any:
    """The type of a value that may be left out, or given several times."""
    kinds = [kind for kind in typing.get_args(annotation) if kind is not NoneType]
    return _plain(kinds[0]) if kinds else annotation
