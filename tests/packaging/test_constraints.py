"""constraints.txt pins, exactly and portably, what pyproject.toml asks for in ranges."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [line for raw in (ROOT / "constraints.txt").read_text().splitlines() if (line := raw.split("#")[0].strip())]
DIRECT = [
    *PROJECT["dependencies"],
    *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
]


def pins() -> dict[str, Version]:
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in LINES)}


@pytest.mark.parametrize("line", LINES)
def test_every_line_is_one_exact_portable_pin(line: str) -> None:
    # No path, URL, option or local version such as +cpu: the file has to work everywhere.
    assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)


def test_nothing_is_pinned_twice() -> None:
    assert len(pins()) == len(LINES)


def test_no_cuda_package_is_pinned() -> None:
    assert [n for n in pins() if n.startswith(("nvidia", "triton", "cuda"))] == []


@pytest.mark.parametrize("dependency", DIRECT)
def test_direct_dependency_is_pinned_within_its_range(dependency: str) -> None:
    requirement = Requirement(dependency)
    pin = pins().get(canonicalize_name(requirement.name))
    assert pin is not None, f"{requirement.name} has no pin in constraints.txt"
    assert requirement.specifier.contains(pin), f"{requirement.name}=={pin} is outside {dependency}"
