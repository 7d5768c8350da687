"""Stops, scores and metrics that can never come are refused before anything runs."""

import pytest
from ray.rllib.algorithms.bc import BCConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.tune.utils import flatten_dict

from rllib_scoreflow.algorithms.flow_bc import FlowBC, FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlow, ScoreFlowConfig
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.checks.algorithms import find_algorithm
from rllib_scoreflow.experiments.checks.config import check_config, result_keys
from rllib_scoreflow.experiments.checks.result_keys import ResultKeys, reported_results
from rllib_scoreflow.experiments.checks.stopping import check_results, check_stop
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.runs.runner import AtTopLevel

WITH_EVALUATION = {"evaluation_interval": 2, "evaluation_duration": 4}


def keys_of(run: str, env: str | None = "Hopper-v4", **config) -> ResultKeys:
    algorithm = find_algorithm(run, "here")
    one = Experiment("exp", "f.yaml", run, env=env, config=config)
    return result_keys(one, algorithm, check_config(one, algorithm))


@pytest.mark.parametrize(
    ("run", "config", "stop", "found"),
    [
        ("ScoreFlow", {}, "env_steps", "env_steps"),
        ("ScoreFlow", {}, "timesteps_total", "timesteps_total"),
        ("ScoreFlow", {}, "num_env_steps_sampled_lifetime", "num_env_steps_sampled_lifetime"),
        ("ScoreFlow", {}, "episode_reward_mean", "env_runners/episode_return_mean"),
        ("ScoreFlow", {}, "env_runners/episode_return_mean", "env_runners/episode_return_mean"),
        ("ScoreFlow", {}, "env_runners/episode_reward_max", "env_runners/episode_return_max"),
        ("ScoreFlow", {}, "episodes_total", "env_runners/num_episodes_lifetime"),
        ("ScoreFlow", {}, "episode/subtasks", "episode/subtasks"),
        ("PPO", {}, "info/num_env_steps_sampled", "num_env_steps_sampled_lifetime"),
        ("PPO", {}, "num_steps_trained", "learners/__all_modules__/num_env_steps_trained_lifetime"),
        ("PPO", {}, "info/learner/default_policy/learner_stats/kl", "learners/default_policy/mean_kl_loss"),
        ("PPO", {}, "info/learner/p1/learner_stats/vf_loss", "learners/p1/vf_loss"),
        ("PPO", {}, "policy_reward_mean/p1", "env_runners/module_episode_return_mean/p1"),
        ("BC", {"input": "/data"}, "timesteps_total", "learners/__all_modules__/num_env_steps_trained_lifetime"),
        ("ScoreFlow", {}, "learners/default_policy/ratio_error_first", "learners/default_policy/ratio_error_first"),
        ("ScoreFlow", {}, "alpha/step_3", "alpha/step_3"),
        ("ScoreFlow", WITH_EVALUATION, "eval_return_mean", "eval_return_mean"),
        ("ScoreFlow", WITH_EVALUATION, "evaluation/episode_reward_mean", "evaluation/env_runners/episode_return_mean"),
        ("FlowBC", {}, "training_iteration", "training_iteration"),
        ("FlowBC", {}, "validation_loss", "validation_loss"),
        ("FlowBC", WITH_EVALUATION, "eval_success_rate", "eval_success_rate"),
        ("PPO", {}, "timesteps_total", "num_env_steps_sampled_lifetime"),
        ("PPO", {}, "episode_reward_mean", "env_runners/episode_return_mean"),
        ("PPO", {}, "env_runners/episode_return_mean", "env_runners/episode_return_mean"),
        ("PPO", {}, "sampler_results/episode_reward_mean", "env_runners/episode_return_mean"),
        ("PPO", {}, "learners/default_policy/vf_loss", "learners/default_policy/vf_loss"),
        ("PPO", {}, "env_runners/agent_episode_return_mean/a", "env_runners/agent_episode_return_mean/a"),
        ("PPO", WITH_EVALUATION, "evaluation/episode_reward_mean", "evaluation/env_runners/episode_return_mean"),
    ],
)
def test_what_is_reported_passes_under_its_name_of_today(run, config, stop, found):
    assert check_stop({stop: 0.5}, "x", keys_of(run, **config)) == {found: 0.5}


