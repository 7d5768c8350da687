"""A finished run with a larger `stop`, and an interrupted one whose folder is another by now."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rllib_scoreflow.reports.plots import read_results

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

YAML = """
clone:
  run: FlowBC
  env: hopper-medium-v2
  stop: {training_iteration: 2}
  checkpoint_config: {checkpoint_frequency: 1}
  config:
    seed: 3
    dataset: data.parquet
    train_batch_size_per_learner: 8192
    denoising_steps: 2
    velocity: {hidden_dim: 16}
"""


def rllib(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-u", "-m", "rllib_scoreflow.cli", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def train(folder: Path, *options: str) -> str:
    answer = rllib(folder, "train", "file", "hop.yaml", "--ray-num-cpus", "1", *options)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def project(folder: Path) -> Path:
    """A folder with an experiment file and a dataset."""
    folder.mkdir()
    (folder / "hop.yaml").write_text(YAML)
    answer = rllib(folder, "dataset", "convert", "hopper-small", "data.parquet")
    assert answer.returncode == 0, answer.stderr
    return folder


def trial(folder: Path) -> Path:
    (found,) = (folder / "results" / "hop" / "clone").glob("trial_*")
    return found


def iterations(folder: Path) -> list[int]:
    return [row["training_iteration"] for row in read_results(trial(folder))]


def test_a_larger_stop_goes_on_from_the_last_checkpoint(tmp_path) -> None:
    folder = project(tmp_path / "project")
    train(folder)
    losses = [row["train_loss"] for row in read_results(trial(folder))]
    said = train(folder, "--stop", "{training_iteration: 4}")
    assert "clone: finished earlier, now going on with FlowBC" in said
    rows = read_results(trial(folder))
    assert [row["training_iteration"] for row in rows] == [1, 2, 3, 4]
    assert [row["train_loss"] for row in rows][:2] == losses
    done = json.loads((folder / "results" / "hop" / "clone" / "done.json").read_text())
    assert done["stop"] == {"training_iteration": 4}
    assert done["figures"]["iterations"] == 4
    # Both the smaller and the larger one are done now.
    for options in ((), ("--stop", "{training_iteration: 4}")):
        assert "already finished" in train(folder, *options)
    assert iterations(folder) == [1, 2, 3, 4]


def test_a_moved_run_goes_on_in_its_new_place_with_the_data_there(tmp_path) -> None:
    folder = project(tmp_path / "old")
    train(folder)
    results = folder / "results" / "hop" / "clone"
    (results / "done.json").unlink()  # as if it had been killed before its end
    begun = json.loads((results / "experiment.json").read_text())
    (results / "experiment.json").write_text(json.dumps(begun))
    copy = tmp_path / "new"
    shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    said = train(copy, "--resume", "--stop", "{training_iteration: 3}")
    assert "resuming FlowBC" in said
    assert iterations(copy) == [1, 2, 3]
    assert not folder.exists()
    params = json.loads((trial(copy) / "params.json").read_text())
    assert params["dataset"] == str(copy / "data.parquet")


def test_a_copy_with_other_data_is_another_run(tmp_path) -> None:
    folder = project(tmp_path / "old")
    train(folder)
    copy = tmp_path / "new"
    shutil.copytree(folder, copy)
    assert "already finished" in train(copy)
    answer = rllib(copy, "dataset", "convert", "hopper-small", "other.parquet")
    assert answer.returncode == 0, answer.stderr
    (copy / "data.parquet").unlink()
    answer = rllib(copy, "train", "file", "hop.yaml", "--set", "config.dataset=other.parquet")
    assert answer.returncode == 2
    assert "another configuration, dataset or starting policy" in answer.stderr


PATHS = """
clone:
  run: FlowBC
  env: hopper-medium-v2
  stop: {training_iteration: 1}
  config: &small
    dataset: {grid_search: [data.parquet, other/data.parquet]}
    train_batch_size_per_learner: 8192
    denoising_steps: 2
    velocity: {hidden_dim: 16}
tune:
  run: ScoreFlow
  env: arm:Arm-v0
  stop: {training_iteration: 1}
  config:
    pretrained_policy: {grid_search: [policy, ~/policy]}
    env_config: {model: models/arm.txt}
    num_envs_per_env_runner: 2
    rollout_fragment_length: 10
    num_epochs: 1
"""

# An environment that opens a file of its own, wherever it is made.
ARM = """
import gymnasium as gym


def make(model):
    with open(model) as file:
        assert file.read() == "arm"
    return gym.make("Hopper-v4")


gym.register("Arm-v0", make, max_episode_steps=100)
"""


def test_relative_paths_lead_a_trial_to_the_same_files(tmp_path, monkeypatch) -> None:
    folder = project(tmp_path / "project")
    for name in ("other", "models"):
        (folder / name).mkdir()
    shutil.copy(folder / "data.parquet", folder / "other")
    (folder / "models" / "arm.txt").write_text("arm")
    (folder / "arm.py").write_text(ARM)
    (folder / "hop.yaml").write_text(PATHS)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("HOME", str(folder))
    said = train(folder, "--only", "clone")
    assert "trial_00001_dataset=data.parquet" in " ".join(
        path.name for path in (folder / "results/hop/clone").iterdir()
    )
    shutil.copytree(folder / "results" / "hop" / "clone" / "policy", folder / "policy")
    said += train(folder, "--only", "tune")
    assert "exported policy" in said
    # Every one of the files is a part of what the run is.
    (folder / "other" / "data.parquet").unlink()
    shutil.copy(folder / "models" / "arm.txt", folder / "other" / "data.parquet")
    (folder / "models" / "arm.txt").write_text("arm ")
    for name in ("clone", "tune"):
        answer = rllib(folder, "train", "file", "hop.yaml", "--only", name)
        assert answer.returncode == 2, answer
