"""Recordings of RLlib's old API stack: what a Learner gets of them, and what is refused at the start."""

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow.json
import pyarrow.parquet
import pytest
from ray.rllib.algorithms.bc import BCConfig
from ray.rllib.offline.json_writer import JsonWriter
from ray.rllib.policy.sample_batch import SampleBatch

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.checks.algorithms import find_algorithm
from rllib_scoreflow.experiments.checks.config import build_config, check_config, validate
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.experiments.translation import sample_batches
from rllib_scoreflow.experiments.translation.translate import translate

pytestmark = [pytest.mark.filterwarnings("ignore")]

LIMIT, LINE = 8, 20  # steps of an episode and of a line: lines hold whole episodes and parts of them


def record(folder: Path, lines: int = 3, **more: Any) -> list[dict[str, Any]]:
    """Record Pendulum as the old stack's workers did, and return the steps."""
    env = gym.make("Pendulum-v1", max_episode_steps=LIMIT)
    rng, writer, steps, episode = np.random.default_rng(0), JsonWriter(str(folder)), [], 0
    observation, _ = env.reset(seed=0)
    for _ in range(lines):
        for _ in range(LINE):
            action = rng.uniform(-2.0, 2.0, 1).astype(np.float32)
            following, reward, _, over, _ = env.step(action)
            step = {"obs": observation, "new_obs": following, "actions": action, "rewards": np.float32(reward)}
            steps.append(step | {"dones": over, "eps_id": 70 + episode} | more)
            observation = following
            if over:
                episode += 1
                observation, _ = env.reset()
        line = steps[-LINE:]
        writer.write(SampleBatch({key: np.array([step[key] for step in line]) for key in line[0]}))
    return steps


def read(folder: Path) -> dict[str, Any]:
    """The columns as Ray Data's workers get them."""
    (file,) = folder.glob("*.json")
    table = pyarrow.json.read_json(file, pyarrow.json.ReadOptions(block_size=1 << 24))
    return {name: table[name].to_numpy() for name in table.column_names if name != "type"}


def built(run: str, env: str = "Pendulum-v1", **config: Any) -> Any:
    algorithm = find_algorithm(run, "here")
    experiment = translate(Experiment("exp", "f.yaml", run, env=env, config=config), algorithm)
    checked = check_config(experiment, algorithm)
    validate(experiment, algorithm, checked)
    return build_config(experiment, algorithm, checked)


