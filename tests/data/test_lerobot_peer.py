"""LeRobot itself reads what we write, and we read what it wrote, in an environment that has nothing of ours.

The environment is the interpreter that $LEROBOT_PYTHON names; without it one is built, which downloads some GB.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rllib_scoreflow.cli.main import run
from rllib_scoreflow.data import load_dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PEER = Path(__file__).with_name("lerobot_peer.py")
VIDEO, PNG = "observation.images.top", "observation.images.wrist"


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """Run the script beside this file in LeRobot's environment; returns the items that LeRobot hands out."""
    python = os.environ.get("LEROBOT_PYTHON")
    if python is None:
        folder = tmp_path_factory.mktemp("lerobot") / "venv"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = folder / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", "lerobot==0.4.4"], check=True)

    def command(what, place):
        out = place.with_suffix(".npz")
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(place.with_suffix(".cache"))}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [python, PEER, what, place, out], env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        with np.load(out) as file:
            return dict(file)

    return command


@pytest.fixture(scope="module")
def made(peer, tmp_path_factory):
    """A dataset that LeRobot has just written, and its items."""
    folder = tmp_path_factory.mktemp("made") / "made"
    return folder, peer("write", folder)


def pixels(items, key):
    """LeRobot hands out floats from 0 to 1, channels first."""
    return np.rint(items[key].transpose(0, 2, 3, 1) * 255).astype(int)


def test_we_read_what_it_wrote(made, cache):
    folder, items = made
    dataset = load_dataset(folder, cameras=["top", "wrist"])
    state = np.column_stack([items["observation.state"], items["observation.environment_state"]])
    np.testing.assert_array_equal(dataset.observations, state)
    np.testing.assert_array_equal(dataset.actions, items["action"])
    np.testing.assert_array_equal(dataset.rewards, items["next.reward"])
    np.testing.assert_array_equal(dataset.terminals, items["next.done"])
    np.testing.assert_array_equal(np.flatnonzero(np.diff(items["episode_index"])) + 1, dataset.episode_offsets[1:-1])
    assert [dataset.info.tasks[task] for task in dataset.info.episode_tasks] == list(items["task"][[0, 7, 12, 21]])
    assert dataset.info.fps == items["fps"]
    # Another release of FFmpeg may round colours otherwise.
    assert np.abs(dataset.images[:, 0] - pixels(items, VIDEO)).max() <= 2
    np.testing.assert_array_equal(dataset.images[:, 1], pixels(items, PNG))


@pytest.mark.parametrize("lossless", [False, True])
def test_it_reads_what_we_write(made, peer, tmp_path, cache, lossless):
    folder, items = made
    words = ["dataset", "export", folder, tmp_path / "again", "--cameras", "top,wrist"]
    assert run([*map(str, words), *(["--lossless"] if lossless else [])]) == 0
    found = peer("read", tmp_path / "again")
    assert (found["fps"], found["episodes"]) == (items["fps"], items["episodes"])
    state = np.column_stack([items["observation.state"], items["observation.environment_state"]])
    np.testing.assert_array_equal(found["observation.state"], state)
    same = ("action", "next.reward", "next.done", "task", "frame_index", "episode_index", "index", "task_index")
    for key in same:
        np.testing.assert_array_equal(found[key], items[key])
    np.testing.assert_allclose(found["timestamp"], items["timestamp"], rtol=1e-6)
    np.testing.assert_allclose(found["stats/action/mean"], items["action"].mean(axis=0, dtype=float), rtol=1e-6)
    for key in (VIDEO, PNG):
        # A video keeps colours at a quarter of the resolution, so that the edges of the bar lose most.
        difference = np.abs(pixels(found, key) - pixels(items, key))
        assert difference.max() <= (2 if lossless else 100)
        assert np.quantile(difference, 0.99) <= 16
        assert difference.mean() < 3
        mean = pixels(items, key).mean(axis=(0, 1, 2)) / 255
        np.testing.assert_allclose(np.ravel(found[f"stats/{key}/mean"]), mean, atol=0.02)


def test_it_reads_the_shipped_dataset(peer, tmp_path, cache):
    assert run(["dataset", "export", "hopper-small", str(tmp_path / "hop")]) == 0
    found, original = peer("read", tmp_path / "hop"), load_dataset("hopper-small")
    for key, values in (("observation.state", original.observations), ("action", original.actions)):
        np.testing.assert_array_equal(found[key], values)
    np.testing.assert_array_equal(found["next.done"], original.terminals | original.timeouts)
    np.testing.assert_array_equal(found["next.truncated"], original.timeouts & ~original.terminals)
    assert (found["fps"], set(found["task"])) == (125, {"Hopper-v4"})
