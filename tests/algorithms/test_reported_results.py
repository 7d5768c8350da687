"""What the configs declare is what a run reports, under this package's names and RLlib's."""

import numbers

import numpy as np
import pytest
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.tune.utils import flatten_dict

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig

ENV = "toy_reach:ToyReach-v0"
# Tune's labels that happen to be numbers, and switches.
LABELS = {"pid", "done", "should_checkpoint"}
NOT_HERE = {f"{kind}/{network}" for kind in ("lr", "grad_norm") for network in ("encoder", "critic_encoder")}


class Hooks(RLlibCallback):
    """Notes the calls around an evaluation in its results."""

    def on_evaluate_start(self, *, algorithm, **kwargs) -> None:
        algorithm.begun = getattr(algorithm, "begun", 0) + 1

    def on_evaluate_end(self, *, algorithm, evaluation_metrics, **kwargs) -> None:
        evaluation_metrics["seen_by_hook"] = algorithm.begun


def trained(config, iterations: int = 2) -> list[dict]:
    algo = config.build_algo()
    try:
        return [flatten_dict(algo.train()) for _ in range(iterations)]
    finally:
        algo.stop()


def check_declared(config, results: list[dict], not_here: set[str]) -> None:
    declared = config.reported_results()
    found = {
        key
        for result in results
        for key, value in result.items()
        if isinstance(value, numbers.Number) and not key.startswith("config/")
    }
    undeclared = {key for key in found - LABELS if not declared.has(key)}
    assert not undeclared
    never = declared.names - found
    assert {name.removeprefix("learners/default_policy/") for name in never} <= not_here, never
    assert all(declared.grows(key) for key in ("training_iteration", "time_total_s"))


def test_cloning_reports_what_it_declares(reach_dataset) -> None:
    config = (
        FlowBCConfig()
        .environment(ENV)
        .training(dataset=str(reach_dataset), velocity={"hidden_dim": 16}, denoising_steps=2, num_torch_threads=1)
        .evaluation(evaluation_interval=1, evaluation_duration=3)
        .callbacks(Hooks)
    )
    results = trained(config)
    assert [result.pop("evaluation/seen_by_hook") for result in results] == [1, 2]
    # RLlib's count of what FlowBC never does: no stop can wait for it.
    assert [result.pop("num_env_steps_sampled_lifetime") for result in results] == [0, 0]
    check_declared(config, results, not_here={"eval_normalized_score", "evaluation/normalized_score"})
    assert results[0]["evaluation/env_runners/episode_return_mean"] == pytest.approx(results[0]["eval_return_mean"])
    assert results[0]["evaluation/env_runners/episode_len_mean"] == 20.0


@pytest.fixture(scope="module")
def tuned_results(policy_folder) -> tuple[ScoreFlowConfig, list[dict]]:
    config = (
        ScoreFlowConfig()
        .environment("Pendulum-v1")
        .training(pretrained_policy=str(policy_folder), num_epochs=1, num_torch_threads=1)
        .env_runners(num_envs_per_env_runner=3, rollout_fragment_length=100)
        .evaluation(evaluation_interval=1, evaluation_duration=2)
        .reporting(metrics_num_episodes_for_smoothing=4)
        .debugging(seed=0)
    )
    return config, trained(config, iterations=3)


def test_fine_tuning_reports_what_it_declares(tuned_results) -> None:
    config, results = tuned_results
    scores = {"eval_normalized_score", "evaluation/normalized_score", "behavior_distance"}
    success = {"success_rate", "eval_success_rate", "evaluation/success_rate", "evaluation/success_stderr"}
    check_declared(config, results, not_here=NOT_HERE | scores | success)


def test_steps_are_steps_of_the_environment_under_every_name(tuned_results) -> None:
    """A chunk has two steps here: 3 environments, 100 chunks."""
    _, results = tuned_results
    for number, result in enumerate(results, start=1):
        names = ("env_steps", "timesteps_total", "num_env_steps_sampled_lifetime")
        assert [result[name] for name in (*names, "env_runners/num_env_steps_sampled_lifetime")] == [600 * number] * 4
        assert result["env_runners/num_env_steps_sampled"] == 600
        assert result["env_runners/num_episodes_lifetime"] == 3 * number


def test_rllibs_names_are_smoothed_as_rllib_does(tuned_results) -> None:
    """Over the last 4 episodes, where each rollout ends 3."""
    _, results = tuned_results
    first, second, _ = results
    assert first["env_runners/episode_return_mean"] == pytest.approx(first["return_mean"])
    assert first["env_runners/episode_len_mean"] == first["env_runners/episode_len_max"] == 200
    assert first["env_runners/episode_return_min"] <= first["return_mean"] <= first["env_runners/episode_return_max"]
    kept = 4 * second["env_runners/episode_return_mean"] - 3 * second["return_mean"]
    low, high = first["env_runners/episode_return_min"], first["env_runners/episode_return_max"]
    assert low - 1e-3 <= kept <= high + 1e-3
    assert np.isfinite(second["evaluation/env_runners/episode_return_mean"])
