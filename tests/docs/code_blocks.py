"""The fenced code blocks of the repository's pages, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from rllib_scoreflow.cli.main import app

ROOT = Path(__file__).parents[2]
FOLDERS = (".", "docs", "docs/tutorials", "docs/api", "cluster", "reproductions")
PAGES = sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
_FENCE = re.compile(
    r'^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        language: As the fence says, "" where it says none.
        title: The file that the reader is to write it to, None where it is none.
        text: What is in it.
    """

    language: str
    title: str | None
    text: str

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of every command; a line holds one, a backslash joins two lines."""
        if self.language not in ("", "sh"):
            return
        for line in self.text.replace("\\\n", " ").splitlines():
            for command in line.split(" && "):
                if words := shlex.split(command, comments=True):
                    yield words


def blocks_of(page: str) -> list[Block]:
    """All of a page, in their order."""
    found = _FENCE.finditer((ROOT / page).read_text(encoding="utf-8"))
    return [Block(match["language"], match["title"], match["text"]) for match in found]


def parse_rllib(words: list[str]) -> dict[str, Any]:
    """Parse a command line of `rllib`, without that word, down to its last subcommand; nothing runs."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("rllib", list(words))
    while hasattr(command, "resolve_command"):
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not rest:  # `rllib train` with options alone
            break
        _, command, rest = command.resolve_command(context, rest)
        context = command.make_context(command.name, rest, parent=context)
    return dict(context.params)
