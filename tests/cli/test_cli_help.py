"""``--help``: what it says of the values to type."""

import pytest
import typer
from rich.text import Text

from rllib_scoreflow.cli.main import app


def commands(command, words=()):
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_types_are_words_that_a_person_understands(words, rllib, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    answer = rllib(*words, "--help")
    assert answer.status == 0
    for internal in ("<str>", "<int", "<float", "<bool>", "<path>", "<list", "<Any"):
        assert internal not in answer.out
    lines = [line for line in answer.out.splitlines() if line.startswith("│")]
    for parameter in ALL[words].params:
        if parameter.param_type_name == "argument":
            continue
        (line,) = [line for line in lines if f" {parameter.opts[0]} " in line or f" {parameter.opts[0]}," in line][:1]
        takes_value = not (parameter.is_flag or parameter.count)
        beside = line.strip("│ ").split("  ")
        shown = [part.strip() for part in beside if part.strip()][1:-1]
        shown = [part for part in shown if not part.startswith("-")]
        assert bool(shown) == takes_value, line


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_no_part_of_a_help_is_taken_for_markup(words):
    for parameter in ALL[words].params:
        if parameter.help:
            assert Text.from_markup(parameter.help).plain == parameter.help
