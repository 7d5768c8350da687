"""Whole configs of earlier versions of RLlib, and what in them has no effect or no network can be built of."""

import sys
from pathlib import Path
from typing import Any

import pytest

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.checks.algorithms import find_algorithm
from rllib_scoreflow.experiments.checks.config import build_config, check_config, result_keys, validate
from rllib_scoreflow.experiments.checks.stopping import check_stop
from rllib_scoreflow.experiments.renames.model_keys import UNREAD
from rllib_scoreflow.experiments.spec import Experiment, build_experiment
from rllib_scoreflow.experiments.translation.translate import translate
from rllib_scoreflow.plugins import extend_module_path

pytestmark = [pytest.mark.filterwarnings("ignore")]

# What Ray 1.13 wrote into the params.json of a trial, of which nothing was chosen.
DUMP: dict[str, Any] = {
    "num_workers": 2, "num_envs_per_worker": 1, "create_env_on_driver": False, "rollout_fragment_length": 200,
    "batch_mode": "truncate_episodes", "gamma": 0.99, "lr": 0.0001, "train_batch_size": 400, "optimizer": {},
    "horizon": None, "soft_horizon": False, "env": None, "observation_space": None, "action_space": None,
    "env_config": {}, "remote_worker_envs": False, "remote_env_batch_wait_ms": 0, "env_task_fn": None,
    "render_env": False, "record_env": False, "clip_rewards": None, "normalize_actions": True, "clip_actions": False,
    "preprocessor_pref": "deepmind", "log_level": "WARN", "ignore_worker_failures": False, "log_sys_usage": True,
    "fake_sampler": False, "framework": "tf", "eager_tracing": False, "eager_max_retraces": 20, "explore": True,
    "exploration_config": {"type": "StochasticSampling"}, "evaluation_interval": None, "evaluation_duration": 10,
    "evaluation_duration_unit": "episodes", "evaluation_parallel_to_training": False, "in_evaluation": False,
    "evaluation_config": {}, "evaluation_num_workers": 0, "custom_eval_function": None,
    "always_attach_evaluation_results": False, "keep_per_episode_custom_metrics": False, "sample_async": False,
    "observation_filter": "NoFilter", "synchronize_filters": True, "compress_observations": False,
    "collect_metrics_timeout": -1, "metrics_episode_collection_timeout_s": 180, "seed": None,
    "metrics_num_episodes_for_smoothing": 100, "min_time_s_per_reporting": None,
    "min_train_timesteps_per_reporting": None, "min_sample_timesteps_per_reporting": None,
    "extra_python_environs_for_driver": {}, "extra_python_environs_for_worker": {}, "num_gpus": 0,
    "_fake_gpus": False, "num_cpus_per_worker": 1, "num_gpus_per_worker": 0, "custom_resources_per_worker": {},
    "num_cpus_for_driver": 1, "placement_strategy": "PACK", "input": "sampler", "input_config": {},
    "actions_in_input_normalized": False, "input_evaluation": ["is", "wis"], "postprocess_inputs": False,
    "shuffle_buffer_size": 0, "output": None, "output_config": {}, "output_compress_columns": ["obs", "new_obs"],
    "output_max_file_size": 67108864, "logger_config": None, "_tf_policy_handles_more_than_one_loss": False,
    "_disable_preprocessor_api": False, "_disable_action_flattening": False, "_disable_execution_plan_api": False,
    "disable_env_checking": False, "simple_optimizer": -1, "monitor": -1, "evaluation_num_episodes": -1,
    "metrics_smoothing_episodes": -1, "timesteps_per_iteration": 0, "min_iter_time_s": -1,
    "multiagent": {
        "policies": {}, "policy_map_capacity": 100, "policy_map_cache": None, "policy_mapping_fn": None,
        "policies_to_train": None, "observation_fn": None, "replay_mode": "independent",
        "count_steps_by": "env_steps",
    },
    "model": {
        "_use_default_native_models": False, "fcnet_hiddens": [256, 256], "fcnet_activation": "tanh",
        "conv_filters": None, "conv_activation": "relu", "post_fcnet_hiddens": [], "post_fcnet_activation": "relu",
        "free_log_std": False, "no_final_linear": False, "vf_share_layers": True, "use_lstm": False,
        "max_seq_len": 20, "lstm_cell_size": 256, "lstm_use_prev_action": False, "_time_major": False,
        "use_attention": False, "attention_dim": 64, "framestack": True, "dim": 84, "grayscale": False,
        "zero_mean": True, "custom_model": None, "custom_model_config": {}, "custom_preprocessor": None,
        "lstm_use_prev_action_reward": -1,
    },
}  # fmt: skip


