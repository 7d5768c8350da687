"""Whole runs of the command, each a process of its own with its own Ray."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from rllib_scoreflow.experiments.clone import find_clone
from rllib_scoreflow.experiments.weights import policy_digest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]

THREE = """
pre:
  run: FlowBC
  env: hopper-medium-v2
  stop: {training_iteration: 1}
  config: &small
    dataset: hopper-small
    train_batch_size_per_learner: 8192
    denoising_steps: 2
    velocity: {hidden_dim: 16}
    num_torch_threads: 1
fine:
  run: ScoreFlow
  env: hopper-medium-v2
  weights_from: pre
  stop: {training_iteration: 2}
  config: {num_envs_per_env_runner: 4, rollout_fragment_length: 10, num_epochs: 1, num_torch_threads: 1}
cart:
  run: PPO
  env: CartPole-v1
  stop: {training_iteration: 9}
  config:
    num_env_runners: 0
    train_batch_size_per_learner: 200
    minibatch_size: 1e2
    num_epochs: 1
    lr: {grid_search: [5e-4, 1e-3]}
"""

SLOW = """
from ray.rllib.algorithms.ppo import PPOConfig

config = (
    PPOConfig()
    .environment("CartPole-v1")
    .env_runners(num_env_runners=0)
    .training(train_batch_size_per_learner=400, minibatch_size=200, num_epochs=1)
)
stop = {"training_iteration": 8}
"""

BROKEN_ENV = """
import gymnasium as gym
from ray.rllib.algorithms.ppo import PPOConfig
from rllib_scoreflow.errors import InputError


class Arm(gym.Env):
    def __init__(self, config=None):
        raise InputError("arm.xml is missing; put it beside the script.")


config = PPOConfig().environment(Arm).env_runners(num_env_runners=0)
stop = {"training_iteration": 1}
"""


BREAKING_ENV = """
import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.ppo import PPOConfig
from rllib_scoreflow.errors import InputError


class Arm(gym.Env):
    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    steps = 0

    def __init__(self, config=None):
        pass

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps > 300:
            raise InputError("scene 7 of arm.xml is missing; put it beside the script.")
        return np.zeros(2, np.float32), 0.0, self.steps % 20 == 0, False, {}


config = (
    PPOConfig()
    .environment(Arm)
    .env_runners(num_env_runners=0)
    .training(train_batch_size_per_learner=200, minibatch_size=100, num_epochs=1)
)
stop = {"training_iteration": 9}
"""


# An environment and a dataset that nothing here has heard of.
DRONE = """
import gymnasium as gym
import numpy as np


class Drone(gym.Env):
    observation_space = gym.spaces.Box(-5.0, 5.0, (4,), np.float32)
    action_space = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 4).astype(np.float32)
        return self.state, {}

    def step(self, action):
        self.state[2:] = 0.9 * self.state[2:] + 0.1 * np.clip(action, -2, 2)
        self.state[:2] += 0.1 * self.state[2:]
        return self.state.copy(), -float(np.abs(self.state[:2]).sum()), bool(np.abs(self.state).max() > 4), False, {}


gym.register("Drone-v0", Drone, max_episode_steps=30)
"""

DRONE_YAML = """
clone:
  run: FlowBC
  env: drone:Drone-v0
  stop: {gradient_steps: 6}
  config:
    dataset: flights.hdf5
    num_torch_threads: 1
    evaluation_interval: 9
tune:
  run: ScoreFlow
  env: drone:Drone-v0
  weights_from: clone
  stop: {env_steps: 900}
  config:
    num_envs_per_env_runner: 5
    rollout_fragment_length: 20
    num_torch_threads: 1
    evaluation_interval: 2
