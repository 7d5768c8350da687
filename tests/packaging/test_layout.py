"""The house: how large rooms, files and functions may be, and that its descriptions name what is there.

In which direction imports go is checked by lint-imports (`make lint`).
"""

import ast
import re
import statistics
from collections import Counter
from pathlib import Path

import pytest

from rllib_scoreflow.moved import MOVED

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rllib_scoreflow"
FILES = {path: len(path.read_text().splitlines()) for path in sorted(PACKAGE.rglob("*.py"))}
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())
MODULE = re.compile(r"\brllib_scoreflow(?:\.\w+)+")
# Relative to the repository, not within a path of another machine.
SOURCE_FILE = re.compile(r"(?<![\w/-])(?:rllib_scoreflow|tests|benchmarks|scripts|examples|tuned_examples)/[\w./-]+\w")
NO_MODULES = {"rllib_scoreflow.dataset", "rllib_scoreflow.ascii", *MOVED}  # a key in a file, an error handler, old ones


def texts() -> list[Path]:
    """Everything that names a module or a file and is not read by a type checker."""
    folders = ("benchmarks", "cluster", "examples", "scripts", "tuned_examples", "rllib_scoreflow")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return [path for path in [*ROOT.glob("*.md"), *found] if path.suffix in {".md", ".py", ".sh", ".yaml"}]


def test_no_room_is_crowded() -> None:
    lines: Counter[str] = Counter()
    for path, length in FILES.items():
        room = path.relative_to(PACKAGE).parts[0]
        lines[room if room in ROOMS else "beside the rooms"] += length
    assert len(ROOMS) > 8
    assert {room: count for room, count in lines.items() if count > 0.2 * lines.total()} == {}


def test_files_are_short() -> None:
    assert {path.name: length for path, length in FILES.items() if length > 450} == {}
    assert statistics.median(length for path, length in FILES.items() if path.name != "__init__.py") < 140


def test_functions_are_short() -> None:
    long = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = node.end_lineno - node.lineno + 1
                if length > 80:
                    long[f"{path.name}: {node.name}"] = length
    assert long == {}


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_every_room_is_described(file) -> None:
    text = (ROOT / file).read_text()
    assert [room for room in ROOMS if f"`{room}/`" not in text] == []


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module of the package, or a name that one's file holds."""
    place, (*inner, last) = ROOT, dotted.split(".")
    for name in inner:
        place = place / name
    if place.with_suffix(".py").is_file():
        return re.search(rf"\b{last}\b", place.with_suffix(".py").read_text()) is not None
    if not (place / "__init__.py").is_file():  # an attribute of a class
        return len(inner) > 1 and is_there(".".join(inner))
    here = place / last
    return (
        here.with_suffix(".py").is_file()
        or (here / "__init__.py").is_file()
        or re.search(rf"\b{last}\b", (place / "__init__.py").read_text()) is not None
    )


def test_modules_and_files_that_texts_name_exist() -> None:
    named = {(path.name, name) for path in texts() for name in {*MODULE.findall(path.read_text())} - NO_MODULES}
    assert {("pretraining.py", "rllib_scoreflow.algorithms.flow_bc")} < named
    missing = [(file, name) for file, name in sorted(named) if not is_there(name)]
    files = {(path.name, name) for path in texts() for name in SOURCE_FILE.findall(path.read_text())}
    assert ("CONTRIBUTING.md", "tests/algorithms/outside_parts.py") in files
    missing += [(file, name) for file, name in sorted(files) if not (ROOT / name).exists()]
    assert missing == []