def translated(run: str = "PPO", env: str = "CartPole-v1", /, **config: Any) -> Experiment:
    return translate(Experiment("exp", "f.yaml", run, env=env, config=config), find_algorithm(run, "here"))


def built(run: str = "PPO", env: str = "CartPole-v1", /, **config: Any) -> Any:
    algorithm = find_algorithm(run, "here")
    experiment = translated(run, env, **config)
    checked = check_config(experiment, algorithm)
    validate(experiment, algorithm, checked)
    return build_config(experiment, algorithm, checked)


def refusal(run: str = "PPO", env: str = "CartPole-v1", /, **config: Any) -> str:
    with pytest.raises(InputError) as caught:
        built(run, env, **config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_writes_out_the_defaults_of_its_time_starts() -> None:
    config = built(**DUMP)
    assert (config.env, config.num_env_runners, config.train_batch_size_per_learner) == ("CartPole-v1", 2, 400)
    assert config.model_config["fcnet_hiddens"] == [256, 256]
    assert not config.is_multi_agent
    assert config.evaluation_duration == 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"collect_metrics_timeout": 60}, "collect_metrics_timeout is 60"),
        ({"monitor": True}, "monitor is True"),
        ({"env_task_fn": "f"}, "env_task_fn is 'f'"),
        ({"optimizer": {"type": "sgd"}}, "Adam"),
        ({"simple_optimizer": True}, "Learners"),
        ({"batch_mode": "complete"}, "truncate_episodes or complete_episodes"),
        ({"log_level": "LOUD"}, "DEBUG or INFO"),
        ({"remote_worker_envs": "yes"}, "true or false"),
        ({"fcnet_hiddens": [3]}, "belongs into model"),
        ({"num_workers": -1}, "num_workers (now num_env_runners) is -1 and must be at least 0"),
        ({"train_batch_size": 0}, "train_batch_size (now train_batch_size_per_learner) is 0 and must be at least 1"),
        ({"gamma": 1.5}, "between 0 and 1"),
        ({"env_config": 3}, "must be a mapping"),
        ({"evaluation_config": 3}, "must be a mapping"),
        ({"learner_class": "module.Class"}, "run a Python file"),
        ({"num_sgd_iters": 3}, "did you mean 'num_sgd_iter'?"),
        ({"exploration_fraction": 0.1}, "epsilon"),
        ({"clip_rewards": 1.0}, "wrapper"),
    ],
)
def test_what_was_chosen_is_not_taken_for_a_default(change: dict[str, Any], words: str) -> None:
    assert words in refusal(**{**DUMP, **change})


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ({"num_workers": 1}, "num_workers (now num_env_runners) is 1, which has no effect there: set evaluation_num"),
        ({"lr": 0.1}, "learn nothing"),
        ({"train_batch_size": 5}, "learn nothing"),
        ({"rollout_fragment_length": 5}, "evaluation_duration"),
        ({"model": {"fcnet_hiddens": [3]}}, "networks that are trained"),
        ({"min_time_s_per_iteration": 5}, "whole trial"),
    ],
)
def test_evaluations_have_settings_of_their_own_only_where_they_look_at_them(inner: dict[str, Any], words: str) -> None:
    sentence = refusal(evaluation_interval=1, evaluation_config=inner)
    assert sentence.startswith("f.yaml: exp: config.evaluation_config.")
    assert words in sentence


