"""Signals to the whole process group, and a Ray that dies under a run, in real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

SLOW = """
from ray.rllib.algorithms.ppo import PPOConfig

config = (
    PPOConfig()
    .environment("CartPole-v1")
    .env_runners(num_env_runners=0)
    .training(train_batch_size_per_learner=400, minibatch_size=200, num_epochs=1)
)
stop = {"training_iteration": 100000}
checkpoint_config = {"checkpoint_frequency": 3}
"""
TRAIN = ["train", "file", "slow.py", "--ray-num-cpus", "1"]
INTERRUPTED = "rllib: slow was interrupted; go on with: rllib train file slow.py --ray-num-cpus 1 --resume\n"


def start(folder: Path, *options: str) -> subprocess.Popen:
    (folder / "slow.py").write_text(SLOW)
    words = [sys.executable, "-u", "-m", "rllib_scoreflow.cli", *TRAIN, *options]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def until(process: subprocess.Popen, iteration: int) -> None:
    assert any(line.startswith(f"iter {iteration:>4}") for line in process.stdout), process.stderr.read()


def iterations(folder: Path) -> list[int]:
    path = folder / "results" / "slow" / "slow" / "trial_00000" / "result.json"
    return [json.loads(line)["training_iteration"] for line in path.read_text().splitlines()]


def check_resume(folder: Path, lost: int) -> None:
    """The run goes on, with at most `lost` iterations done again, and none in the results twice."""
    done = iterations(folder)
    assert done == list(range(1, len(done) + 1))
    process = start(folder, "--resume")
    first = next(line for line in process.stdout if line.startswith("iter "))
    assert int(first.split()[1]) >= done[-1] + 1 - lost
    until(process, done[-1] + 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert iterations(folder) == list(range(1, iterations(folder)[-1] + 1))


@pytest.mark.parametrize("to_all", [False, True], ids=["group", "every process"])
def test_sigterm_to_all_ends_like_one_to_the_command(tmp_path, to_all) -> None:
    """`timeout` sends it to the process group, `scancel` to every process of the job."""
    process = start(tmp_path)
    until(process, 5)
    family = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)  # `timeout` sends it to the command too
    os.killpg(process.pid, signal.SIGTERM)
    if to_all:
        for one in family:
            if one.is_running():
                one.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.endswith(INTERRUPTED)
    assert "Traceback" not in err
    assert time.monotonic() - began < 30
    _, living = psutil.wait_procs(family, timeout=30)
    assert living == []
    check_resume(tmp_path, lost=3 if to_all else 0)


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_ray_that_dies_ends_the_run_with_one_sentence(tmp_path, name) -> None:
    process = start(tmp_path)
    until(process, 5)
    family = psutil.Process(process.pid).children(recursive=True)
    (needed,) = [one for one in family if one.name() == name]
    began = time.monotonic()
    needed.kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert err.splitlines()[-1].startswith(f"rllib: slow: Ray's process {name} has died; go on with: ")
    assert "Traceback" not in err
    assert time.monotonic() - began < 30
    _, living = psutil.wait_procs(family, timeout=30)
    assert living == []
    check_resume(tmp_path, lost=3)
