"""Mistakes end with one sentence on stderr and status 2, before Ray starts, and nothing is written."""

import json
import pickle
import subprocess
import sys

import pytest

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.runs.session import check_address

PPO = {"run": "PPO", "env": "CartPole-v1", "stop": {"training_iteration": 1}}


@pytest.fixture
def experiment(tmp_path):
    def write(**changes):
        file = tmp_path / "exp.yaml"
        file.write_text(json.dumps({"cart": {**PPO, **changes}}))
        return file

    return write


def test_missing_files(refused, tmp_path):
    assert "nowhere.yaml does not exist" in refused("train", "file", "nowhere.yaml")
    assert "is a folder" in refused("train", "file", tmp_path)
    (tmp_path / "x.txt").write_text("a: 1")
    assert ".yaml or .py" in refused("train", "file", tmp_path / "x.txt")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not a text file" in refused("train", "file", tmp_path / "x.yaml")


@pytest.mark.parametrize("text", ["", "[1, 2]", "run: PPO", "a: {run: PPO", "a: 1\na: 2"])
def test_files_that_hold_no_experiments(refused, tmp_path, text):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    assert "bad.yaml" in refused("train", "file", file)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run": "PPPO"}, ["unknown algorithm 'PPPO'", "'PPO'"]),
        ({"env": "CartPol-v1"}, ["unknown environment 'CartPol-v1'", "CartPole"]),
        ({"env": "no_module:Env-v0"}, ["no_module", "cannot be imported"]),
        ({"config": {"gama": 1}}, ["'gama'", "'gamma'"]),
        ({"config": {"lr": "fast"}}, ["config.lr", "'fast'"]),
        ({"stop": {"training_iterations": 3}}, ["stop.training_iterations", "'training_iteration'"]),
        ({"weights_from": "x"}, ["PPO cannot start from a policy"]),
        ({"stop": {"training_iteration": 0}}, ["stop.training_iteration is 0", "a number above 0"]),
        ({"stop": {"training_iteration": 5, "time_total_s": -60}}, ["stop.time_total_s is -60"]),
        ({"config": {"callbacks": "no_module.Hooks"}}, ["config.callbacks", "no_module.Hooks"]),
        ({"config": {"callbacks_on_train_result": "print"}}, ["config.callbacks_on_train_result", "a function"]),
        (
            {"config": {"num_envs_per_worker": 2, "num_envs_per_env_runner": 3}},
            ["num_envs_per_worker and num_envs_per_env_runner are the same and have two values, 2 and 3"],
        ),
        ({"config": {"num_workers": "two"}}, ["config.num_workers (now num_env_runners) is 'two'"]),
        ({"config": {"in_evaluation": True}}, ["in_evaluation is True", "RLlib sets it itself"]),
        ({"run": "FlowBC", "config": {"in_evaluation": True}}, ["config.in_evaluation", "no effect"]),
        ({"run": "FlowBC", "config": {"_enable_new_api_stack": False}}, ["config._enable_new_api_stack", "no effect"]),
        ({"run": "FlowBC", "config": {"seed": -1}}, ["'seed' is -1", "from 0 to 4294967295"]),
        ({"run": "FlowBC", "config": {"evaluation_num_workers": 1}}, ["evaluation_num_workers is 1", "no effect"]),
        ({"checkpoint_config": {"num_to_keep": 0}}, ["checkpoint_config.num_to_keep is 0"]),
        ({"checkpoint_config": {"checkpoint_frequency": -1}}, ["checkpoint_config.checkpoint_frequency is -1"]),
        ({"max_failures": -2}, ["max_failures is -2"]),
        ({"scheduler_config": {"grace_period": 2}}, ["scheduler_config has no effect without a scheduler"]),
        ({"scheduler": "hyperbnd"}, ["unknown scheduler", "'hyperband'"]),
        ({"scheduler": "asha", "scheduler_config": {"no_such": 1}}, ["async_hyperband", "no_such"]),
        ({"scheduler": "asha"}, ["async_hyperband", "`metric:`"]),
        ({"scheduler": "pbt", "metric": "episode_reward_mean", "mode": "max"}, ["pbt refuses"]),
        ({"run": "FlowBC", "config": {"dataset": "nowhere.hdf5"}}, ["nowhere.hdf5"]),
        ({"run": "FlowBC", "config": {"datset": "x"}}, ["'datset'", "'dataset'"]),
        ({"run": "ScoreFlow", "weights_from": "nowhere"}, ["'nowhere'", "neither"]),
        (
            {"run": "FlowBC", "config": {"dataset": "x", "num_epochs": 3}},
            ["config.num_epochs is 3", "no effect", "one epoch"],
        ),
        ({"run": "FlowBC", "config": {"dataset": "x", "num_workers": 3}}, ["config.num_workers is 3", "no EnvRunners"]),
        ({"run": "FlowBC", "config": {"dataset": "x", "on_episode_end": "f"}}, ["config.on_episode_end", "no effect"]),
        ({"run": "FlowBC", "config": {"monitor": True}}, ["config.monitor is True", "dropped"]),
        ({"run": "FlowBC", "stop": {"env_steps": 3}}, ["stop.env_steps", "no episodes"]),
        ({"run": "FlowBC", "metric": "eval_return_mean"}, ["metric 'eval_return_mean'", "set evaluation_interval"]),
        ({"stop": {"env_runners/episode_return_meen": 3}}, ["'env_runners/episode_return_mean'"]),
        ({"checkpoint_score_attr": "episode_reward"}, ["checkpoint_score_attribute 'episode_reward'", "no result"]),
        ({"run": "ScoreFlow", "config": {"module_to_env_connector": 1}}, ["module_to_env_connector", "wrapper"]),
    ],
)
def test_experiments_that_cannot_run(refused, experiment, changes, words):
    file = experiment(**changes)
    sentence = refused("train", "file", file)
    assert str(file) in sentence
    assert all(word in sentence for word in words), sentence


