"""Private names of Ray stand in the adapters alone, those of its options in one table, and overrides say that they are.

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
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

import rllib_scoreflow

PACKAGE = Path(rllib_scoreflow.__file__).parent
ADAPTERS = {"ray_adapter.py", "tune_adapter.py"}
ROOMS = ("algorithms", "experiments", "runs", "cli")  # nothing else meets an object of Ray's
FILES = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py")) if path.name not in ADAPTERS]
OPTIONS = PACKAGE / "algorithms/common/rllib_options.py"
"""The table of RLlib's options, which a test compares with RLlib: the one place that names private ones."""
RENAMES = PACKAGE / "experiments/renames"
"""The tables of what RLlib has renamed or dropped, private options among them."""
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


@functools.cache
def private_options() -> frozenset[str]:
    """Attributes of RLlib's config, keys of its dictionary and arguments of its setters that are private."""
    names = {*vars(AlgorithmConfig()), *AlgorithmConfig().to_dict()}
    for name, member in inspect.getmembers(AlgorithmConfig):
        names |= {name, *(inspect.signature(member).parameters if inspect.isfunction(member) else ())}
    return frozenset(filter(is_private, names))


def named_options(source: str) -> list[str]:
    """Private options of RLlib's that a source names as text, alone or among other words; docstrings may."""
    tree = ast.parse(source)
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        f"line {node.lineno}: {word}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts
        for word in node.value.split()
        if word in private_options()
    ]


@pytest.mark.filterwarnings("ignore")
def test_private_options_of_rllib_stand_in_their_table_alone() -> None:
    assert len(private_options()) > 20
    assert named_options(OPTIONS.read_text()) != []
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name not in ADAPTERS and path != OPTIONS]
    files = [path for path in files if path.parent != RENAMES]
    assert {path.name: found for path in files if (found := named_options(path.read_text()))} == {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "line",
    [
        "config.update_from_dict({'_learner_class': learner})",
        "PARTS = ('env_runner_cls', '_learner_connector')",
        "NAMES = 'model _model_config'.split()",
        "known = name == '_enable_new_api_stack'",
        "text = f'{name} _is_online'",
    ],
)
def test_a_private_option_is_found(line: str) -> None:
    assert len(named_options(f'"""Of `_is_online` a docstring may _is_online speak."""\n{line}')) == 1
    assert named_options("NAMES = ('env_runner_cls', '_no_option', 'learner_class')") == []


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
