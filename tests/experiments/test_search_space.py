import json

import pytest
from ray import tune
from ray.tune.search.sample import Float, Integer

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.checks.algorithms import find_algorithm
from rllib_scoreflow.experiments.checks.config import check_config, sample_combinations, validate
from rllib_scoreflow.experiments.checks.schedulers import WithinBounds, add_mutations, expand_mutations, make_scheduler
from rllib_scoreflow.experiments.identity import identify
from rllib_scoreflow.experiments.search_space import check_space, combinations
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.runs.outcome import Stage
from rllib_scoreflow.runs.runner import param_space


@pytest.fixture(scope="module")
def ppo():
    return find_algorithm("PPO", "here")


@pytest.fixture(scope="module")
def scoreflow():
    return find_algorithm("ScoreFlow", "here")


def experiment(config, **more):
    return Experiment("exp", "f.yaml", "PPO", env="CartPole-v1", config=config, **more)


@pytest.mark.parametrize("kind", [kind for kind in search_space.DOMAINS if kind != "choice"])
def test_every_domain_of_tune_draws_within_its_ends(kind):
    arguments = {"randn": [0.0, 1.0], "qrandn": [0.0, 1.0, 0.5]}.get(kind, [2, 8, 2][: len(search_space.DOMAINS[kind])])
    checked = check_space({kind: arguments}, "x")
    domain = search_space.to_tune(checked)
    assert isinstance(domain, Integer if kind.endswith("randint") else Float)
    draws = domain.sample(size=200)
    found = search_space.bounds(checked)
    assert (found is None) == (kind in ("randn", "qrandn"))
    if found is not None:
        assert found[0] <= min(draws) <= max(draws) <= found[1]
        # The ends are reached, so nothing that can be drawn lies unchecked beyond them.
        assert min(draws) < found[0] + 2
        assert max(draws) > found[1] - 2


def test_every_domain_that_tune_has_is_known():
    known = {
        name
        for name in dir(tune)
        if isinstance(getattr(tune, name), type(tune.uniform))
        and getattr(tune, name).__module__ == "ray.tune.search.sample"
    }
    assert known - {"sample_from"} == set(search_space.DOMAINS)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"uniform": 3}, ["x.uniform is 3", "lower, upper"]),
        ({"uniform": [1.0]}, ["[lower, upper]"]),
        ({"uniform": [0.3, "high"]}, ["[lower, upper]"]),
        ({"uniform": [0.3, 0.1]}, ["below"]),
        ({"loguniform": [0, 1]}, ["Tune refuses", "greater than 0"]),
        ({"quniform": [0, 1, 0.3]}, ["Tune refuses"]),
        ({"randint": [0.5, 3]}, ["whole numbers"]),
        ({"choice": []}, ["list of values"]),
        ({"grid_search": 3}, ["list of values"]),
    ],
)
def test_a_bad_domain_is_refused_by_name(value, words):
    with pytest.raises(InputError) as caught:
        check_space(value, "x")
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"lr": {"uniform": ["a", 1]}}, ["config.lr.uniform"]),
        ({"num_epochs": {"uniform": [1, 9]}}, ["config.num_epochs", "randint"]),
        ({"num_epochs": {"choice": [1, 2.5]}}, ["config.num_epochs", "2.5"]),
        ({"lr": {"logunifrom": [1e-5, 1e-3]}}, ["config.lr", "did you mean 'loguniform'?"]),
        ({"env_config": {"a": {"b": {"uniform": [2, 1]}}}}, ["config.env_config.a.b.uniform"]),
        ({"env_config": {"a": [{"eval": "1 + 1"}]}}, ["config.env_config.a.0", "Python code"]),
        ({"lr": {"eval": "spec.config.gamma"}}, ["config.lr", "Python code"]),
    ],
)
def test_a_bad_sweep_is_refused_before_it_runs(ppo, config, words):
    with pytest.raises(InputError) as caught:
        check_config(experiment(config), ppo)
    assert str(caught.value).startswith("f.yaml: exp: config")
    assert all(word in str(caught.value) for word in words), caught.value


def test_both_ends_are_validated_within_nested_options_too(ppo, scoreflow):
    checked = check_config(
        experiment({"train_batch_size_per_learner": 100, "minibatch_size": {"randint": [10, 300]}}), ppo
    )
    with pytest.raises(InputError, match="PPO refuses its config"):
        validate(experiment({}), ppo, checked)
    config = {"noise": {"sigma_min": {"uniform": [0.1, 0.2]}, "sigma_max": {"uniform": [0.15, 0.3]}}, "lr": 1e-4}
    checked = check_config(experiment(config), scoreflow)
    ends = [(c["noise"]["sigma_min"], c["noise"]["sigma_max"]) for c in combinations(checked)]
    assert sorted(ends) == [(0.1, 0.15), (0.1, 0.3), (0.2, 0.15), (0.2, 0.3)]


def test_each_value_is_tried_although_not_each_combination():
    config = {str(key): {"grid_search": list(range(20))} for key in range(4)}
    seen = list(sample_combinations(config))
    assert len(seen) == 32
    assert all({c[key] for c in seen} == set(range(20)) for key in config)
    assert len({tuple(c.values()) for c in seen}) == 32
    assert [c["a"] for c in combinations({"a": {"choice": [[1], [2]]}, "b": 3})] == [[1], [2]]
    assert list(combinations({"b": 3})) == [{"b": 3}]