@pytest.mark.parametrize(
    ("run", "config", "stop", "words"),
    [
        ("ScoreFlow", {}, "env_step", ["'env_steps'"]),
        ("ScoreFlow", {}, "my/own/metric", ["no result of ScoreFlow"]),
        ("ScoreFlow", {}, "env_runners/episode_retrun_mean", ["'env_runners/episode_return_mean'"]),
        ("ScoreFlow", {}, "evaluation/env_runners/episode_return_mean", ["set evaluation_interval"]),
        ("ScoreFlow", {}, "eval_return_mean", ["set evaluation_interval"]),
        ("ScoreFlow", {}, "alpha/step_4", ["'alpha/step_"]),
        ("ScoreFlow", {}, "train_loss", ["a result of FlowBC"]),
        ("ScoreFlow", WITH_EVALUATION, "eval_normalised_score", ["'eval_normalized_score'"]),
        ("FlowBC", {}, "env_steps", ["no episodes while it trains"]),
        ("FlowBC", {}, "timesteps_total", ["no episodes while it trains"]),
        ("FlowBC", {}, "episode_reward_mean", ["no episodes while it trains"]),
        ("FlowBC", {}, "env_runners/episode_return_mean", ["no episodes while it trains"]),
        ("FlowBC", {}, "eval_return_mean", ["set evaluation_interval"]),
        ("FlowBC", {"validation_fraction": 0.0}, "validation_loss", ["set validation_fraction"]),
        (
            "FlowBC",
            {"evaluation_interval": {"grid_search": [1, None]}},
            "eval_return_mean",
            ["set evaluation_interval"],
        ),
        ("PPO", {}, "env_runners/episode_retrun_mean", ["'env_runners/episode_return_mean'"]),
        ("PPO", {}, "my/own/metric", ["no result of PPO"]),
        ("PPO", {}, "evaluation/env_runners/episode_return_mean", ["set evaluation_interval"]),
        ("PPO", {}, "evaluation/episode_reward_mean", ["set evaluation_interval"]),
        ("PPO", {}, "env_step", ["no result of PPO"]),
        ("PPO", {}, "info/learner/default_policy/vf_loss", ["no result of PPO"]),
        ("BC", {"input": "/data"}, "episode_reward_mean", ["learns offline"]),
    ],
)
def test_what_never_comes_is_refused(run, config, stop, words):
    with pytest.raises(InputError) as caught:
        check_stop({"training_iteration": 3, stop: 0.5}, "f.yaml: exp", keys_of(run, **config))
    message = str(caught.value)
    assert message.startswith(f"f.yaml: exp: stop.{stop} ")
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("success_rate", 90, "never more than 1"),
        ("eval_success_rate", 1.5, "never more than 1"),
        ("explained_variance", 2, "never more than 1"),
        ("gradient_steps", 1000, "never more than 20"),
        ("env_steps", float("nan"), "never reached"),
        ("env_steps", float("inf"), "never reached"),
    ],
)
def test_values_that_are_never_reached_are_refused(key, value, words):
    with pytest.raises(InputError, match=words):
        check_stop({key: value}, "x", keys_of("ScoreFlow", **WITH_EVALUATION))
    assert check_stop({"success_rate": 1}, "x", keys_of("ScoreFlow")) == {"success_rate": 1.0}


@pytest.mark.parametrize(
    ("run", "key"),
    [
        ("FlowBC", "gradient_steps"),
        ("FlowBC", "epoch"),
        ("ScoreFlow", "env_steps"),
        ("ScoreFlow", "episodes"),
        ("ScoreFlow", "update_seconds"),
        ("ScoreFlow", "timesteps_total"),
        ("PPO", "training_iteration"),
        ("PPO", "time_total_s"),
        ("PPO", "num_env_steps_sampled_lifetime"),
        ("PPO", "episodes_total"),
    ],
)
def test_a_count_that_the_first_result_has_reached_is_refused(run, key):
    for value in (0, -3):
        with pytest.raises(InputError, match=f"x: stop.{key} is {value}, which the first result has already reached"):
            check_stop({key: value}, "x", keys_of(run))
    assert check_stop({key: 0.5}, "x", keys_of(run))


@pytest.mark.parametrize(
    "changed",
    [
        {"env_config": {"forward_reward_weight": 5.0}},
        {"max_episode_steps": 100},
        {"env_config": {"max_episode_steps": 9}},
    ],
)
@pytest.mark.parametrize("run", ["FlowBC", "ScoreFlow"])
def test_a_score_that_another_task_has_not_is_no_stop(run, changed):
    with pytest.raises(
        InputError, match=r"eval_normalized_score is no result of .*D4RL's score is that of its own task"
    ):
        check_stop({"eval_normalized_score": 90}, "x", keys_of(run, **WITH_EVALUATION, **changed))
    for same in ({}, {"env_config": {"forward_reward_weight": 1.0}}, {"max_episode_steps": 1000}):
        assert check_stop({"eval_normalized_score": 90}, "x", keys_of(run, **WITH_EVALUATION, **same))


def test_time_may_be_counted_in_gradient_steps_of_cloning():
    found = checked("FlowBC", scheduler_config={"time_attr": "gradient_steps"})[1]
    assert found["scheduler_config"] == {"time_attr": "gradient_steps"}
    with pytest.raises(InputError, match="does not only grow"):
        checked("ScoreFlow", scheduler_config={"time_attr": "gradient_steps"})


def test_what_may_be_negative_ends_a_run_at_any_value():
    stop = {"env_runners/episode_return_mean": -150.0}
    assert check_stop(stop, "x", keys_of("PPO")) == stop
    assert check_stop({"return_mean": -150, "policy_loss": 0}, "x", keys_of("ScoreFlow"))