def test_options_that_do_not_fit(refused, experiment):
    file = experiment()
    assert "--only nobody" in refused("train", "file", file, "--only", "nobody")
    assert "config.gama" in refused("train", "file", file, "--set", "config.gama=1")
    assert "--stop" in refused("train", "file", file, "--stop", "[1]")
    assert "--ray-address" in refused("train", "file", file, "--ray-address", "auto", "--ray-num-cpus", "1")
    assert "local folder" in refused("train", "file", file, "--results-dir", "s3://bucket/x")
    assert "write it after" in refused("train", "--algo", "PPO", "file", file)
    assert "--algo" in refused("train")
    assert "stop" in refused("train", "--algo", "PPO", "--env", "CartPole-v1")
    assert "--config" in refused("train", "--algo", "PPO", "--config", "{", "--stop", "{}")
    assert "--episodes" in refused("evaluate", "x", "--episodes", "none")
    assert "'nope'" in refused("nope")


def test_a_later_experiment_cannot_give_weights_to_an_earlier_one(refused, tmp_path):
    file = tmp_path / "order.yaml"
    flow = {"run": "ScoreFlow", "stop": {"training_iteration": 1}, "env": "Hopper-v4"}
    file.write_text(json.dumps({"fine": {**flow, "weights_from": "pre"}, "pre": {**flow, "run": "FlowBC"}}))
    assert "does not come earlier" in refused("train", "file", file)


def test_nothing_to_evaluate(refused, tmp_path):
    assert "does not exist" in refused("evaluate", "nowhere")
    (tmp_path / "empty").mkdir()
    assert "neither a policy" in refused("evaluate", tmp_path / "empty")
    assert "--variant" in refused("evaluate", tmp_path, "--variant", "flo")
    assert "--backend" in refused("evaluate", tmp_path, "--backend", "gym")
    assert "holds no policy" in refused("policy", "info", tmp_path / "empty")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "policy.json").write_text("{")
    assert "policy.json" in refused("policy", "info", broken)
    assert "policy.json" in refused("evaluate", broken)


def test_help_loads_none_of_the_big_packages():
    """What makes a command start in a tenth of a second, whatever else the machine does."""
    code = (
        "import sys; from rllib_scoreflow.cli.main import run\n"
        "for words in ([], ['train'], ['train', 'file'], ['evaluate'], ['policy', 'info'], ['sweep', 'report']):\n"
        "    assert run([*words, '--help']) == 0\n"
        "print('loaded:', sorted({'ray', 'torch', 'gymnasium', 'pyarrow', 'matplotlib'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.count("Usage: rllib") == 6
    assert answer.stdout.endswith("loaded: []\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: {run: PPO, env: CartPole-v1, stop: {training_iteration: .nan}}", ["a.stop.training_iteration", ".nan"]),
        ("a: {run: PPO, env: CartPole-v1, stop: {training_iteration: .inf}}", ["stop.training_iteration", "inf"]),
        ("a: {run: PPO, env: CartPole-v1, stop: {training_iteration: 1e999}}", ["stop.training_iteration", "inf"]),
        ("a: {run: PPO, stop: {training_iteration: 1}, scheduler_config: {max_t: .inf}}", ["scheduler_config.max_t"]),
        ("a: {run: PPO, stop: {training_iteration: 1}, 1: 2}", ["a: unknown key 1"]),
        ("a: {run: PPO, stop: {training_iteration: 1}, _base: 2}", ["a: unknown key '_base'"]),
        ("a: {run: PPO, stop: {1: 2}}", ["stop has the key 1"]),
        ("1: {run: PPO}\n'1': {run: PPO}", ["two experiments have one name"]),
        ("a: {run: " + "P" * 3000 + ", stop: {training_iteration: 1}}", ["unknown algorithm"]),
        ("a: {run: PPO, stop: {training_iteration: 1}, " + "k" * 1000 + ": 1}", ["unknown key"]),
        ("a: {run: PPO, stop: {training_iteration: 1}, config: {" + "k" * 1000 + ": 1}}", ["has no key"]),
        ("a: {run: PPO, stop: {training_iteration: 1}, config: {lr: " + "k" * 60_000 + "}}", ["config.lr is"]),
    ],
)
def test_numbers_and_keys_that_mean_nothing(refused, tmp_path, text, words):
    file = tmp_path / "exp.yaml"
    file.write_text(text)
    sentence = refused("train", "file", file)
    assert str(file) in sentence
    assert all(word in sentence for word in words), sentence
    assert len(sentence) < 1500


