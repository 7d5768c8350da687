"""This package's version and the check of the installed Ray.

The supported Ray range is stated once, as the dependency in ``pyproject.toml``. It is read here
from the metadata of the installed distribution, so that the two cannot differ.
"""

import os
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from rllib_scoreflow.errors import InputError

DISTRIBUTION = "rllib-scoreflow"
SKIP_RAY_CHECK = "RLLIB_SCOREFLOW_SKIP_RAY_CHECK"


def _installed_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


# A source tree on PYTHONPATH has no metadata; it stays importable, and says so in what it exports.
__version__: str = _installed_version(DISTRIBUTION) or "0+not-installed"


def supported_ray() -> SpecifierSet:
    """Return the range of Ray versions that this distribution declares as its dependency.

    Raises:
        InputError: the package is used from a source tree without having been installed.
    """
    try:
        declared = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        raise InputError(
            f"{DISTRIBUTION} is not installed, so the supported Ray range is unknown: "
            "run `make install` or `pip install -e .` in its source folder."
        ) from None
    requirements = (Requirement(line) for line in declared)
    # A marker belongs to an extra, and `cluster` asks for more of Ray, not for another Ray.
    return next(r.specifier for r in requirements if r.name == "ray" and r.marker is None)


def check_ray_version(installed: str | None = None) -> None:
    """Refuse a Ray outside the supported range; imports neither Ray nor anything slow.

    ``RLLIB_SCOREFLOW_SKIP_RAY_CHECK=1`` in the environment skips the check, for trying a newer Ray.

    Args:
        installed: the version to check, such as ``"2.60.0"``; by default the installed one.

    Raises:
        InputError: Ray is missing or outside the supported range.
    """
    if os.environ.get(SKIP_RAY_CHECK) == "1":
        return
    found = installed or _installed_version("ray")
    supported = supported_ray()
    remedy = f'run `pip install "ray[rllib]{supported}"`.'
    if found is None:
        raise InputError(f"Ray is not installed and {DISTRIBUTION} needs ray{supported}: {remedy}")
    if not supported.contains(found, prereleases=True):
        raise InputError(f"Ray {found} is installed but {DISTRIBUTION} needs ray{supported}: {remedy}")


def installed_versions(
    distributions: Iterable[str] = ("torch", "ray", "gymnasium", "mujoco"),
) -> dict[str, str]:
    """Return the versions to record beside a result, this package's among them.

    Args:
        distributions: names as pip knows them; missing ones are left out of the answer.

    Returns:
        Distribution name to version, such as ``{"rllib-scoreflow": "0.1.0", "torch": "2.13.0"}``.
    """
    found = {name: _installed_version(name) for name in distributions}
    return {DISTRIBUTION: __version__} | {n: v for n, v in found.items() if v is not None}