def refusal(run: str = "BC", **config: Any) -> str:
    with pytest.raises(InputError) as caught:
        built(run, evaluation_interval=1, **config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_lines_are_cut_into_their_episodes(tmp_path: Path) -> None:
    steps = record(tmp_path)
    found = sample_batches.split_episodes(read(tmp_path), lambda actions: actions)
    # Of 60 steps, cut by episodes of 8 and by lines of 20.
    assert [len(actions) for actions in found["actions"]] == [8, 8, 4, 4, 8, 8, 8, 8, 4]
    for column in ("obs", "new_obs", "actions", "rewards"):
        assert np.array_equal(np.concatenate(list(found[column])), [step[column] for step in steps]), column
    ended = [bool(flags[-1]) for flags in found["terminateds"]]
    assert ended == [True, True, False, True, True, True, True, True, False]
    assert [bool(flags[-1]) for flags in found["truncateds"]] == [not end for end in ended]
    assert not any(flags[:-1].any() for flags in [*found["terminateds"], *found["truncateds"]])
    names = [name for (name,) in found["eps_id"]]
    assert len(set(names)) == len(names)
    columns = {name: entries for name, entries in read(tmp_path).items() if name != "dones"}
    unmarked = sample_batches.split_episodes(columns, lambda actions: actions)  # by the episodes' names alone
    assert [len(actions) for actions in unmarked["actions"]] == [8, 8, 4, 4, 8, 8, 8, 8, 4]
    assert not any(flags.any() for flags in unmarked["terminateds"])
    again = sample_batches.split_episodes(read(tmp_path), lambda actions: actions)
    assert [name for (name,) in again["eps_id"]] == names


@pytest.mark.parametrize(
    ("normalized", "config", "wanted"),
    [
        (False, {}, lambda actions: actions / 2.0),  # Pendulum's torques are between -2 and 2
        (True, {}, lambda actions: actions),
        (False, {"normalize_actions": False}, lambda actions: actions),
        (False, {"normalize_actions": False, "clip_actions": True}, lambda actions: np.clip(actions, -2.0, 2.0)),
    ],
)
def test_a_learner_gets_steps_that_the_environment_made(
    tmp_path: Path, normalized: bool, config: dict[str, bool], wanted: Any
) -> None:
    steps = record(tmp_path)
    given = {"actions_in_input_normalized": normalized, "input": str(tmp_path), "evaluation_interval": 1, **config}
    bc = built("BC", train_batch_size=50, **given)
    assert (bc.input_read_method, bc.input_read_sample_batches) == ("read_json", True)
    assert bc.input_read_batch_size == 3  # lines of 20 steps for 50 of them
    assert isinstance(bc, BCConfig)
    env = gym.make("Pendulum-v1")
    spaces = (env.observation_space, env.action_space)
    bc.rl_module_spec = bc.get_multi_rl_module_spec(spaces={"default_policy": spaces})
    learnt = bc.prelearner_class(config=bc, spaces=spaces)(read(tmp_path))
    assert len(learnt["default_policy/actions"]) == 50
    known = {tuple(np.float32(step["obs"])): step for step in steps}
    for index, observation in enumerate(learnt["default_policy/obs"].numpy()):
        step = known[tuple(observation)]
        assert np.allclose(learnt["default_policy/actions"][index], wanted(step["actions"]), atol=1e-6)
        assert np.allclose(learnt["default_policy/new_obs"][index], step["new_obs"], atol=1e-6)
        assert bool(learnt["default_policy/terminateds"][index]) == step["dones"]


def test_files_of_a_pattern_are_found_and_lines_of_another_kind_are_left_to_rllib(tmp_path: Path) -> None:
    record(tmp_path)
    (file,) = tmp_path.glob("*.json")
    assert built("CQL", input=f"{tmp_path}/*.json", evaluation_interval=1).input_ == str(file)
    assert "matches no file" in refusal(input=f"{tmp_path}/*.jsonl")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"obs": [0.0], "actions": [0.0], "rewards": 0.0}) + "\n")
    config = built("BC", input=str(rows), evaluation_interval=1)
    assert (config.input_read_method, config.input_read_sample_batches) == ("read_json", False)
    assert config.prelearner_class is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", '{"type": "MultiAgentBatch", "policy_batches": {}}', "one agent alone"),
        ("a.json", '{"type": "SampleBatch", "obs": [], "rewards": []}', "no column 'actions'"),
        ("a.json", "{", "cannot be read as lines of JSON"),
        ("a.zip", "", "RLlib unpacks no more"),
    ],
)
def test_what_cannot_be_read_is_refused_at_the_start(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    sentence = refusal(input=str(tmp_path / name))
    assert name in sentence
    assert words in sentence


def test_of_other_recordings_actions_are_the_policys_own(tmp_path: Path) -> None:
    assert built("CQL", input=str(tmp_path), evaluation_interval=1, actions_in_input_normalized=True).input_
    assert "must be true or false" in refusal(input=str(tmp_path), actions_in_input_normalized="yes")


def test_whole_episodes_are_told_by_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episodes, steps = tmp_path / "episodes" / "env" / "run", tmp_path / "steps"
    for folder, table in ((episodes, {"item": [b"packed"]}), (steps, {"obs": [[0.0]], "actions": [0]})):
        folder.mkdir(parents=True)
        pyarrow.parquet.write_table(pyarrow.table(table), folder / "a.parquet")
    monkeypatch.setitem(sys.modules, "msgpack_numpy", None)  # as where it is not installed
    assert "input holds whole episodes, for which msgpack-numpy is missing" in refusal(input=str(tmp_path / "episodes"))
    assert built("BC", input=str(steps)).input_read_episodes is False
