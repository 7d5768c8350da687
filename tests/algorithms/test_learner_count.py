"""Two Learners make the update that one makes on the same rows."""

import numpy as np
import pytest
import ray
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.training_data import TrainingData

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.algorithms.scoreflow.learner_shards import deal_episodes, split_evenly

# Per update: what Learners report of it must not depend on how many they are either.
REPORTED = ("policy_loss", "value_loss", "entropy", "kl", "kl_chain", "explained_variance", "ratio_error_first")


def parameters(algo) -> dict[str, torch.Tensor]:
    found = algo.learner_group.foreach_learner(lambda learner: learner.rl_module.state_dict())
    state = {name: value.clone() for name, value in next(iter(found)).get().items()}
    for name, value in state.items():
        if name.endswith("self_attn.in_proj_bias"):
            # A bias of the keys shifts all of a query's logits alike: its gradient is rounding, which Adam enlarges.
            value[len(value) // 3 : 2 * len(value) // 3] = 0.0
    return state


def largest_difference(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    assert one.keys() == two.keys()
    return max(float((one[name] - two[name]).abs().max()) for name in one)


def finetuning(folder, env_id: str, num_learners: int, **options) -> ScoreFlowConfig:
    fixed = {"num_torch_threads": 1, "lr_warmup_iterations": 0, "target_kl": None, "grad_clip": 0.5, "num_epochs": 2}
    return (
        ScoreFlowConfig()
        .environment(env_id)
        .env_runners(num_envs_per_env_runner=5, rollout_fragment_length=16)
        .learners(num_learners=num_learners)
        .training(pretrained_policy=str(folder), **(fixed | options))
        .debugging(seed=1)
    )


@pytest.mark.parametrize(
    ("kind", "observed", "options"),
    [
        pytest.param("flow", "state", {}, marks=pytest.mark.slow),
        # Minibatches so small that some Learner has no row of one.
        pytest.param("flow", "state", {"minibatch_size": 2, "num_epochs": 1, "lr": 1e-4}, marks=pytest.mark.slow),
        ("flow", "state", {"minibatch_size": 30, "microbatch_size": 8, "behavior_coeff": 0.1}),
        pytest.param("flow", "state", {"target_kl": 1e-9}, marks=pytest.mark.slow),
        pytest.param("shortcut", "pixels", {"minibatch_size": 20}, marks=pytest.mark.slow),
        pytest.param("flow", "state", {"objective": "fpo", "variant": "flow"}, marks=pytest.mark.slow),
    ],
)
def test_fine_tuning(policy_folders, kind, observed, options) -> None:
    env_id, folder = policy_folders[kind, observed]
    one, two = (finetuning(folder, env_id, number, **options).build_algo() for number in (0, 2))
    try:
        episodes = one.env_runner_group.local_env_runner.sample()
        before = parameters(one)
        assert largest_difference(before, parameters(two)) == 0.0
        reports = []
        for algo, number in ((one, 0), (two, 2)):
            results = algo.learner_group.update(training_data=deal_episodes(episodes, number), reward_scale=2.0)
            reports.append([result[DEFAULT_MODULE_ID] for result in results])
        assert largest_difference(before, parameters(one)) > 1e-4
        assert largest_difference(parameters(one), parameters(two)) < 1e-5
        (single,), pair = reports
        for name in REPORTED:
            if name in single or "objective" not in options:  # FPO has no entropy
                for report in pair:
                    expected = pytest.approx(float(single[name].peek()), rel=1e-3, abs=1e-6)
                    assert float(report[name].peek()) == expected, name
    finally:
        one.stop()
        two.stop()


def test_an_early_stop_before_a_learner_has_had_a_row(policy_folder) -> None:
    """Minibatches of one row: the KL ends an update after a few, of which a Learner may have had none."""
    options = {"minibatch_size": 1, "num_epochs": 1, "lr": 1e-2, "target_kl": 0.0}
    algo = finetuning(policy_folder, "Pendulum-v1", 2, **options).build_algo()
    try:
        for _ in range(6):
            episodes = algo.env_runner_group.local_env_runner.sample()
            results = algo.learner_group.update(training_data=deal_episodes(episodes, 2), reward_scale=1.0)
            one, two = ({name: float(value.peek()) for name, value in r[DEFAULT_MODULE_ID].items()} for r in results)
            assert one["stopped_by_kl"] == 1.0
            assert one["gradient_steps"] < 8
            assert one["ratio_error_first"] < 1e-5
            for name in REPORTED:
                assert one[name] == pytest.approx(two[name], nan_ok=False), name
            algo._sync_weights()
    finally:
        algo.stop()


def test_a_learner_that_fails_leaves_no_other_waiting(policy_folder) -> None:
    algo = finetuning(policy_folder, "Pendulum-v1", 2).build_algo()
    try:
        episodes = algo.env_runner_group.local_env_runner.sample()
        broken = [ray.put(share) for share in (split_evenly(episodes, 2)[0], ["no episode"])]
        with pytest.raises(Exception, match=r"no attribute|Another Learner failed"):
            algo.learner_group.update(training_data=TrainingData(episodes_refs=broken), reward_scale=1.0)
    finally:
        algo.stop()


def cloning(dataset, num_learners: int, **options) -> FlowBCConfig:
    fixed = {"num_torch_threads": 1, "denoising_steps": 4, "validation_fraction": 0.1, "lr_warmup_iterations": 0}
    batch = 64 // max(1, num_learners)
    return (
        FlowBCConfig()
        .environment("toy_reach:ToyReach-v0")
        .learners(num_learners=num_learners)
        .training(dataset=str(dataset), train_batch_size_per_learner=batch, **(fixed | options))
        .debugging(seed=3)
    )


@pytest.mark.parametrize(
    "kind", ["flow", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("shortcut", "meanflow"))]
)
def test_cloning(reach_dataset, kind: str) -> None:
    velocity = {"hidden_dim": 32, "kind": kind}
    one, two = (cloning(reach_dataset, number, velocity=velocity, lr=1e-4).build_algo() for number in (0, 2))
    try:
        before = parameters(one)
        assert largest_difference(before, parameters(two)) == 0.0
        alone, together = one.train(), two.train()
        assert largest_difference(before, parameters(one)) > 1e-3
        assert largest_difference(parameters(one), parameters(two)) < 1e-5
        for name in ("train_loss", "validation_loss"):
            assert together[name] == pytest.approx(alone[name], rel=1e-4)
        policies = [algo.flow_policy().state_dict() for algo in (one, two)]
        assert largest_difference(*policies) < 1e-5
    finally:
        one.stop()
        two.stop()


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_fragments_stay_whole_and_in_order(parts: int) -> None:
    episodes = [np.zeros(length) for length in (1, 50, 3, 3, 100, 20, 7)]
    shares = split_evenly(episodes, parts)
    assert [id(episode) for share in shares for episode in share] == [id(episode) for episode in episodes]
    assert len(shares) == parts
    assert all(shares)


def test_even_shares_of_even_fragments() -> None:
    shares = split_evenly([np.zeros(10)] * 8, 4)
    assert [len(share) for share in shares] == [2, 2, 2, 2]


def test_fewer_fragments_than_learners_are_refused() -> None:
    with pytest.raises(RuntimeError, match="1 episode fragments, or groups of them, for 2 Learners"):
        split_evenly([np.zeros(3)], 2)