def test_evaluations_may_act_otherwise_in_another_environment() -> None:
    config = built(
        "DQN",
        evaluation_interval=1,
        evaluation_config={"explore": False, "env_config": {"a": 1}, "exploration_config": {"final_epsilon": 0.0}},
    )
    evaluation = config.get_evaluation_config_object()
    assert (evaluation.explore, evaluation.env_config["a"]) == (False, 1)
    assert evaluation.epsilon == [[0, 1.0], [100_000, 0.0]]
    assert evaluation.model_config["epsilon"] == evaluation.epsilon  # by which its RLModule explores


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"fcnet_hiddens": 64}, "list of whole numbers"),
        ({"fcnet_hiddens": ["a"]}, "list of whole numbers"),
        ({"fcnet_hiddens": [0]}, "at least 1"),
        ({"fcnet_activation": "leakyrelu"}, "an activation such as tanh"),
        ({"fcnet_weights_initializer": "xavier_uniform"}, "ends in _"),
        ({"conv_filters": [[16, 8]]}, "[filters, kernel, stride]"),
        ({"use_lstm": "yes"}, "true or false"),
        ({"use_lstm": True, "lstm_cell_size": 0}, "at least 1"),
        ({"lstm_cell_size": 64}, "use_lstm: true is missing"),
        ({"fcnet_hiddens": {"grid_search": [[64], 64]}}, "list of whole numbers"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_before_the_run(model: dict[str, Any], words: str) -> None:
    sentence = refusal(model=model)
    assert list(model)[-1] in sentence
    assert words in sentence


def test_a_file_that_has_no_lstm_says_so_itself() -> None:
    experiment = translated(model={"use_lstm": False, "lstm_cell_size": 64})
    assert "lstm_cell_size" not in experiment.config["model_config"]
    assert "model_config.lstm_cell_size has no part in use_lstm: false" in experiment.notes


@pytest.mark.parametrize("run", sorted(UNREAD))
def test_keys_of_networks_that_an_algorithm_has_not_are_refused(run: str) -> None:
    values = {"hiddens": [7], "activation": "elu", "initializer": "zeros_", "kwargs": {"a": 1}, "param": 3.0}
    for key in UNREAD[run]:
        value = values.get(key.rpartition("_")[2], key != "vf_share_layers")
        with pytest.raises(InputError, match=key):
            translated(run, "Pendulum-v1", model_config={key: value})


CALLBACKS = """
from ray.rllib.callbacks.callbacks import RLlibCallback

class Good(RLlibCallback):
    def on_episode_end(self, *, episode, env_runner, **kwargs): pass

class Old(RLlibCallback):
    def on_episode_end(self, *, worker, base_env, policies, episode, **kwargs): pass

class Gone(RLlibCallback):
    def on_learn_on_batch(self, *, policy, **kwargs): pass

class Other: pass
"""


def test_callbacks_are_found_and_can_be_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "callbacks_of_a_test.py").write_text(CALLBACKS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    extend_module_path([tmp_path])
    module = "callbacks_of_a_test"
    assert built(callbacks=f"{module}.Good").callbacks_class.__name__ == "Good"
    assert "on_episode_end asks for worker" in refusal(callbacks=f"{module}.Old")
    assert "on_learn_on_batch RLlib calls no more" in refusal(callbacks=f"{module}.Gone")
    assert "does not extend RLlibCallback" in refusal(callbacks=f"{module}.Other")
    assert "cannot be imported" in refusal(callbacks=f"{module}.None_")
    assert "dotted path" in refusal(callbacks={"on_episode_start": "f"})
    old = translated(callbacks="ray.rllib.agents.callbacks.DefaultCallbacks")
    assert old.config["callbacks"] == "ray.rllib.callbacks.callbacks.RLlibCallback"


def test_one_agent_may_have_its_policy_by_name() -> None:
    config = built(multiagent={"policies": {"default_policy": [None, None, None, {}]}})
    assert list(config.policies) == ["default_policy"]
    assert not config.is_multi_agent


def test_recording_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "msgpack_numpy", None)  # as where it is not installed
    assert "run pip install msgpack-numpy, or set output_write_episodes: false" in refusal(output=str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert built(output="here", output_write_episodes=False).output == str(tmp_path / "here")
    config = {"output": "dataset", "output_config": {"path": "here", "max_num_samples_per_file": 5}}
    experiment = translated(**config, output_write_episodes=False)
    assert experiment.config["output_max_rows_per_file"] == 5
    assert "never the rest" in experiment.notes[-1]
    assert "output: PATH" in refusal(output="logdir")
    assert "output: PATH" in refusal(output_write_episodes=False)
    assert "output_compress_columns" in refusal(output="here", output_compress_columns=["obs"])
    assert "samples nothing" in refusal("BC", input=str(tmp_path), evaluation_interval=1, output="here")


def test_what_learns_offline_has_its_spaces_without_evaluations(tmp_path: Path) -> None:
    config = built("BC", input=str(tmp_path))
    assert (config.evaluation_num_env_runners, config.evaluation_interval) == (1, None)
    assert config.dataset_num_iters_per_learner == 1
    # Ray Data's workers wait for no CPU that the trial has.
    assert (config.map_batches_kwargs, config.input_read_method_kwargs) == ({"num_cpus": 0}, {"num_cpus": 0})
    own = built("BC", input=str(tmp_path), map_batches_kwargs={"num_cpus": 2, "concurrency": 3})
    assert own.map_batches_kwargs == {"num_cpus": 2, "concurrency": 3}
    assert built("CQL", "Pendulum-v1", input=str(tmp_path)).dataset_num_iters_per_learner == 2
    assert "CQL fails" in refusal("CQL", "Pendulum-v1", input=str(tmp_path), dataset_num_iters_per_learner=1)
    assert "run MARWIL" in refusal("BC", input=str(tmp_path), beta=1.0)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"capacity": "many"}, "whole number of at least 1"),
        ({"capacity": 0}, "whole number of at least 1"),
        ({"alpha": -1}, "number of at least 0"),
        ({"beta": [[0, 0.4], [10, 1.0]]}, "number of at least 0"),
    ],
)
def test_numbers_of_a_replay_buffer_are_checked(config: dict[str, Any], words: str) -> None:
    assert words in refusal("DQN", replay_buffer_config=config)
    assert built("DQN", replay_buffer_config={"capacity": 1e5}).replay_buffer_config["capacity"] == 100_000


