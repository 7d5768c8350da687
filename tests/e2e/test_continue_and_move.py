"""A finished run with a larger `stop`, and an interrupted one whose folder is another by now."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rllib_scoreflow.cli.plots import read_results

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
