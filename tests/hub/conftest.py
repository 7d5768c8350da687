"""A stand-in of the Hub on this machine that the client is pointed to, and toy policies to push."""

import sys
from pathlib import Path

import pytest

from tests.shown_policy import make_shown_policy

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The stand-in, and the environment of the toy policies."""
    monkeypatch.setattr(sys, "path", [str(HERE), str(HERE.parent / "envs"), *sys.path])


@pytest.fixture
def hub(importable, tmp_path, monkeypatch):
    """A running stand-in; the client in this process talks to it, with an empty cache and a token that may write."""
    import huggingface_hub
    from hub_server import WRITE_TOKEN, running

    with running() as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
        template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        huggingface_hub.close_session()
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def make_policy(tmp_path):
    """Save a toy policy below the test's folder; another seed, another policy."""

    def save(name="toy", seed=0, variant="flow"):
        policy = make_shown_policy(variant, seed=seed, dataset="/home/me/demos.hdf5")
        return policy.save(tmp_path / name)

    return save
