"""No option of RLlib's algorithms is accepted without effect: what nothing looks at is refused or translated.

What looks at an option is found in RLlib's source: a read of an attribute of a config in its new API stack, outside the
config classes themselves, in a module that the algorithm uses.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import ray.rllib

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.checks.algorithms import find_algorithm, option_defaults
from rllib_scoreflow.experiments.checks.config import check_keys
from rllib_scoreflow.experiments.translation.translate import translate_config

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROOT = Path(ray.rllib.__file__).parent
# Folders of the algorithms whose code one runs.
FOLDERS = {
    "PPO": {"ppo"},
    "DQN": {"dqn"},
    "SAC": {"sac", "dqn"},
    "APPO": {"appo", "impala", "ppo"},
    "IMPALA": {"impala"},
    "BC": {"bc", "marwil"},
    "MARWIL": {"marwil"},
    "CQL": {"cql", "sac", "dqn"},
    "DreamerV3": {"dreamerv3"},
}
OLD_FILES = (
    "policy/", "models/tf", "models/torch/", "models/catalog", "models/modelv2", "models/utils", "evaluation/",
    "execution/", "offline/json", "offline/estimators", "offline/dataset_", "offline/input_reader",
    "offline/io_context", "offline/mixed", "offline/shuffled", "offline/d4rl", "offline/off_policy", "offline/resource",
    "offline/feature", "offline/is_est", "offline/output_w", "utils/exploration", "utils/replay_buffers/utils",
    "utils/replay_buffers/multi_agent_replay", "utils/replay_buffers/multi_agent_mixin",
    "utils/replay_buffers/multi_agent_prioritized_replay", "env/base_env", "env/vector_env", "env/external",
    "env/remote", "utils/policy", "utils/sgd", "utils/torch_utils", "utils/tf", "utils/test_utils", "connectors/agent",
    "connectors/action", "connectors/connector.py", "connectors/util", "env/wrappers", "examples/",
)  # fmt: skip
# Methods of config classes that hand an option on to its own attribute, and what the old API stack alone calls.
NO_READERS = {
    "training", "env_runners", "learners", "environment", "resources", "framework", "evaluation", "offline_data",
    "multi_agent", "reporting", "checkpointing", "debugging", "fault_tolerance", "rl_module", "experimental",
    "api_stack", "callbacks", "exploration", "rollouts", "to_dict", "_serialize_dict", "update_from_dict",
    "compute_single_action", "compute_actions", "make_learner_thread", "add_policy",
}  # fmt: skip
READ_ELSEWHERE = {"log_sys_usage"}  # by Tune, of the config's dictionary
CANDIDATES = (True, False, 3, 0.3, None, "x", [3], {"x": 3}, [[0, 0.1], [3, 0.2]])


class Read(NamedTuple):
    """Where an attribute is read, within which classes and functions, and of what."""

    file: str
    within: tuple[str, ...]
    of: str


def reads_of(tree: ast.AST, file: str, within: tuple[str, ...] = ()) -> Iterator[tuple[str, Read]]:
    for node in ast.iter_child_nodes(tree):
        deeper = within
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            deeper = (*within, node.name)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr, Read(file, deeper, ast.unparse(node.value)[:40])
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            if isinstance(node.ctx, ast.Load):
                yield str(node.slice.value), Read(file, deeper, f"config {ast.unparse(node.value)[:40]}")
        elif isinstance(node, ast.Call):
            match node.func, node.args:
                case ast.Name("getattr"), [of, ast.Constant(name), *_]:
                    yield str(name), Read(file, deeper, ast.unparse(of)[:40])
                case ast.Attribute(of, "get"), [ast.Constant(name), *_]:
                    yield str(name), Read(file, deeper, f"config {ast.unparse(of)[:40]}")
        yield from reads_of(node, file, deeper)


@functools.cache
def all_reads() -> dict[str, list[Read]]:
    found: dict[str, list[Read]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        file = str(path.relative_to(ROOT))
        if file.startswith(OLD_FILES) or any(part in file for part in ("_policy.py", "tf_", "_model.py", "/tests/")):
            continue
        for name, read in reads_of(ast.parse(path.read_text()), file):
            found.setdefault(name, []).append(read)
    return found


def counts(read: Read, folders: set[str]) -> bool:
    """Whether a read is one of a config's option, in what runs."""
    parts = Path(read.file).parts
    if parts[0] == "algorithms" and len(parts) > 2 and parts[1] not in folders:
        return False
    if any(name in NO_READERS or "validate" in name or name.endswith("old_api_stack") for name in read.within[1:]):
        return False
    in_config = bool(read.within) and "Config" in read.within[0]
    if read.within[-1:] == ("__init__",) and (in_config or not read.within):
        return False
    return any(word in read.of.lower() for word in ("config", "cfg", "overrides")) or (read.of == "self" and in_config)


def accepted(run: str, key: str) -> list[Any]:
    """Values of an option, not its default, that arrive in the config under its own name."""
    algorithm = find_algorithm(run, "here")
    default, found = option_defaults(algorithm)[key], []
    guesses = [default + 1] if isinstance(default, int | float) and not isinstance(default, bool) else []
    for value in (*CANDIDATES, *guesses):
        if value == default:
            continue
        try:
            config, _ = translate_config({key: value}, algorithm, "here", "CartPole-v1")
            checked = check_keys(config, algorithm, "here")
        except InputError:
            continue
        if key in checked and checked[key] == value:
            found.append(value)
    return found


@pytest.mark.parametrize("run", FOLDERS)
def test_no_option_is_accepted_without_effect(run: str) -> None:
    options = option_defaults(find_algorithm(run, "here"))
    assert len(options) > 200
    read = {key for key in options if any(counts(one, FOLDERS[run]) for one in all_reads().get(key, ()))}
    unread = sorted(options.keys() - read - READ_ELSEWHERE)
    assert len(unread) > 50
    assert {key: values for key in unread if (values := accepted(run, key))} == {}