def draws(config, ppo, tmp_path, seed, count=6):
    from ray.tune.search.basic_variant import BasicVariantGenerator

    from rllib_scoreflow.runs.runner import _seeded_search

    one = experiment(config, settings={"search_seed": seed})
    search = _seeded_search(one, {})
    assert isinstance(search, BasicVariantGenerator)
    space = param_space(Stage(one, ppo, check_config(one, ppo), {}, tmp_path), None)
    search.add_configurations({"exp": {"run": "PPO", "config": space, "num_samples": count}})
    found = []
    while (trial := search.next_trial()) is not None:
        found.append(trial.evaluated_params)
    return found


def test_a_seed_repeats_the_draws_and_the_fingerprint_knows_none_of_them(ppo, tmp_path):
    config = {"lr": {"loguniform": [1e-5, 1e-3]}, "env_config": {"a": {"uniform": [0.1, 0.3]}}, "gamma": 0.9}
    first = draws(config, ppo, tmp_path, 3)
    assert len({trial["lr"] for trial in first}) == 6
    assert all(1e-5 <= trial["lr"] <= 1e-3 and 0.1 <= trial["env_config/a"] <= 0.3 for trial in first)
    assert draws(config, ppo, tmp_path, 3) == first
    assert draws(config, ppo, tmp_path, 4) != first
    one = experiment(config)
    checked = check_config(one, ppo)
    assert identify(one, checked, None).digest == identify(one, json.loads(json.dumps(checked)), None).digest
    other = {**checked, "lr": {"loguniform": [1e-5, 1e-2]}}
    assert identify(one, checked, None).digest != identify(one, other, None).digest
    assert search_space.find_swept_keys(checked) == ["lr", "env_config.a"]


POPULATION = {
    "scheduler": "pbt",
    "metric": "return_mean",
    "scheduler_config": {
        "perturbation_interval": 2,
        "hyperparam_mutations": {
            "lr": {"loguniform": [1e-5, 1e-3]},
            "clip_param": [0.01, 0.02],
            "noise": {"sigma_max": {"uniform": [0.2, 0.3]}},
        },
    },
}


def test_a_population_starts_with_what_it_changes_and_stays_within_it(scoreflow):
    one = experiment({"noise": {"sigma_min": 0.1}, "lr": 1e-4}, settings=POPULATION)
    config = add_mutations(one, scoreflow, check_config(one, scoreflow))
    assert config["lr"] == 1e-4  # the file's own value wins over a draw
    assert config["noise"] == {"sigma_min": 0.1, "sigma_max": {"uniform": [0.2, 0.3]}}
    assert {c["lr"] for c in combinations(expand_mutations(one, config))} == {1e-5, 1e-3}
    scheduler = make_scheduler(one)
    assert scheduler._hyperparam_mutations["clip_param"] == [0.01, 0.02]
    assert scheduler._time_attr == "training_iteration"
    explore = scheduler._custom_explore_fn
    assert isinstance(explore, WithinBounds)
    moved = explore({"lr": 1.2e-3, "clip_param": 0.02, "noise": {"sigma_min": 0.1, "sigma_max": 0.16}})
    assert moved == {"lr": 1e-3, "clip_param": 0.02, "noise": {"sigma_min": 0.1, "sigma_max": 0.2}}


@pytest.mark.parametrize(
    ("mutated", "words"),
    [
        ({"lrr": {"uniform": [0, 1]}}, ["hyperparam_mutations", "'lrr'", "did you mean 'lr'?"]),
        ({"lr": {"uniform": [1, 0]}}, ["hyperparam_mutations.lr.uniform"]),
        ({"lr": 3.0}, ["hyperparam_mutations.lr", "list"]),
        ({"lr": {"grid_search": [1, 2]}}, ["hyperparam_mutations.lr", "domain"]),
        ({"lr": ["a"]}, ["hyperparam_mutations.lr", "'a'"]),
    ],
)
def test_bad_mutations_are_refused(scoreflow, mutated, words):
    one = experiment({}, settings={**POPULATION, "scheduler_config": {"hyperparam_mutations": mutated}})
    with pytest.raises(InputError) as caught:
        add_mutations(one, scoreflow, {})
    assert all(word in str(caught.value) for word in words), caught.value


def test_asha_lets_trials_run_to_the_end_that_the_file_gives():
    settings = {"scheduler": "asha", "metric": "return_mean"}
    assert make_scheduler(experiment({}, settings=settings, stop={"training_iteration": 300}))._max_t == 300
    with pytest.raises(InputError, match="give max_t"):
        make_scheduler(experiment({}, settings=settings, stop={"env_steps": 300}))
    old = {**settings, "scheduler_config": {"time_attr": "num_env_steps_sampled_lifetime"}}
    assert make_scheduler(experiment({}, settings=old, stop={"timesteps_total": 300}))._max_t == 300
    given = {**settings, "scheduler_config": {"time_attr": "env_steps", "max_t": 900}}
    assert make_scheduler(experiment({}, settings=given, stop={"training_iteration": 3}))._max_t == 900
    by_steps = {**settings, "scheduler_config": {"time_attr": "env_steps", "grace_period": 100}}
    assert make_scheduler(experiment({}, settings=by_steps, stop={"env_steps": 3e5}))._max_t == 300_000
