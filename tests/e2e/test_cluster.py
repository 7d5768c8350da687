"""Jobs on a real cluster of two nodes: they end well, and they survive losses (`cluster/README.md`, Faults)."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from itertools import pairwise
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# `hopper.yaml` in small.
YAML = """
pretrain:
  run: FlowBC
  env: hopper-medium-v2
  stop: {training_iteration: 2}
  config:
    dataset: hopper-small
    num_learners: NUM_LEARNERS
    velocity: {hidden_dim: 64}
    denoising_steps: 4
finetune:
  run: ScoreFlow
  env: hopper-medium-v2
  weights_from: pretrain
  stop: {training_iteration: ITERATIONS}
  checkpoint_config: {checkpoint_frequency: 2}
  config:
    num_env_runners: 2
    num_learners: NUM_LEARNERS
    custom_resources_per_env_runner: {rollout: 1}
    num_envs_per_env_runner: 4
    rollout_fragment_length: 100
    num_epochs: 2
    env_backend: gymnasium
    sample_timeout_s: 60
    env_runner_health_probe_timeout_s: 5
"""
# What an iteration may take at most: the rollout's time limit, the probe's, and the work itself.
LONGEST_ITERATION_S = 60 + 5 + 25


@pytest.fixture
def folder():
    # Short: the path of one of Ray's sockets is below it.
    path = Path(tempfile.mkdtemp(prefix="rc"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def write_yaml(folder: Path, num_learners: int, iterations: int) -> None:
    text = YAML.replace("NUM_LEARNERS", str(num_learners)).replace("ITERATIONS", str(iterations))
    (folder / "hop.yaml").write_text(text)


def results(folder: Path, name: str) -> list[dict]:
    (file,) = folder.glob(f"results/hop/{name}/*/result.json")
    return [json.loads(line) for line in file.read_text().splitlines()]


def submit(cluster, folder: Path) -> subprocess.Popen:
    words = [sys.executable, "-u", "-m", "rllib_scoreflow.cli", "train", "file", folder / "hop.yaml"]
    return cluster.job(*words, "--ray-address", "auto", "--results-dir", folder / "results", cwd=folder)


@pytest.mark.parametrize("num_learners", [1, 2])
def test_a_job_trains_hopper_on_two_nodes(two_nodes, folder, num_learners) -> None:
    write_yaml(folder, num_learners, iterations=3)
    with two_nodes(folder / "ray", head_cpus=num_learners + 2, second_cpus=1) as cluster:
        job = submit(cluster, folder)
        output, _ = job.communicate(timeout=600)
        assert job.returncode == 0, output
        hosts = json.loads((folder / "results" / "hop" / "finetune" / "done.json").read_text())
    rows = results(folder, "finetune")
    assert [row["training_iteration"] for row in rows] == [1, 2, 3]
    assert rows[-1]["env_steps"] > 0.9 * 3 * 2 * 4 * 100 * 4
    # The EnvRunners on both nodes sample with the weights that the Learners then update.
    assert all(row["learners"]["default_policy"]["ratio_error_first"] < 1e-5 for row in rows)
    assert hosts["policy"] == "policy"
    assert any(line.startswith("iter    3") for line in output.splitlines())


def test_the_run_survives_the_death_of_an_env_runner_and_of_a_node(two_nodes, folder) -> None:
    write_yaml(folder, 1, iterations=400)
    with two_nodes(folder / "ray", head_cpus=3, second_cpus=1) as cluster:
        _, second = cluster.nodes
        job = submit(cluster, folder)
        # A run that stands still must end the test, and not stand with it.
        watchdog = threading.Timer(500, job.kill)
        watchdog.start()
        said, killed_at, done = [], {}, 0
        for text in job.stdout:
            line = text.rstrip()
            said.append(line)
            if not line.startswith("iter ") or "policy_loss" not in line:
                continue
            done = int(line.split()[1])
            if done == 3:
                (runner,) = second.processes("ray::ChunkEnvRunner")
                runner.send_signal(signal.SIGKILL)
                killed_at["runner"] = done
            elif "runner" in killed_at and "node" not in killed_at and any("is back" in earlier for earlier in said):
                (raylet,) = second.processes("raylet")
                raylet.send_signal(signal.SIGKILL)
                killed_at["node"] = done
            elif "node" in killed_at and done >= killed_at["node"] + 4:
                break
        watchdog.cancel()
        job.kill()
        text = "\n".join(said)
        assert "node" in killed_at, text
    notes = [line for line in said if line.startswith("Note: ")]
    assert any("1 of 2 EnvRunners gave no rollout" in note for note in notes), text
    assert any("is back" in note for note in notes), text
    rows = results(folder, "finetune")
    iterations = [row["training_iteration"] for row in rows]
    # Nothing was begun anew: one line of iterations.
    assert iterations == list(range(1, len(rows) + 1))
    assert max(row["time_this_iter_s"] for row in rows) < LONGEST_ITERATION_S
    steps = [row["env_steps"] for row in rows]
    assert all(later > earlier for earlier, later in pairwise(steps))
    after = [row for row in rows if row["training_iteration"] > killed_at["node"]]
    assert all(row["return_mean"] > 0 for row in after if "return_mean" in row)
