"""Private names of Ray stand in the adapters alone, and what overrides RLlib says so.

The adapters themselves have tests that fail loudly when Ray changes what they lean on.
"""

import ast
import functools
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import rllib_scoreflow

PACKAGE = Path(rllib_scoreflow.__file__).parent
ADAPTERS = {"ray_adapter.py", "tune_adapter.py"}
ROOMS = ("algorithms", "experiments", "runs", "cli")  # nothing else meets an object of Ray's
FILES = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py")) if path.name not in ADAPTERS]
IMPORT = re.compile(r"^\s*(?:from|import) ray\b", re.MULTILINE)
# Public in spite of the underscore: what RLlib's documentation tells to override, a method of every named tuple, a
# function of the standard library.
PUBLIC = {"_forward", "_forward_train", "_forward_exploration", "_forward_inference", "_replace", "_exit"}


class Use(NamedTuple):
    """An access to an attribute, and the class in whose body it stands."""

    name: str
    on_itself: bool
    within: str | None
    line: int


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def private_imports(tree: ast.AST) -> list[str]:
    """Modules and names of Ray with an underscore that are imported."""
    paths = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            paths += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            paths += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = [path.split(".") for path in paths]
    return [".".join(each) for each in parts if each[0] == "ray" and any(map(is_private, each))]


def uses(tree: ast.AST, within: str | None = None) -> Iterator[Use]:
    """Accesses to attributes with an underscore, also by getattr() and its kin, and methods that are defined."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.ClassDef) and within is None else within
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield Use(node.attr, is_itself(node.value), within, node.lineno)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            name = getattr(node.args[1], "value", None)
            if node.func.id in {"getattr", "setattr", "hasattr", "delattr"} and is_private(str(name)):
                yield Use(str(name), is_itself(node.args[0]), within, node.lineno)
        elif isinstance(node, ast.FunctionDef) and within is not None and is_private(node.name):
            yield Use(node.name, True, within, node.lineno)
        yield from uses(node, inner)


def is_itself(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        node = node.func
    return isinstance(node, ast.Name) and node.id in {"self", "cls", "super"}


def defined(tree: ast.AST) -> set[str]:
    """Names that a file gives to functions, methods, variables and attributes of its own objects."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_itself(node.value):
            found.add(node.attr)
    return found


@functools.cache
def attributes_of(base: type) -> frozenset[str]:
    """Names that a class has, and that its source gives to its objects."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
    return frozenset({*vars(base), *defined(tree)})


def bases_of_ray(path: Path, name: str) -> list[type]:
    module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    return [base for base in inspect.getmro(getattr(module, name)) if base.__module__.startswith("ray.")]


def findings(path: Path, source: str | None = None) -> list[str]:
    """Uses of names that are private to another: to Ray's base class, or to an object that the file does not define."""
    tree = ast.parse(path.read_text() if source is None else source)
    own, found = defined(tree), [f"import of {name}" for name in private_imports(tree)]
    for use in uses(tree):
        if use.on_itself and use.within is not None:
            foreign = any(use.name in attributes_of(base) for base in bases_of_ray(path, use.within))
        else:
            foreign = use.name not in own
        if foreign:
            found.append(f"line {use.line}: {use.name}")
    return found


@pytest.mark.filterwarnings("ignore")
def test_private_names_of_ray_stand_in_the_adapters_alone() -> None:
    elsewhere = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in ROOMS]
    assert [path.name for path in elsewhere if IMPORT.search(path.read_text())] == []
    assert len(FILES) > 50
    assert {path.name: found for path in FILES if (found := findings(path))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from ray.tune.registry import _global_registry",
        "import ray._private.worker",
        "device = learner._device",
        "config = getattr(learner.config, '_is_online')",
        "class ChunkEnvRunner:\n    def step(self):\n        self._weights_seq_no = 3",
        "class ChunkEnvRunner:\n    def step(self):\n        return getattr(self, '_cached_to_module', None)",
        "class ChunkEnvRunner:\n    def _sample(self):\n        pass",
        "class ChunkEnvRunner:\n    def step(self):\n        super()._new_episode(0)",
    ],
)
def test_a_private_name_is_found(line: str) -> None:
    path = PACKAGE / "algorithms/scoreflow/env_runner.py"
    assert findings(path, line) != []
    assert findings(path, "class ChunkEnvRunner:\n    def step(self):\n        self._broken = self.device") == []


def test_what_overrides_rllib_says_so() -> None:
    unmarked, count = [], 0
    for path in sorted((PACKAGE / "algorithms").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.ClassDef):
                continue
            names = {name for base in bases_of_ray(path, node.name) for name in vars(base)} - {"__init__"}
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name in names:
                    marks = [ast.unparse(mark) for mark in method.decorator_list]
                    count += 1
                    if not any(mark.startswith("override(") or mark.endswith(".setter") for mark in marks):
                        unmarked.append(f"{node.name}.{method.name}")
    assert count > 40
    assert unmarked == []