"""


def iterations(trial: Path) -> list[int]:
    return [json.loads(line)["training_iteration"] for line in (trial / "result.json").read_text().splitlines()]


def test_a_file_of_three_experiments(rllib_process, rllib, tmp_path):
    work = tmp_path / "work"
    (work / "three.yaml").write_text(THREE)
    words = ["train", "file", "three.yaml", "--set", "cart.stop.training_iteration=2", "--ray-num-cpus", "2"]
    answer = rllib_process(*words)
    assert answer.status == 0, answer.err
    assert answer.err == ""
    root = work / "results" / "three"
    done = {name: json.loads((root / name / "done.json").read_text()) for name in ("pre", "fine", "cart")}
    assert "exported policy" in answer.out
    assert all(f"results/three/{name}/learning_curve.png" in answer.out for name in done)

    # The second stage began from the first one's export, and both say from which dataset it comes.
    assert done["pre"]["dataset_sha256"] == done["fine"]["dataset_sha256"]
    assert done["pre"]["dataset_sha256"]
    for name in ("pre", "fine"):
        assert (root / name / done[name]["policy"] / "policy.safetensors").is_file()
        assert (root / name / done[name]["checkpoint"] / "policy" / "policy.json").is_file()
    begun = json.loads((root / "fine" / "experiment.json").read_text())
    assert Path(begun["pretrained_policy"]).parts[-2:] == ("pre", "policy")
    assert begun["pretrained_policy_sha256"] == policy_digest(root / "pre" / "policy")
    assert find_clone(root / "fine", None).samefile(root / "pre" / "policy")

    # The grid gave two trials with their own learning rates and TensorBoard logs.
    trials = sorted((root / "cart").glob("trial_*"))
    rates = [json.loads((trial / "params.json").read_text())["lr"] for trial in trials]
    assert rates == [5e-4, 1e-3]
    assert all(iterations(trial) == [1, 2] for trial in trials)
    assert all(list(trial.glob("events.out.tfevents*")) for trial in trials)
    assert done["cart"]["policy"] is None

    # A line per iteration of each trial and no tables of Ray's.
    lines = [line for line in answer.out.splitlines() if "iter " in line]
    assert len(lines) == 1 + 2 + 2 * 2

    # The same again does nothing and another configuration is refused; neither starts Ray.
    stamp = (root / "pre" / "done.json").stat().st_mtime_ns
    again = rllib(*words)
    assert again.status == 0
    assert again.out.count("already finished") == 3
    assert not [line for line in again.out.splitlines() if line.startswith("iter ")]
    other = rllib(*words, "--set", "pre.config.lr=2e-3")
    assert (other.status, other.out) == (2, "")
    assert "--overwrite" in other.err
    assert other.err.count("\n") == 1
    assert (root / "pre" / "done.json").stat().st_mtime_ns == stamp

    # Both kinds of result can be evaluated.
    flow = rllib("evaluate", "results/three/fine", "--episodes", "2", "--seed", "1", "--json")
    assert flow.status == 0, flow.err
    assert len(json.loads(flow.out)["returns"]) == 2
    generic = rllib("evaluate", "results/three/cart", "--episodes", "3")
    assert generic.status == 0, generic.err
    assert "over 3 episodes" in generic.out
    info = rllib("policy", "info", "results/three/fine", "--json")
    assert json.loads(info.out)["config"]["observation_dim"] == 11


def test_sigterm_writes_a_checkpoint_and_resume_goes_on(rllib_process, tmp_path):
    work = tmp_path / "work"
    (work / "slow.py").write_text(SLOW)
    words = ["train", "file", "slow.py", "--ray-num-cpus", "1"]
    command = [sys.executable, "-u", "-m", "rllib_scoreflow.cli", *words]
    process = subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("iter    2"):
            process.send_signal(signal.SIGTERM)
    err = process.stderr.read()
    status = process.wait(timeout=60)
    assert status == 130, (status, err)
    assert "rllib train file slow.py --ray-num-cpus 1 --resume" in err
    trial = work / "results" / "slow" / "slow" / "trial_00000"
    before = iterations(trial)
    assert before[-1] < 8
    assert list(trial.glob("checkpoint_*/rllib_checkpoint.json"))

    answer = rllib_process(*words, "--resume")
    assert answer.status == 0, answer.err
    # Nothing was lost and nothing repeated.
    assert iterations(trial) == list(range(1, 9))
    assert (trial.parent / "done.json").is_file()


def test_an_environment_and_a_dataset_of_ones_own(rllib_process, tmp_path, monkeypatch):
    work = tmp_path / "work"
    (work / "drone.py").write_text(DRONE)
    (work / "drone.yaml").write_text(DRONE_YAML)
    assert len(DRONE_YAML.splitlines()) < 25
    rng = np.random.default_rng(0)
    with h5py.File(work / "flights.hdf5", "w") as file:
        file["observations"], file["actions"] = rng.uniform(-1, 1, (600, 4)), rng.uniform(-2, 2, (600, 2))
        file["rewards"], file["terminals"] = np.zeros(600), np.zeros(600, bool)
        file["timeouts"] = np.arange(600) % 30 == 29
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(work), os.environ.get("PYTHONPATH", "")]))
    answer = rllib_process("train", "file", "drone.yaml")
    assert answer.status == 0, answer.err
    results = work / "results" / "drone" / "tune" / "trial_00000" / "result.json"
    first, *_, last = map(json.loads, results.read_text().splitlines())
    assert last["env_steps"] >= 900
    assert (first["training_iteration"], first["env_steps"]) == (0, 0)
    # The clone was cut off within an epoch and evaluated there; the fine-tuning begins with its evaluation.
    cloned = json.loads((work / "results/drone/clone/trial_00000/result.json").read_text().splitlines()[-1])
    assert cloned["gradient_steps"] == 6
    assert first["eval_return_mean"] <= 0
    assert "clone: the clone's return is" in answer.out
    assert "the mean return of its data is 0.00" in answer.out
    assert "rllib evaluate results/drone/tune/policy --env drone:Drone-v0 --episodes 20" in answer.out
    played = rllib_process("evaluate", "results/drone/tune", "--env", "drone:Drone-v0", "--episodes", "3", "--json")
    assert played.status == 0, played.err
    assert json.loads(played.out)["env_id"] == "drone:Drone-v0"


def test_more_than_ray_has_is_refused_and_not_waited_for(rllib_process, tmp_path):
    work = tmp_path / "work"
    (work / "slow.py").write_text(SLOW)
    answer = rllib_process("train", "file", "slow.py", "--ray-num-cpus", "1", "--set", "config.num_env_runners=2")
    assert answer.status == 2, answer
    assert "a trial asks for 3 CPU (1, 1, 1: the main process, then" in answer.err
    assert "and Ray has 1; lower num_env_runners" in answer.err
    assert not list(work.glob("results/slow/slow/trial_*"))


def test_bad_input_found_within_a_trial(rllib_process, tmp_path):
    work = tmp_path / "work"
    (work / "arm.py").write_text(BROKEN_ENV)
    answer = rllib_process("train", "file", "arm.py", "--ray-num-cpus", "1")
    assert answer.status == 2
    assert answer.err == "rllib: arm.py: arm: arm.xml is missing; put it beside the script.\n"
    assert [path.name for path in work.iterdir() if path.name != "__pycache__"] == ["arm.py"]


def test_bad_input_found_in_the_middle_of_a_trial_is_not_tried_again(rllib_process, tmp_path):
    work = tmp_path / "work"
    (work / "arm.py").write_text(BREAKING_ENV)
    answer = rllib_process("train", "file", "arm.py", "--ray-num-cpus", "1")
    assert answer.status == 2, answer
    assert answer.err == "rllib: arm.py: arm: scene 7 of arm.xml is missing; put it beside the script.\n"
    assert "restart" not in answer.out
    assert "iter    1" in answer.out


@pytest.mark.slow
def test_a_nested_score_decides_which_checkpoint_stays(rllib_process, tmp_path):
    """By a count that only grows, where less is better: the first one stays, beside the newest."""
    (tmp_path / "work" / "score.yaml").write_text(
        """
cart:
  run: PPO
  env: CartPole-v1
  stop: {training_iteration: 3}
  checkpoint_config: {checkpoint_frequency: 1, num_to_keep: 1, checkpoint_score_order: min}
  checkpoint_score_attr: episodes_total
  config: {num_env_runners: 0, train_batch_size_per_learner: 200, minibatch_size: 100, num_epochs: 1}
"""
    )
    answer = rllib_process("train", "file", "score.yaml", "--ray-num-cpus", "2")
    assert answer.status == 0, answer.err
    kept = sorted(path.name for path in (tmp_path / "work" / "results" / "score" / "cart").glob("trial_*/checkpoint_*"))
    assert kept == ["checkpoint_000000", "checkpoint_000002"]
