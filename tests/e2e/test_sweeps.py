"""Sweeps through the command, each run a process group of its own with its own Ray."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(500)]

SWEEPS = """
pre:
  run: FlowBC
  env: Hopper-v4
  stop: {training_iteration: 1}
  config:
    dataset: hopper-small
    train_batch_size_per_learner: 8192
    denoising_steps: 2
    velocity: {hidden_dim: 16}
    num_torch_threads: 1
grid: &tiny
  run: ScoreFlow
  env: Hopper-v4
  weights_from: pre
  metric: return_mean
  stop: {training_iteration: 3}
  config: &small
    seed: 1
    num_envs_per_env_runner: 4
    rollout_fragment_length: 40
    num_epochs: 1
    num_torch_threads: 1
    lr: {grid_search: [1.0e-5, 1.0e-4]}
    noise: {sigma_max: {grid_search: [0.15, 0.3]}}
asha:
  <<: *tiny
  metric: lr/velocity  # so that it is known which trials are the worse ones: the later ones
  num_samples: 3
  max_concurrent_trials: 1
  search_seed: 5
  scheduler: asha
  scheduler_config: {grace_period: 1, reduction_factor: 2}
  config:
    <<: *small
    lr: {loguniform: [1.0e-5, 1.0e-3]}
    noise: {sigma_max: {uniform: [0.15, 0.3]}}
"""
COMMAND = [sys.executable, "-u", "-m", "rllib_scoreflow.cli"]
TRAIN = ["train", "file", "sweeps.yaml", "--ray-num-cpus", "2"]


def rows(trial: Path) -> list[dict]:
    return [json.loads(line) for line in (trial / "result.json").read_text().splitlines()]


def command(work: Path, *words: str) -> str:
    ended = subprocess.run([*COMMAND, *words], cwd=work, capture_output=True, text=True, timeout=450, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def kill_when(work: Path, words: list[str], wanted: str) -> None:
    """Run the command and kill its whole process group once it has printed a line with these words."""
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert any(wanted in line for line in process.stdout), f"{wanted!r} was never printed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def test_a_killed_sweep_goes_on_and_repeats_nothing(tmp_path):
    (tmp_path / "sweeps.yaml").write_text(SWEEPS)
    root = tmp_path / "results" / "sweeps"
    kill_when(tmp_path, TRAIN, "trial 2 ")  # two trials run at a time
    written = [
        path for path in root.glob("grid/trial_*/result.json") if (found := rows(path.parent)) and found[-1]["done"]
    ]
    finished = {path: path.read_bytes() for path in written}
    assert finished
    pretrained = (root / "pre" / "done.json").stat().st_mtime_ns

    out = command(tmp_path, *TRAIN, "--resume")
    assert "pre: already finished" in out
    assert (root / "pre" / "done.json").stat().st_mtime_ns == pretrained
    assert {path: path.read_bytes() for path in finished} == finished

    # A grid of four trials, each with its own values, all from the one pretrained policy.
    trials = sorted((root / "grid").glob("trial_*"))
    params = [json.loads((trial / "params.json").read_text()) for trial in trials]
    values = {(one["lr"], one["noise"]["sigma_max"]) for one in params}
    assert values == {(1e-5, 0.15), (1e-5, 0.3), (1e-4, 0.15), (1e-4, 0.3)}
    assert [rows(trial)[-1]["training_iteration"] for trial in trials] == [3, 3, 3, 3]
    assert {one["pretrained_policy"] for one in params} == {str(root / "pre" / "policy")}

    # ASHA drew within the domains and ended some of its trials early.
    asha = sorted((root / "asha").glob("trial_*"))
    drawn = [json.loads((trial / "params.json").read_text()) for trial in asha]
    assert len({one["lr"] for one in drawn}) == 3
    assert all(1e-5 <= one["lr"] <= 1e-3 and 0.15 <= one["noise"]["sigma_max"] <= 0.3 for one in drawn)
    ends = [rows(trial)[-1]["training_iteration"] for trial in asha]
    assert ends == [3, 1, 1]

    # The table at the end and the command agree; the best trial's policy is the experiment's.
    assert "stopped early" in out
    for name, metric in {"grid": "return_mean", "asha": "lr/velocity"}.items():
        assert (root / name / "sweep.png").read_bytes().startswith(b"\x89PNG")
        report = json.loads(command(tmp_path, "sweep", "report", f"results/sweeps/{name}", "--json"))
        lasts = [trial["last"] for trial in report["trials"]]
        assert lasts == sorted(lasts, reverse=True)
        assert report["metric"] == metric
        assert [trial["chosen"] for trial in report["trials"]] == [True] + [False] * (len(lasts) - 1)
        assert set(report["trials"][0]["parameters"]) == {"lr", "noise.sigma_max"}
    statuses = {trial["status"] for trial in report["trials"]}
    assert statuses == {"finished", "stopped early"}


POPULATION = (
    SWEEPS.split("grid:", maxsplit=1)[0]
    + """
population:
  run: ScoreFlow
  env: Hopper-v4
  weights_from: pre
  metric: lr/velocity  # so that it is known which trial takes over the other's checkpoint
  stop: {training_iteration: 4}
  num_samples: 2
  scheduler: pbt
  scheduler_config:
    perturbation_interval: 2
    synch: true
    quantile_fraction: 0.5
    resample_probability: 0.0
    hyperparam_mutations:
      lr: {loguniform: [1.0e-5, 1.0e-3]}
      clip_param: [0.01, 0.02, 0.05]
      noise: {sigma_max: {uniform: [0.15, 0.3]}}
  config:
    num_envs_per_env_runner: 4
    rollout_fragment_length: 40
    num_epochs: 1
    num_torch_threads: 1
    lr_warmup_iterations: 0
    lr_cycle_iterations: 0
"""
)


def test_a_population_trains_with_what_it_has_perturbed(tmp_path):
    (tmp_path / "sweeps.yaml").write_text(POPULATION)
    out = command(tmp_path, *TRAIN)
    folder = tmp_path / "results" / "sweeps" / "population"
    exploits = [json.loads(line) for line in (folder / "pbt_global.txt").read_text().splitlines()]
    assert exploits, "no trial took over the other's checkpoint"
    for *_, after in exploits:
        assert 1e-5 <= after["lr"] <= 1e-3
        assert after["clip_param"] in (0.01, 0.02, 0.05)
        assert 0.15 <= after["noise"]["sigma_max"] <= 0.3
    assert exploits[0][-1]["lr"] != exploits[0][-2]["lr"]
    trained = [row for trial in folder.glob("trial_*") for row in rows(trial)]
    for row in trained:  # whatever the config says at the time is what the Learner does
        assert row["lr/velocity"] == pytest.approx(row["config"]["lr"])
        assert row["sigma_max"] <= row["config"]["noise"]["sigma_max"] + 1e-6
        assert row["learners"]["default_policy"]["ratio_error_first"] < 1e-4
    changed = exploits[0][-1]["lr"]
    assert [row["training_iteration"] for row in trained if row["config"]["lr"] == changed] == [3, 4]
    assert f"lr={changed:.4g}" in out  # the lines name what is trained with, not what was drawn at first
