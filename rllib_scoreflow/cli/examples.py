"""``rllib example``: the experiment files of this package, and those scripts of the installed RLlib that train once."""

import ast
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rllib_scoreflow.cli.help import App
from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.suggest import nearest, similar

example_app = App(help="List, show and run example experiments.", no_args_is_help=True)
_PACKAGE = Path(__file__).parents[1]
# Of this package; the first is the folder of the same name in the repository.
_OWN_FOLDERS = (_PACKAGE / "tuned_examples", _PACKAGE / "cli" / "rllib_examples")
_RULE = re.compile(r"[=\-~_#\s]*")
_LONGEST = 96

Id = Annotated[str, typer.Argument(help="The example's name in `rllib example list`.", show_default=False)]


@dataclass(frozen=True)
class Example:
    """One example.

    Attributes:
        name: by which the command knows it: the path within its folder, without the ending.
        file: YAML of this package, Python of RLlib's.
        description: the first sentence of its header.
    """

    name: str
    file: Path
    description: str


def find_examples() -> dict[str, Example]:
    """Return every example that can be run, by its name; nothing is imported for it."""
    found = [(folder, path) for folder in _OWN_FOLDERS for path in sorted(folder.rglob("*.yaml"))]
    ray = importlib.util.find_spec("ray")
    if ray is not None and ray.submodule_search_locations:
        folder = Path(ray.submodule_search_locations[0]) / "rllib" / "examples"
        scripts = (path for path in sorted(folder.rglob("*.py")) if "_old_api_stack" not in path.parts)
        found += [(folder, path) for path in scripts if _trains_once(path)]
    examples = {}
    for folder, path in found:
        name = path.relative_to(folder).with_suffix("").as_posix()
        examples[name] = Example(name, path, _description(path))
    return examples


@example_app.callback()
def example() -> None:
    """List, show and run example experiments."""


@example_app.command("list")
def list_examples(
    *,
    part: Annotated[
        str | None, typer.Option("--filter", "-f", help="Only those with this in their name.", metavar="TEXT")
    ] = None,
) -> None:
    """List the examples of this package and those of the installed RLlib that the command can run."""
    from rich.table import Table

    from rllib_scoreflow.terminal import wide_console

    examples = find_examples()
    chosen = [each for name, each in examples.items() if part is None or part.lower() in name.lower()]
    if not chosen:
        raise InputError(f"no example has {quote(part)} in its name; see `rllib example list`.")
    table = Table(box=None, pad_edge=False)
    table.add_column("example", no_wrap=True)
    table.add_column("what it does")
    for each in chosen:
        table.add_row(each.name, each.description)
    console = wide_console()
    console.print(table)
    console.print("\nrllib example get NAME shows one, rllib example run NAME trains it.")


@example_app.command("get")
def get(name: Id) -> None:
    """Print an example's file."""
    print(_find(name).file.read_text(encoding="utf-8"), end="")


@example_app.command("run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context, name: Id) -> None:
    """Train an example: `rllib train file` of its file, whose options can follow the name."""
    from rllib_scoreflow.cli.train_command import train_app

    train_app(args=["file", str(_find(name).file), *context.args], prog_name="rllib train", standalone_mode=False)


def _find(name: str) -> Example:
    examples = find_examples()
    found = examples.get(name) or examples.get(name.removesuffix(".yaml").removesuffix(".py"))
    if found is not None:
        return found
    lasts = {each.rpartition("/")[2]: each for each in examples}
    if name in lasts:
        return examples[lasts[name]]
    close = nearest(name, examples, cutoff=0.75) or next(iter(similar(name, lasts, most=1, cutoff=0.75)), None)
    hint = f"did you mean {lasts.get(close, close)!r}?" if close else "see `rllib example list`, and --filter TEXT."
    raise InputError(f"there is no example {quote(name)} (Ray took its tuned examples away); {hint}")


def _trains_once(path: Path) -> bool:
    """Whether a script hands one config to RLlib's function for examples, as its last deed."""
    from rllib_scoreflow.experiments.example_scripts import trains_once

    return trains_once(path.read_text(encoding="utf-8"))


def _description(path: Path) -> str:
    """The first sentence of the comment or docstring at the head of a file, cut to a line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        head = ast.get_docstring(ast.parse(text)) or ""
    else:
        lines = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
        head = "\n".join(line for line in lines if not line.startswith("rllib "))
    paragraphs = [" ".join(part.split()) for part in head.split("\n\n") if not _RULE.fullmatch(part)]
    sentence = re.split(r"(?<=[.:!])\s", paragraphs[0])[0].rstrip(".:") if paragraphs else ""
    return sentence if len(sentence) <= _LONGEST else sentence[: _LONGEST - 4].rpartition(" ")[0] + " ..."
