"""The supported Pythons are the same for pip, for make, for the checkers and in the matrix of CI."""

import re
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))


def test_the_oldest_python_is_what_pip_and_the_checkers_go_by() -> None:
    oldest = min(PYTHONS, key=lambda version: int(version.partition(".")[2]))
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"


def test_ci_tests_every_supported_python_with_the_one_it_set_up() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    assert job["strategy"]["matrix"]["python-version"] == PYTHONS
    (setup,) = (step["with"] for step in job["steps"] if "setup-python" in step.get("uses", ""))
    assert setup["python-version"] == "${{ matrix.python-version }}"
    # Without PYTHON= make takes the oldest that the machine happens to have.
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test PYTHON=python"]


def test_make_refuses_exactly_the_pythons_that_are_not_supported() -> None:
    found = re.search(r"\((\d+), (\d+)\) <= sys\.version_info < \((\d+), (\d+)\)", (ROOT / "Makefile").read_text())
    assert found is not None
    major, first, _, end = map(int, found.groups())
    assert [f"{major}.{minor}" for minor in range(first, end)] == PYTHONS


def test_the_running_python_is_a_supported_one() -> None:
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in PYTHONS
