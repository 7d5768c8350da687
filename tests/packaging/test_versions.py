"""The supported Ray is stated once, and every other Ray is refused in one sentence."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from rllib_scoreflow import versions
from rllib_scoreflow.errors import InputError

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".toml", ".txt", ".md", ".yaml", ".yml", ".cfg", ".sh", ""}
# A bound on a release of Ray 2, as in pyproject.toml; written so as not to find itself.
BOUND = re.compile(r"[Rr]ay.{0,20}[<>~]=?\s*" + r"2\.\d")


def project_files() -> list[Path]:
    return [
        path
        for top in ROOT.iterdir()
        if top.name in {".ci", ".github"} or not top.name.startswith(".")
        for path in ([top] if top.is_file() else top.rglob("*"))
        if path.is_file()
        and path.suffix in SUFFIXES
        and not any(part.endswith(".egg-info") for part in path.parts)
        and path.parts[len(ROOT.parts)] not in {"build", "dist", "results", "runs"}
    ]


def test_supported_ray_is_stated_in_one_place() -> None:
    found = [
        (path.relative_to(ROOT).as_posix(), number)
        for path in project_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if BOUND.search(line)
    ]
    assert [name for name, _ in found] == ["pyproject.toml"], found


def test_supported_ray_is_the_declared_dependency() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    declared = re.search(r'"ray\[rllib\]([^"]+)"', text)
    assert declared is not None
    assert versions.supported_ray() == SpecifierSet(declared[1])


def test_installed_ray_is_accepted() -> None:
    versions.check_ray_version()


@pytest.mark.parametrize("wrong", ["2.59.9", "2.61.0", "2.61.0rc1", "3.0.0.dev0", "2.40.0"])
def test_another_ray_is_refused_in_one_sentence(wrong: str) -> None:
    with pytest.raises(InputError) as refusal:
        versions.check_ray_version(wrong)
    message = str(refusal.value)
    assert f"Ray {wrong} is installed" in message
    assert f'pip install "ray[rllib]{versions.supported_ray()}"' in message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("right", ["2.60.0", "2.60.7"])
def test_every_patch_release_is_accepted(right: str) -> None:
    versions.check_ray_version(right)


def test_check_can_be_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(versions.SKIP_RAY_CHECK, "1")
    versions.check_ray_version("1.0.0")


def test_version_is_the_distributions() -> None:
    assert versions.__version__ == metadata.version("rllib-scoreflow")
    assert Version(versions.__version__) >= Version("0.1.0")


def test_installed_versions_leave_out_what_is_missing() -> None:
    found = versions.installed_versions(["torch", "no-such-distribution"])
    assert found == {
        "rllib-scoreflow": metadata.version("rllib-scoreflow"),
        "torch": metadata.version("torch"),
    }
