"""The whole way on a toy task: cloning a sluggish controller, then fine-tuning beyond it."""

import numpy as np
import pytest
import torch

from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.policy import FlowPolicy


@pytest.fixture(scope="module")
def cloned(clone_reach, tmp_path_factory):
    return clone_reach(tmp_path_factory.mktemp("bc") / "checkpoint", {}, denoising_steps=4)


def tuning_config(cloned, **options) -> ScoreFlowConfig:
    settings = {
        "lr": 1e-3,
        "lr_cycle_iterations": 0,
        "lr_warmup_iterations": 0,
        "num_epochs": 5,
        "minibatch_size": 200,
        "schedule_iterations": 15,
        "num_torch_threads": 1,
    }
    return (
        ScoreFlowConfig()
        .environment("toy_reach:ToyReach-v0")
        .training(pretrained_policy=str(cloned), **(settings | options))
        .env_runners(num_envs_per_env_runner=20, rollout_fragment_length=50)
        .evaluation(evaluation_duration=60)
        .debugging(seed=0)
    )


@pytest.mark.parametrize("variant", ["scoreflow", "reinflow"])
def test_fine_tuning_beats_the_cloned_policy(cloned, variant: str) -> None:
    algo = tuning_config(cloned, variant=variant).build_algo()
    before = algo.evaluate_flow_policy(FlowPolicy.load(cloned / "policy"))
    for _ in range(15):
        algo.train()
    after = algo.evaluate_flow_policy(algo.flow_policy())
    algo.stop()
    error = np.hypot(before.return_stderr, after.return_stderr)
    assert after.return_mean > before.return_mean + 5.0 * error
    assert after.return_mean > 0.75 * before.return_mean  # returns are negative: a quarter of the cost is gone


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"advantages": "group", "group_size": 4, "variant": "reinflow"},
        {"objective": "fpo", "variant": "flow", "clip_param": 0.05},
        {"objective": "fpo", "variant": "flow", "clip_param": 0.05, "fpo": {"negative": "trust_region"}},
    ],
)
def test_other_objectives_and_advantages_beat_it_too(cloned, options) -> None:
    algo = tuning_config(cloned, **options).build_algo()
    before = algo.evaluate_flow_policy(FlowPolicy.load(cloned / "policy"))
    for _ in range(15):
        assert algo.train()["learners"]["default_policy"]["ratio_error_first"] < 1e-5
    after = algo.evaluate_flow_policy(algo.flow_policy())
    algo.stop()
    assert after.return_mean > before.return_mean + 5.0 * np.hypot(before.return_stderr, after.return_stderr)


def test_a_checkpoint_restores_the_learner_and_the_next_update(cloned, tmp_path) -> None:
    """The state after a resume equals the checkpoint's, and the same rollout leads to the same weights."""
    algo = tuning_config(cloned).build_algo()
    algo.train()
    algo.save_checkpoint(str(tmp_path / "checkpoint"))
    episodes = algo.env_runner_group.local_env_runner.sample()
    saved = algo.learner_group.get_state()["learner"]
    algo.learner_group.update(episodes=episodes, reward_scale=2.0)
    unbroken = algo.flow_policy().state_dict()
    scaler, steps = algo.reward_scaler.get_state(), algo.statistics.env_steps
    algo.stop()

    resumed = tuning_config(cloned).build_algo()
    resumed.restore_from_path(str(tmp_path / "checkpoint"))
    state = resumed.learner_group.get_state()["learner"]
    assert_same(state["rl_module"], saved["rl_module"])
    assert_same(state["optimizer"], saved["optimizer"])
    assert_same(state["scoreflow_random_state"], saved["scoreflow_random_state"])
    assert resumed.statistics.env_steps == steps
    assert resumed.reward_scaler.scale == pytest.approx(scaler_scale(scaler), rel=0.0, abs=0.0)
    assert resumed.iteration == 1
    resumed.learner_group.update(episodes=episodes, reward_scale=2.0)
    for name, value in resumed.flow_policy().state_dict().items():
        assert torch.equal(value, unbroken[name]), name
    resumed.stop()


def scaler_scale(state) -> float:
    return float(np.sqrt(state["sum_of_squares"] / state["count"]))


def assert_same(left, right) -> None:
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert_same(value, right[key])
    elif isinstance(left, (list, tuple)):
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))
