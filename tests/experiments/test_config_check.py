import pytest

from rllib_scoreflow.algorithms.common.options import check_options
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.checks.algorithms import config_keys, find_algorithm
from rllib_scoreflow.experiments.checks.config import build_config, check_config, validate
from rllib_scoreflow.experiments.checks.stopping import FirstReached, share_done
from rllib_scoreflow.experiments.search_space import combinations
from rllib_scoreflow.experiments.spec import Experiment


@pytest.fixture(scope="module")
def ppo():
    return find_algorithm("PPO", "here")


def experiment(**config):
    return Experiment("exp", "f.yaml", "PPO", env="CartPole-v1", config=config)


@pytest.mark.parametrize(
    "config",
    [
        {"gamma": 0.9, "lr": 1, "train_batch_size_per_learner": 4000, "lambda": 0.95},
        {"lr": [[0, 1e-3], [1000, 1e-4]], "entropy_coeff": [[0, 0.1], [10, 0.0]]},
        {"rollout_fragment_length": 200},
        {"rollout_fragment_length": "auto"},
        {"num_gpus_per_learner": 0.5, "num_cpus_per_learner": "auto"},
        {"grad_clip": None, "sample_timeout_s": None},
        {"env_config": {"anything": 1}},
        {"num_workers": 0, "framework": "torch"},
        {"evaluation_config": {"explore": False}, "evaluation_duration": 3},
        {"gamma": {"grid_search": [0.9, 0.99]}},
    ],
)
def test_good_values_pass(ppo, config):
    assert check_config(experiment(**config), ppo) == config


def test_an_option_that_only_a_method_sets_arrives(ppo):
    checked = check_config(experiment(model_config={"fcnet_hiddens": [8]}), ppo)
    assert build_config(experiment(), ppo, checked).model_config["fcnet_hiddens"] == [8]


def test_whole_floats_become_ints_where_an_int_is_needed(ppo):
    checked = check_config(experiment(minibatch_size=1e3, num_epochs={"grid_search": [1e0, 2]}), ppo)
    assert checked == {"minibatch_size": 1000, "num_epochs": {"grid_search": [1, 2]}}
    assert type(checked["minibatch_size"]) is int


def test_whole_floats_become_ints_where_null_is_the_default():
    flow_bc = find_algorithm("FlowBC", "here")
    checked = check_config(experiment(lr_cycle_iterations=3e2, early_stopping_patience=5.0), flow_bc)
    assert checked == {"lr_cycle_iterations": 300, "early_stopping_patience": 5}
    assert all(type(value) is int for value in checked.values())


def test_null_switches_off_what_may_be_off():
    from rllib_scoreflow.experiments.checks.algorithms import find_algorithm

    scoreflow = find_algorithm("ScoreFlow", "here")
    off = {"target_kl": None, "minibatch_size": None, "num_torch_threads": None}
    assert check_config(experiment(**off), scoreflow) == off
    with pytest.raises(InputError, match=r"config\.lr is empty and must be a number"):
        check_config(experiment(lr=None), scoreflow)


def test_an_env_runner_may_take_half_a_cpu(ppo):
    assert check_config(experiment(num_cpus_per_env_runner=0.5), ppo)["num_cpus_per_env_runner"] == 0.5
    with pytest.raises(InputError, match=r"config\.num_cpus_per_env_runner is 'half' and must be a number"):
        check_config(experiment(num_cpus_per_env_runner="half"), ppo)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"gama": 0.9}, ["'gama'", "did you mean 'gamma'?"]),
        ({"GAMMA": 0.9}, ["'gamma'"]),
        ({"algo_class": "x"}, ["'algo_class'"]),
        ({"gamma": "high"}, ["config.gamma", "'high'", "a number", "0.99"]),
        ({"gamma": True}, ["config.gamma", "True"]),
        ({"gamma": None}, ["config.gamma", "empty"]),
        ({"num_epochs": 1.5}, ["config.num_epochs", "whole number"]),
        ({"use_gae": "yes"}, ["config.use_gae", "true or false"]),
        ({"batch_mode": 3}, ["config.batch_mode"]),
        ({"gamma": {"grid_search": [0.9, "x"]}}, ["config.gamma", "'x'"]),
        ({"gamma": {"grid_search": []}}, ["config.gamma.grid_search"]),
        ({"evaluation_config": {"gama": 1}}, ["config.evaluation_config", "'gamma'"]),
    ],
)
def test_bad_values_are_refused_with_the_key(ppo, config, words):
    with pytest.raises(InputError) as caught:
        check_config(experiment(**config), ppo)
    assert str(caught.value).startswith("f.yaml: exp: config")
    assert all(word in str(caught.value) for word in words), caught.value


def test_what_the_algorithm_itself_refuses_becomes_one_sentence(ppo):
    with pytest.raises(InputError, match="PPO refuses its config") as caught:
        validate(experiment(), ppo, {"minibatch_size": 10_000, "train_batch_size_per_learner": 10})
    assert "\n" not in str(caught.value)