@pytest.mark.parametrize(
    "words",
    [
        ("--stop", '{"training_iteration": .nan}'),
        ("--stop", '{"training_iteration": .inf}'),
        ("--set", "stop.training_iteration=.nan"),
        ("--set", "stop.training_iteration=-.inf"),
        ("--set", "config.gamma=.nan"),
        ("--scheduler-config", '{"max_t": .inf}'),
        ("--set", ".".join("a" * 3000) + "=1"),
    ],
)
def test_options_with_numbers_that_mean_nothing(refused, experiment, words):
    assert len(refused("train", "file", experiment(), *words)) < 600


def test_a_later_stage_is_judged_before_the_first_one_runs(refused, tmp_path):
    """Its policy does not exist yet; its options do."""
    stages = {
        "pre": {"run": "FlowBC", "stop": {"training_iteration": 1}, "config": {"dataset": "hopper-small"}},
        "fine": {"run": "ScoreFlow", "env": "Hopper-v4", "weights_from": "pre", "stop": {"training_iteration": 1}},
    }
    for config, words in [
        ({"explore": False}, ["config.explore is False", "no effect on ScoreFlow"]),
        ({"evaluation_config": {"gamma": 0.5}}, ["'evaluation_config.gamma'", "no effect"]),
        ({"noise": {"sigma_mn": 0.1}}, ["noise.sigma_mn", "noise.sigma_min"]),
        ({"batch_mode": {"grid_search": ["truncate_episodes", "complete_episodes"]}}, ["'batch_mode'"]),
    ]:
        file = tmp_path / "two.yaml"
        file.write_text(json.dumps({**stages, "fine": {**stages["fine"], "config": config}}))
        sentence = refused("train", "file", file)
        assert f"{file}: fine: " in sentence
        assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('no licence')", ["imported", "RuntimeError", "no licence"]),
        ("import no_such_module", ["cannot be imported", "no_such_module"]),
        ("def (", ["imported", "SyntaxError"]),
        ("raise SystemExit(3)", ["imported", "SystemExit"]),
        ("x = 1", ["arm_of_"]),
    ],
)
def test_modules_that_fail(refused, experiment, tmp_path, source, words):
    name = f"arm_of_{tmp_path.name.lower()}"
    (tmp_path / f"{name}.py").write_text(source)
    sys.path.insert(0, str(tmp_path))
    try:
        for key in ("run", "env"):
            sentence = refused("train", "file", experiment(**{key: f"{name}:Arm"}))
            assert all(word in sentence for word in words), sentence
    finally:
        sys.path.remove(str(tmp_path))


@pytest.mark.parametrize(
    "address",
    ["nonsense", "127.0.0.1:99999", "127.0.0.1:1", "ray://127.0.0.1:1", "no-such-host.invalid:6379", "[::", ""],
)
def test_clusters_that_are_not_there_are_not_waited_for(address):
    with pytest.raises(InputError, match=r"--ray-address .*no Ray cluster answers there"):
        check_address(address)


DAMAGED_PICKLES = {
    "nothing": b"",
    "text": b"hello",
    "cut off": pickle.dumps({"class": int})[:-3],
    "a list": pickle.dumps([1]),
    "no class": pickle.dumps({"class": 3, "ctor_args_and_kwargs": 5}),
    "nobody's module": b"cno_such_module\nThing\n.",
    "a wrong opcode": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",
    "no UTF-8": b"\x80\x04\x8c\x02\xff\xfe.",
    "a dictionary as config": pickle.dumps({"class": int, "ctor_args_and_kwargs": ([{"lr": 1}], {})}),
}


@pytest.mark.parametrize("what", DAMAGED_PICKLES)
def test_a_damaged_rllib_checkpoint_is_one_sentence(refused, tmp_path, what):
    (tmp_path / "rllib_checkpoint.json").write_text("{}")
    (tmp_path / "class_and_ctor_args.pkl").write_bytes(DAMAGED_PICKLES[what])
    assert "cannot be read as an RLlib checkpoint" in refused("evaluate", tmp_path)


@pytest.mark.parametrize("words", [["train", "file", "nowhere.yaml"], ["report", "nowhere"], ["train"]])
def test_what_is_refused_by_its_name_loads_none_of_the_big_packages(words):
    code = (
        "import sys; from rllib_scoreflow.cli.main import run\n"
        f"assert run({words!r}) == 2\n"
        "print('loaded:', sorted({'ray.rllib', 'ray.tune', 'torch'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "loaded: []\n"
