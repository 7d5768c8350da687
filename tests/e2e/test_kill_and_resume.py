"""SIGKILL during pretraining and fine-tuning, and what `--resume` makes of it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import torch

from rllib_scoreflow.files.manifest import MANIFEST
from rllib_scoreflow.policy import FlowPolicy
from rllib_scoreflow.reports.plots import read_results

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

INTERVAL = 2
YAML = f"""
pretrain:
  run: FlowBC
  env: hopper-medium-v2
  stop: {{training_iteration: 9}}
  checkpoint_config: {{checkpoint_frequency: {INTERVAL}, num_to_keep: 2}}
  config:
    seed: 3
    dataset: hopper-small
    velocity: {{hidden_dim: 64}}
    denoising_steps: 4
finetune:
  run: ScoreFlow
  env: hopper-medium-v2
  weights_from: pretrain
  stop: {{training_iteration: 9}}
  checkpoint_config: {{checkpoint_frequency: {INTERVAL}, num_to_keep: 2}}
  config:
    seed: 3
    num_envs_per_env_runner: 8
    rollout_fragment_length: 250
    num_epochs: 3
"""


def start(folder: Path, *options: str) -> subprocess.Popen:
    (folder / "hop.yaml").write_text(YAML)
    words = [sys.executable, "-u", "-m", "rllib_scoreflow.cli", "train", "file", "hop.yaml", *options]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def kill_in(folder: Path, experiment: str, iteration: int) -> list[str]:
    """Kills the command with SIGKILL right after it has reported an iteration of an experiment; what it said."""
    process, said, reached = start(folder), [], False
    for line in process.stdout:
        said.append(line)
        reached = reached or line.startswith(f"{experiment}: running")
        if reached and line.startswith(f"iter {iteration:>4}"):
            break
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    # Ray's own processes leave by themselves once the driver is gone; a second Ray must not wait for them.
    _, living = psutil.wait_procs(family, timeout=30)
    for member in living:
        member.kill()
    assert reached, "".join(said)
    return said


def finish(folder: Path, *options: str) -> str:
    process = start(folder, *options)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    return said


def trial(folder: Path, experiment: str) -> Path:
    (found,) = (folder / "results" / "hop" / experiment).glob("trial_*")
    return found


def written(folder: Path, experiment: str) -> list[dict]:
    """Every line of the results."""
    return [json.loads(line) for line in (trial(folder, experiment) / "result.json").read_text().splitlines()]


def resumed(folder: Path, experiment: str) -> int:
    """The first iteration that was done after the kill."""
    rows = written(folder, experiment)
    starts = [row["training_iteration"] for row in rows if row["iterations_since_restore"] == 1]
    assert len(starts) == 2, starts
    return starts[1]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    finish(folder)
    return folder


def test_killed_in_pretraining(unbroken, tmp_path) -> None:
    kill_in(tmp_path, "pretrain", 5)
    finish(tmp_path, "--resume")
    assert resumed(tmp_path, "pretrain") > 5 - INTERVAL
    assert [row["training_iteration"] for row in written(tmp_path, "pretrain")] == list(range(1, 10))
    weights, expected = (
        FlowPolicy.load(folder / "results" / "hop" / "pretrain" / "policy").state_dict()
        for folder in (tmp_path, unbroken)
    )
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=0.0, atol=1e-6)


def test_killed_in_fine_tuning(tmp_path) -> None:
    kill_in(tmp_path, "finetune", 5)
    said = finish(tmp_path, "--resume")
    assert "pretrain: already finished" in said
    assert resumed(tmp_path, "finetune") > 5 - INTERVAL
    assert [row["training_iteration"] for row in written(tmp_path, "finetune")] == list(range(1, 10))
    rows = read_results(trial(tmp_path, "finetune"))
    steps = [row["env_steps"] for row in rows]
    assert all(3000 < later - earlier <= 8000 for earlier, later in pairwise(steps))
    assert all(row["learners/default_policy/ratio_error_first"] < 1e-5 for row in rows)


def test_a_checkpoint_cut_off_anywhere_is_refused_and_the_one_before_it_is_used(tmp_path) -> None:
    kill_in(tmp_path, "finetune", 7)
    time.sleep(1)
    checkpoints = sorted(trial(tmp_path, "finetune").glob("checkpoint_*"))
    newest = checkpoints[-1]
    whole = json.loads((checkpoints[-2] / MANIFEST).read_text())["training_iteration"]
    files = sorted(path for path in newest.rglob("*") if path.is_file() and path.stat().st_size)
    seed = random.randrange(2**32)
    chooser = random.Random(seed)
    cut = chooser.choice(files)
    cut.write_bytes(cut.read_bytes()[: chooser.randrange(cut.stat().st_size)])
    said = finish(tmp_path, "--resume")
    assert f"Note: {newest.name} is damaged" in said, (seed, cut, said)
    assert f"went on from {checkpoints[-2].name}" in said, (seed, cut, said)
    assert resumed(tmp_path, "finetune") == whole + 1, (seed, cut)
    assert [row["training_iteration"] for row in written(tmp_path, "finetune")] == list(range(1, 10))
