"""What the pages tell to type exists: commands, options, files, names; experiments pass the command's own checks."""

import ast
import importlib
from pathlib import Path

import pytest
import yaml

from rllib_scoreflow.experiments.checks import algorithms
from rllib_scoreflow.experiments.checks import config as config_check
from rllib_scoreflow.experiments.spec import read_experiments
from rllib_scoreflow.runs.plan import TrainOptions, prepare
from tests.docs.code_blocks import PAGES, ROOT, Block, blocks_of, parse_rllib

# Programs of others; what README of cluster/ asks of them is tested beside that folder's files.
OUTSIDE = {"tensorboard", "ray", "kubectl", "sbatch", "docker", "source", "export", "chmod", "pip"}
OUTSIDE |= {"python3.11", "(umask", "RAY_AUTH_MODE=token"}
TARGETS = {line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ": " in line}
EXPERIMENTS = [
    (page, block) for page in PAGES for block in blocks_of(page) if block.language == "yaml" and "run:" in block.text
]


@pytest.mark.parametrize("page", PAGES)
def test_every_fence_is_closed_and_of_a_known_language(page: str) -> None:
    blocks = blocks_of(page)
    assert (ROOT / page).read_text().count("\n```") == 2 * len(blocks)
    assert {block.language for block in blocks} <= {"", "sh", "yaml", "python", "text"}


@pytest.mark.parametrize("page", [page for page in PAGES if any([*block.commands] for block in blocks_of(page))])
def test_every_command_exists(page: str) -> None:
    blocks = blocks_of(page)
    files = {block.title for block in blocks}
    for program, *words in (command for block in blocks for command in block.commands):
        if program == "rllib":
            parse_rllib(words)
        elif program == "make":
            assert {word for word in words if "=" not in word} <= TARGETS
        elif program.endswith("python"):
            assert words[:1] == ["-m"] or words[0] in files or (ROOT / words[0]).is_file(), words
        else:
            assert program in OUTSIDE or program.startswith(".venv/bin/"), program


@pytest.mark.parametrize(("page", "block"), EXPERIMENTS, ids=[f"{page}-{n}" for n, (page, _) in enumerate(EXPERIMENTS)])
def test_experiments_pass_the_checks(page: str, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in blocks_of(page):
        if other.title:
            (tmp_path / other.title).write_text(other.text)
    monkeypatch.chdir(tmp_path)
    raw = yaml.safe_load(block.text)
    for name in {entry["weights_from"] for entry in raw.values() if "weights_from" in entry} - set(raw):
        raw = {name: {"run": "FlowBC", "stop": {"training_iteration": 1}, "config": {"dataset": "hopper-small"}}, **raw}
    Path("shown.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    for experiment in prepare(read_experiments(Path("shown.yaml")), "shown.yaml", TrainOptions(Path("results"))):
        experiment.config.pop("plugins", None)  # what they bring is tried where the page is run
        if not {"process", "objective"} & set(experiment.config) and "type" not in experiment.config.get(
            "velocity", {}
        ):
            config_check.check_config(experiment, algorithms.find_algorithm(experiment.run, "test"))


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language == "python" for b in blocks_of(page))])
def test_python_is_python_and_what_it_imports_of_the_package_is_there(page: str) -> None:
    for block in blocks_of(page):
        if block.language == "python":
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rllib_scoreflow"):
                    module = importlib.import_module(node.module or "")
                    assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)
