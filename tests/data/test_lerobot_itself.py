"""LeRobot reads what is exported, and what it writes is read as it reads it.

LeRobot pins another torch, so it has an environment of its own: $LEROBOT_PYTHON names its interpreter, without it one
is built (8 GB, five minutes) in the folder $LEROBOT_VENV or for the time of the test.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rllib_scoreflow.data import load_dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PEER = Path(__file__).with_name("lerobot_peer.py")
RELEASE = "lerobot==0.4.4"


@pytest.fixture(scope="module")
def lerobot(tmp_path_factory):
    """Run lerobot_peer.py: a command and a folder, and what LeRobot makes of it."""
    python = os.environ.get("LEROBOT_PYTHON")
    if python is None:
        if sys.version_info[:2] not in ((3, 10), (3, 11), (3, 12)):
            pytest.skip(f"{RELEASE} has no release for this Python")
        venv = Path(os.environ.get("LEROBOT_VENV") or tmp_path_factory.mktemp("lerobot"))
        python = str(venv / "bin" / "python")
        if not Path(python).exists():
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            built = subprocess.run(
                [python, "-m", "pip", "install", "-q", RELEASE], capture_output=True, text=True, check=False
            )
            if built.returncode:
                pytest.skip(f"no environment with {RELEASE} can be built here: {built.stderr[-300:]}")

    def run(command, folder):
        out = tmp_path_factory.mktemp("items") / "items.npz"
        words = [python, str(PEER), command, str(folder), str(out)]
        offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(out.parent)}
        done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False, env=offline)
        assert done.returncode == 0, done.stderr[-3000:]
        with np.load(out) as file:
            return dict(file)

    return run


def as_pixels(images):
    return np.round(images.transpose(0, 2, 3, 1) * 255)


def test_what_lerobot_writes_is_read_as_it_reads_it(lerobot, tmp_path, cache):
    items = lerobot("write", tmp_path / "made")
    dataset = load_dataset(tmp_path / "made", cameras=["top", "wrist"])
    state = np.column_stack([items["observation.state"], items["observation.environment_state"]])
    for found, expected in (
        (dataset.observations, state),
        (dataset.actions, items["action"]),
        (dataset.rewards, items["next.reward"]),
        (dataset.terminals, items["next.done"]),
    ):
        np.testing.assert_array_equal(found, expected)
    for view, camera in enumerate(("top", "wrist")):
        assert np.abs(dataset.images[:, view] - as_pixels(items[f"observation.images.{camera}"])).max() <= 2


@pytest.mark.parametrize("form", ["videos", "lossless"])
def test_lerobot_reads_what_is_exported(lerobot, rllib, tmp_path, cache, form):
    source = Path(__file__).parent / "fixtures" / "lerobot"
    flags = ["--lossless"] if form == "lossless" else []
    answer = rllib("dataset", "export", source, "out", "--cameras", "top,wrist", *flags)
    assert answer.status == 0, answer
    items, dataset = lerobot("read", Path("out").absolute()), load_dataset(source, cameras=["top", "wrist"])
    for key, expected in (
        ("observation.state", dataset.observations),
        ("action", dataset.actions),
        ("next.reward", dataset.rewards),
        ("next.done", dataset.terminals | dataset.timeouts),
    ):
        np.testing.assert_array_equal(items[key], expected, err_msg=key)
    assert items["task"].tolist() == [dataset.info.tasks[episode % 2] for episode in items["episode_index"]]
    assert (items["fps"], items["episodes"]) == (20, 4)
    np.testing.assert_allclose(items["stats/action/mean"], dataset.actions.mean(axis=0), atol=1e-6)
    mine = load_dataset("out", cameras=["top", "wrist"])
    for view, camera in enumerate(("top", "wrist")):
        theirs = as_pixels(items[f"observation.images.{camera}"])
        assert np.abs(mine.images[:, view] - theirs).max() <= 2
        assert np.abs(dataset.images[:, view] - theirs).mean() <= (0 if form == "lossless" else 3)


def test_lerobot_reads_a_large_export_of_states(lerobot, rllib, tmp_path, cache):
    answer = rllib("dataset", "export", "hopper-small", "out")
    assert answer.status == 0, answer
    items, dataset = lerobot("read", Path("out").absolute()), load_dataset("hopper-small")
    np.testing.assert_array_equal(items["observation.state"], dataset.observations)
    np.testing.assert_array_equal(items["action"], dataset.actions)
    np.testing.assert_array_equal(
        np.diff(np.flatnonzero(items["frame_index"] == 0)), np.diff(dataset.episode_offsets)[:-1]
    )
