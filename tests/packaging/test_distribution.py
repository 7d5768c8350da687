"""What the installed distribution offers: its commands, its data, its type marker, its licence."""

import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", ["rllib", "scoreflow"])
def test_command_resolves_to_a_function(command: str) -> None:
    (entry,) = metadata.entry_points(group="console_scripts", name=command)
    assert entry.value == "rllib_scoreflow.cli.main:main"
    assert callable(entry.load())


def test_package_is_typed_and_ships_its_dataset() -> None:
    package = resources.files("rllib_scoreflow")
    assert package.joinpath("py.typed").is_file()
    shipped = [f.name for f in package.joinpath("data", "shipped").iterdir() if f.name.endswith(".parquet")]
    assert shipped
    sizes = [len(package.joinpath("data", "shipped", name).read_bytes()) for name in shipped]
    assert sum(sizes) < 6_000_000
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "reports/templates/*.j2" in declared["rllib_scoreflow"]
    assert all(package.joinpath("reports", "templates", f"report.{form}.j2").is_file() for form in ("html", "md"))


def test_licence_and_citation_agree_with_the_metadata() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    installed = metadata.metadata("rllib-scoreflow")
    assert citation["version"] == installed["Version"]
    assert citation["license"] == installed["License-Expression"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
