"""The command of old notes, through Ray: environments by their code, restored checkpoints, RLlib's examples, PPO."""

import json
import math
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import ray.rllib.examples.algorithms as examples

from rllib_scoreflow.cli.examples import find_examples

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
SMALL = (
    "{num_env_runners: 1, train_batch_size_per_learner: 64, minibatch_size: 32, num_epochs: 1, env_config: {gain: 3}}"
)
WALKS = """
    import gymnasium as gym
    import numpy as np
    from beside_the_walks import LENGTH

    class Walk(gym.Env):
        observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
        action_space = gym.spaces.Discrete(2)
        def __init__(self, config):
            self.gain = config["gain"]
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.step_number = 0
            return np.zeros(3, np.float32), {}
        def step(self, action):
            self.step_number += 1
            return np.zeros(3, np.float32), float(self.gain), self.step_number >= LENGTH, False, {}

    class Broken(Walk):
        def __init__(self, config):
            raise LookupError(f"no licence for {object()}")
"""


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    """An experiment file in a folder, with the file of its environment and a module beside it."""
    folder = tmp_path / "work" / "files"
    folder.mkdir(parents=True)
    (folder / "walks.py").write_text(textwrap.dedent(WALKS))
    (folder / "beside_the_walks.py").write_text("LENGTH = 7\n")
    experiment = "{name}: {{run: PPO, env: '{env}', stop: {{training_iteration: 1}}, config: {config}}}\n"
    forms = {"walk": "walks.py:Walk", "dotted": "walks.Walk", "broken": "walks:Broken"}
    text = "".join(experiment.format(name=name, env=env, config=SMALL) for name, env in forms.items())
    (folder / "walks.yaml").write_text(text)
    return folder


def result_rows(trial: Path) -> list[dict]:
    return [json.loads(line) for line in (trial / "result.json").read_text().splitlines()]


def test_a_class_of_a_file_trains_is_restored_and_evaluated(rllib_process, walks) -> None:
    """The EnvRunner is another process, and the file is not in the working folder."""
    answer = rllib_process("train", "file", "files/walks.yaml", "--only", "walk", "--ray-num-cpus", 3)
    assert answer.status == 0, answer.err
    results = walks.parent / "results" / "walks"
    assert result_rows(results / "walk" / "trial_00000")[-1]["env_runners"]["episode_return_mean"] == 21.0
    found = rllib_process("evaluate", results / "walk", "--episodes", 2, "--json")
    assert json.loads(found.out)["returns"] == [21.0, 21.0], found.err
    restored = rllib_process(
        "train", "file", "files/walks.yaml", "--only", "walk", "--restore", results / "walk", "--local-dir", "more",
        "-s", "{training_iteration: 2}", "--ray-num-cpus", 3,
    )  # fmt: skip
    assert restored.status == 0, restored.err
    rows = result_rows(walks.parent / "more" / "walks" / "walk" / "trial_00000")
    assert [row["training_iteration"] for row in rows] == [2]
    first = result_rows(results / "walk" / "trial_00000")[-1]["num_env_steps_sampled_lifetime"]
    assert rows[0]["num_env_steps_sampled_lifetime"] > first


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_is_tried_once(rllib_process, walks) -> None:
    answer = rllib_process("train", "file", "files/walks.yaml", "--only", "broken", "--ray-num-cpus", 3)
    assert answer.status == 1
    assert "LookupError: no licence for <object object>" in answer.err
    assert answer.err.count("\n") == 1
    assert "restart" not in answer.out + answer.err


@pytest.mark.slow
def test_a_dotted_path_trains(rllib_process, walks) -> None:
    answer = rllib_process("train", "file", "files/walks.yaml", "--only", "dotted", "--ray-num-cpus", 3)
    assert answer.status == 0, answer.err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vpg_custom_algorithm", "appo_custom_algorithm_w_shared_data_actor"])
def test_an_installed_example_runs_by_its_path(rllib_process, name) -> None:
    file = Path(examples.__file__).parent / f"{name}.py"
    answer = rllib_process("train", "file", file, "-s", '{"training_iteration": 1}', "--ray-num-cpus", 6)
    assert answer.status == 0, answer.err
    assert "iter    1" in answer.out


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ppo_with_the_published_settings_learns_cartpole(rllib_process, tmp_path) -> None:
    """Settings and goal of RLlib's own learning test: a return of 450 within 300,000 steps."""
    from ray.rllib.algorithms.algorithm import Algorithm

    file = find_examples()["cartpole-ppo"].file
    words = [sys.executable, "-m", "rllib_scoreflow.cli", "train", "file", str(file), "--ray-num-cpus", "3"]
    trained = subprocess.run(words, cwd=tmp_path / "work", capture_output=True, text=True, timeout=7000, check=False)
    assert trained.returncode == 0, trained.stderr
    folder = tmp_path / "work" / "results" / "cartpole-ppo" / "cartpole-ppo"
    last = result_rows(folder / "trial_00000")[-1]
    assert last["evaluation"]["env_runners"]["episode_return_mean"] >= 450.0
    found = json.loads(rllib_process("evaluate", folder, "--episodes", 30, "--json").out)
    done = json.loads((folder / "done.json").read_text())
    algorithm = Algorithm.from_checkpoint(str(folder / done["checkpoint"]))
    try:
        means = [algorithm.evaluate()["env_runners"]["episode_return_mean"] for _ in range(5)]
    finally:
        algorithm.stop()
    mean = sum(means) / len(means)
    spread = math.sqrt(sum((each - mean) ** 2 for each in means) / (len(means) - 1) / len(means))
    assert abs(found["return_mean"] - mean) <= 4 * math.hypot(found["return_stderr"], spread) + 1.0


@pytest.mark.slow
def test_cql_learns_from_a_recording_of_the_old_stack(rllib_process, tmp_path: Path) -> None:
    """Lines of several episodes each, compressed, as its workers wrote them; the folder is named from here."""
    import gymnasium as gym
    import numpy as np
    from ray.rllib.offline.json_writer import JsonWriter
    from ray.rllib.policy.sample_batch import SampleBatch

    folder = tmp_path / "work" / "recorded"
    writer, env = JsonWriter(str(folder)), gym.make("Pendulum-v1", max_episode_steps=30)
    observation, _ = env.reset(seed=0)
    for line in range(4):
        steps = []
        for _ in range(100):
            action = env.action_space.sample()
            following, reward, _, over, _ = env.step(action)
            steps.append((observation, action, np.float32(reward), following, over, line))
            observation = env.reset()[0] if over else following
        names = ("obs", "actions", "rewards", "new_obs", "dones", "unroll_id")
        writer.write(SampleBatch(dict(zip(names, map(np.array, zip(*steps, strict=True)), strict=True))))
    config = "{input: recorded, train_batch_size: 64, bc_iters: 1}"
    text = f"cql: {{run: CQL, env: Pendulum-v1, stop: {{training_iteration: 2}}, config: {config}}}\n"
    (tmp_path / "work" / "cql.yaml").write_text(text)
    answer = rllib_process("train", "file", "cql.yaml", "--ray-num-cpus", 2)  # which the trial has both of
    assert answer.status == 0, answer.err
    rows = result_rows(tmp_path / "work" / "results" / "cql" / "cql" / "trial_00000")
    assert [row["learners"]["__all_modules__"]["num_env_steps_trained_lifetime"] for row in rows] == [128, 256]
    assert math.isfinite(rows[-1]["learners"]["default_policy"]["total_loss"])