def test_every_combination_of_a_grid_is_validated(ppo):
    grid = {"train_batch_size_per_learner": 100, "minibatch_size": {"grid_search": [10, 1000]}}
    assert [c["minibatch_size"] for c in combinations(grid)] == [10, 1000]
    with pytest.raises(InputError, match="refuses"):
        validate(experiment(), ppo, grid)


def test_a_config_is_laid_over_that_of_a_python_file(ppo):
    base = ppo.get_default_config().copy(copy_frozen=False).training(gamma=0.5, lr=0.1)
    built = build_config(Experiment("exp", "f.py", ppo, base=base), ppo, {"gamma": 0.7})
    assert (built.gamma, built.lr) == (0.7, 0.1)
    assert base.gamma == 0.5


def test_unknown_algorithms_are_refused(ppo):
    assert find_algorithm("ray.rllib.algorithms.ppo:PPO", "here") is ppo
    assert "gamma" in config_keys(ppo)
    assert not any(key.startswith("_") for key in config_keys(ppo))
    for run, words in [
        ("PPPO", "did you mean 'PPO'"),
        ("scoreflow", "did you mean 'ScoreFlow'"),
        ("json:Nothing", "no class"),
        ("no.module:X", "cannot be imported"),
        ("json:JSONDecoder", "not an RLlib Algorithm"),
    ]:
        with pytest.raises(InputError, match=words):
            find_algorithm(run, "here")


def test_a_trial_stops_at_the_first_criterion_reached():
    stop = {"env_runners/episode_return_mean": 0.0, "training_iteration": 10}
    stopper = FirstReached(stop)
    assert not stopper("t", {"training_iteration": 9})
    assert not stopper("t", {"training_iteration": 9, "env_runners": {"episode_return_mean": float("nan")}})
    assert not stopper("t", {"training_iteration": 9, "env_runners": {"episode_return_mean": -0.1}})
    assert stopper("t", {"training_iteration": 9, "env_runners": {"episode_return_mean": 0.0}})
    assert stopper("t", {"training_iteration": 10})
    assert share_done(stop, {"training_iteration": 5}) == 0.5
    assert share_done({"env_runners/episode_return_mean": 1.0}, {"training_iteration": 5}) is None


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["lr", "lr_min", "entropy_coeff", "vf_loss_coeff", "critic_output_bias"])
def test_options_are_finite(name, value):
    config = ScoreFlowConfig()
    setattr(config, name, value)
    with pytest.raises(InputError, match=f"Option '{name}' .* is {value}"):
        check_options(config, ScoreFlowConfig.OPTIONS)


@pytest.mark.parametrize("name", ["target_kl", "grad_clip", "clip_param"])
def test_a_limit_may_be_infinite(name):
    config = ScoreFlowConfig()
    setattr(config, name, float("inf"))
    check_options(config, ScoreFlowConfig.OPTIONS)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"lr": -1}, ["config.lr is -1", "at least 0", "4.5e-05"]),
        ({"num_epochs": 0}, ["config.num_epochs is 0", "at least 1"]),
        ({"lambda": 2.0}, ["config.lambda is 2.0", "at most 1 "]),
        ({"minibatch_size": "x"}, ["config.minibatch_size", "a whole number"]),
        ({"minibatch_size": {"uniform": [1, 20]}}, ["config.minibatch_size", "use randint"]),
        ({"gamma": {"grid_search": [0.9, 1.5]}}, ["config.gamma is 1.5"]),
        ({"variant": "scorflow"}, ["config.variant is 'scorflow'", "did you mean 'scoreflow'?"]),
        ({"score": 3}, ["config.score is 3", "a mapping"]),
        ({"plugins": [1]}, ["config.plugins.0 is 1", "a string"]),
        ({"evaluation_interval": -1}, ["config.evaluation_interval is -1", "at least 0"]),
        ({"lr": {"loguniforn": [1e-5, 1e-3]}}, ["a number", "did you mean 'loguniform'?"]),
    ],
)
def test_options_of_our_own_are_judged_by_their_model(config, words):
    with pytest.raises(InputError) as caught:
        check_config(experiment(**config), find_algorithm("ScoreFlow", "here"))
    assert str(caught.value).startswith("f.yaml: exp: config")
    assert all(word in str(caught.value) for word in words), caught.value


def test_grids_within_an_option_wait_for_their_trial():
    config = {"score": {"value": {"grid_search": [0.1, 0.2]}}, "critic_output_bias": 3, "target_kl": float("inf")}
    assert check_config(experiment(**config), find_algorithm("ScoreFlow", "here")) == config
    planned = {"planned_stop": {"gradient_steps": {"grid_search": [1, 2]}}}
    assert check_config(experiment(**planned), find_algorithm("FlowBC", "here")) == planned