def test_parts_of_the_users_own_may_report_more():
    def connector(*_):
        return None

    own_runner = type("OwnRunner", (SingleAgentEnvRunner,), {})
    for change in (
        lambda c: c.env_runners(env_runner_cls=own_runner),
        lambda c: c.env_runners(env_to_module_connector=connector),
        lambda c: c.learners(learner_connector=connector),
    ):
        config = change(PPOConfig())
        assert check_stop({"env_runners/my_metric": 3}, "x", ResultKeys([reported_results(config, config.algo_class)]))
    own_algorithm = type("OwnScoreFlow", (ScoreFlow,), {"__module__": "mine"})
    assert reported_results(ScoreFlowConfig(), own_algorithm).may_be_more
    assert not reported_results(ScoreFlowConfig(), ScoreFlow).may_be_more


def test_callbacks_may_report_more_but_slips_are_still_seen():
    config = PPOConfig().environment("CartPole-v1").callbacks(on_train_result=print)
    keys = ResultKeys([reported_results(config, config.algo_class)])
    assert check_stop({"my/own/metric": 5, "env_runners/success": 1}, "x", keys)
    with pytest.raises(InputError, match="did you mean 'env_runners/episode_return_mean'"):
        check_stop({"env_runners/episode_retrun_mean": 5}, "x", keys)

    class Own(config.algo_class):
        pass

    assert reported_results(PPOConfig(), Own).may_be_more
    assert not reported_results(PPOConfig(), config.algo_class).may_be_more
    assert not reported_results(BCConfig(), BCConfig().algo_class).has("env_runners/episode_return_mean")


def checked(run, *, checkpoint=None, **settings):
    one = Experiment("exp", "f.yaml", run, checkpoint=checkpoint or {}, settings=settings, stop={"env_steps": 9})
    found = check_results(one, keys_of(run))
    return found.checkpoint, found.settings


def test_scores_and_metrics_get_their_names_of_today():
    checkpoint, settings = checked(
        "PPO",
        checkpoint={"checkpoint_score_attribute": "episode_reward_mean"},
        metric="episode_reward_mean",
        scheduler_config={"time_attr": "timesteps_total", "metric": "episode_len_mean", "grace_period": 3},
    )
    assert checkpoint == {"checkpoint_score_attribute": "env_runners/episode_return_mean"}
    assert settings["metric"] == "env_runners/episode_return_mean"
    assert settings["scheduler_config"] == {
        "time_attr": "num_env_steps_sampled_lifetime",
        "metric": "env_runners/episode_len_mean",
        "grace_period": 3,
    }
    checkpoint, _ = checked("FlowBC", checkpoint={"checkpoint_score_attribute": "min-validation_loss"})
    assert checkpoint == {"checkpoint_score_attribute": "validation_loss", "checkpoint_score_order": "min"}


@pytest.mark.parametrize(
    ("run", "settings", "words"),
    [
        (
            "ScoreFlow",
            {"checkpoint": {"checkpoint_score_attribute": "retrun_mean"}},
            ["checkpoint_config", "'return_mean'"],
        ),
        ("ScoreFlow", {"checkpoint": {"checkpoint_score_attribute": "eval_return_mean"}}, ["evaluation_interval"]),
        ("ScoreFlow", {"metric": "eval_return_mean"}, ["metric 'eval_return_mean'", "evaluation_interval"]),
        ("ScoreFlow", {"metric": "return_men"}, ["metric", "'return_mean'"]),
        ("ScoreFlow", {"scheduler_config": {"metric": "reward"}}, ["scheduler_config.metric", "no result"]),
        ("ScoreFlow", {"scheduler_config": {"time_attr": "steps"}}, ["scheduler_config.time_attr", "no result"]),
        ("ScoreFlow", {"scheduler_config": {"time_attr": "return_mean"}}, ["time_attr", "only grow"]),
        ("FlowBC", {"scheduler_config": {"time_attr": "env_steps"}}, ["time_attr", "no episodes"]),
        ("PPO", {"metric": "return_mean"}, ["no result of PPO"]),
    ],
)
def test_scores_and_metrics_that_never_come_are_refused(run, settings, words):
    with pytest.raises(InputError) as caught:
        checked(run, **settings)
    assert str(caught.value).startswith("f.yaml: exp: ")
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_nested_score_is_put_where_tune_looks_for_it():
    result = {"env_runners": {"episode_return_mean": 3.0}}
    AtTopLevel("env_runners/episode_return_mean")(result=result, algorithm=None)
    assert result["env_runners/episode_return_mean"] == 3.0
    assert flatten_dict(result)["env_runners/episode_return_mean"] == 3.0
    AtTopLevel("evaluation/x")(result=result)
    assert set(result) == {"env_runners", "env_runners/episode_return_mean"}


def test_each_algorithm_declares_its_results():
    assert FlowBCConfig().reported_results().by == FlowBC.__name__
    assert ScoreFlowConfig().reported_results().by == ScoreFlow.__name__
