import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def toy_envs_importable():
    """Lets "toy_envs:EnvId" be imported, as a user's module beside his YAML file is."""
    folder = str(Path(__file__).parents[1] / "envs")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)
