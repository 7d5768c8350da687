import pytest

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.spec import build_experiment, read_experiments

GOOD = {"run": "PPO", "env": "CartPole-v1", "stop": {"training_iteration": 2}}


def test_the_old_form_is_read(tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(
        """
first:
  run: PPO
  env: CartPole-v1
  stop: {training_iteration: 2, timesteps_total: 1e5}
  num_samples: 3
  checkpoint_config: {checkpoint_frequency: 5, checkpoint_at_end: false}
  config: {lr: {grid_search: [1e-3, 5e-4]}}
second: {run: PPO, env: CartPole-v1, stop: {training_iteration: 1}, keep_checkpoints_num: 4, checkpoint_freq: 7}
"""
    )
    raw = read_experiments(file)
    assert list(raw) == ["first", "second"]
    first = build_experiment("first", raw["first"], "two.yaml")
    assert first.stop == {"training_iteration": 2, "timesteps_total": 1e5}
    assert first.num_samples == 3
    assert first.checkpoint == {"checkpoint_frequency": 5, "checkpoint_at_end": False}
    assert first.config["lr"]["grid_search"] == [1e-3, 5e-4]
    second = build_experiment("second", raw["second"], "two.yaml")
    assert second.checkpoint == {"num_to_keep": 4, "checkpoint_frequency": 7}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"configg": {}}, ["'configg'", "did you mean 'config'?"]),
        ({"stop": {}}, ["`stop` is missing"]),
        ({"stop": {"training_iteration": "many"}}, ["stop.training_iteration", "'many'", "number"]),
        ({"stop": {"training_iteration": True}}, ["stop.training_iteration"]),
        ({"stop": 3}, ["stop", "mapping"]),
        ({"config": [1]}, ["config", "[1]", "mapping"]),
        ({"num_samples": 0}, ["num_samples", "at least 1"]),
        ({"num_samples": 99_999_999_999_999}, ["num_samples", "at most 100000"]),
        ({"search_seed": 2**32}, ["search_seed", "at most 4294967295"]),
        ({"num_samples": 1.5}, ["num_samples", "whole number"]),
        ({"env": 3}, ["env", "string"]),
        ({"local_dir": "x"}, ["local_dir", "--results-dir"]),
        ({"checkpoint_config": {"frequency": 1}}, ["checkpoint_config.frequency", "checkpoint_frequency"]),
        ({"checkpoint_config": {"checkpoint_score_order": "up"}}, ["'max' or 'min'"]),
        ({"checkpoint_at_end": 1}, ["checkpoint_at_end", "true or false"]),
    ],
)
def test_a_bad_form_is_refused_by_name(change, words):
    with pytest.raises(InputError) as caught:
        build_experiment("exp", {**GOOD, **change}, "f.yaml")
    assert str(caught.value).startswith("f.yaml: exp")
    assert all(word in str(caught.value) for word in words), caught.value


def test_run_is_needed():
    with pytest.raises(InputError, match="`run` is missing"):
        build_experiment("exp", {"stop": {"training_iteration": 1}}, "f.yaml")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b"])
def test_names_must_be_folder_names(name):
    with pytest.raises(InputError, match="folder"):
        build_experiment(name, GOOD, "f.yaml")


def test_a_python_file_gives_config_and_stop(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ray.rllib.algorithms.ppo import PPOConfig\n"
        "config = PPOConfig().environment('CartPole-v1').training(gamma=0.9)\n"
        "stop = {'training_iteration': 4}\n"
    )
    raw = read_experiments(file)
    experiment = build_experiment("mine", raw["mine"], "mine.py")
    assert experiment.base.gamma == 0.9
    assert experiment.run.__name__ == "PPO"
    assert experiment.stop == {"training_iteration": 4}
    assert "PPOConfig" in experiment.source_text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", ["no variable `config`"]),
        ("config = {}", ["type dict"]),
        ("import nothing_like_this", ["ModuleNotFoundError"]),
        ("config = 1 +", ["SyntaxError"]),
        ("raise SystemExit(3)", ["SystemExit"]),
    ],
)
def test_a_python_file_without_config_is_refused(tmp_path, text, words):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_experiments(file)
    assert all(word in str(caught.value) for word in [str(file), *words]), caught.value