def test_an_unknown_environment_is_told_before_its_horizon() -> None:
    assert "horizon" not in translated("PPO", "NoSuchEnv-v0", horizon=20).notes
    several = "ray.rllib.examples.env.multi_agent.MultiAgentCartPole"
    with pytest.raises(InputError, match="several agents"):
        translated("PPO", several, horizon=20)


def test_what_is_random_takes_numbers() -> None:
    assert built("DQN", exploration_config={"epsilon_timesteps": "1e5"}).epsilon[-1] == [100_000, 0.05]
    assert "must be a number" in refusal("DQN", exploration_config={"epsilon_timesteps": "lots"})


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("time_budget_s", 100, "time_total_s"),
        ("trial_resources", {"cpu": 1}, "num_learners"),
        ("sync_config", {"upload_dir": "s3://x"}, "--results-dir"),
        ("repeat", 3, "num_samples"),
        ("pass_criteria", {"episode_reward_mean": 1}, "stop"),
    ],
)
def test_keys_of_tune_that_are_gone_have_their_remedy(key: str, value: Any, words: str) -> None:
    raw = {"run": "PPO", "env": "CartPole-v1", "stop": {"training_iteration": 1}, key: value}
    with pytest.raises(InputError, match=words) as caught:
        build_experiment("exp", raw, "f.yaml")
    assert f"the key '{key}' no longer has a meaning" in str(caught.value)


@pytest.mark.parametrize("key", ["hist_stats/episode_reward", "custom_metrics/x_mean"])
def test_a_translated_file_cannot_stop_on_what_never_comes(key: str) -> None:
    algorithm = find_algorithm("PPO", "here")
    experiment = translated(num_workers=1)
    keys = result_keys(experiment, algorithm, check_config(experiment, algorithm))
    with pytest.raises(InputError, match="never comes"):
        check_stop({key: 1.0}, "f.yaml: exp", keys)
    assert check_stop({"info/learner/default_policy/learner_stats/kl": 1.0}, "f.yaml", keys) == {
        "learners/default_policy/mean_kl_loss": 1.0
    }
