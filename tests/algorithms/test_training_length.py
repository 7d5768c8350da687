"""How long a cloning lasts: gradient steps, the learning rate's cycle, the evaluation at its end."""

import math

import pytest

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.flow_bc.training_length import planned_epochs, steps_left


@pytest.mark.parametrize(
    ("stop", "epochs"),
    [
        ({"training_iteration": 12}, 12),
        ({"epoch": 12.0, "time_total_s": 60}, 12),
        ({"gradient_steps": 101}, 11),
        ({"gradient_steps": 101, "training_iteration": 5}, 5),
        ({"gradient_steps": 3}, 1),
        ({"time_total_s": 60}, None),
        ({"gradient_steps": math.inf}, None),
        (None, None),
    ],
)
def test_the_epochs_that_a_stop_means(stop, epochs) -> None:
    assert planned_epochs(stop, steps_per_epoch=10) == epochs


def test_the_steps_that_are_left() -> None:
    assert steps_left({"gradient_steps": 101}, done=100) == 1
    assert steps_left({"gradient_steps": 100}, done=100) is None  # an extended training has whole epochs again
    assert steps_left({"training_iteration": 3}, done=1) is None


def trained(dataset, iterations: int, **options):
    """Results of a cloning with 15 gradient steps in an epoch."""
    fixed = {"num_torch_threads": 1, "velocity": {"hidden_dim": 16}, "train_batch_size_per_learner": 64}
    config = FlowBCConfig().environment("toy_reach:ToyReach-v0").training(dataset=str(dataset), **fixed, **options)
    config.evaluation(evaluation_interval=2, evaluation_duration=2).debugging(seed=0)
    algo = config.build_algo()
    try:
        return [algo.train() for _ in range(iterations)]
    finally:
        algo.stop()


def test_a_number_of_gradient_steps_ends_the_last_epoch_and_the_learning_rate_follows(reach_dataset) -> None:
    options = {"lr": 1e-3, "lr_min": 1e-5, "lr_warmup_iterations": 0, "planned_stop": {"gradient_steps": 40}}
    results = trained(reach_dataset, 4, **options)
    assert [r["gradient_steps"] for r in results] == [15, 30, 40, 55]
    rates = [r["lr/velocity"] for r in results]
    assert rates == pytest.approx([1e-3, 1e-5 + 0.75 * 0.99e-3, 1e-5 + 0.25 * 0.99e-3, 1e-5])
    # At the second epoch by the interval, at the third because it is the end, beyond it by the interval again.
    assert [("eval_return_mean" in r) for r in results] == [False, True, True, True]
    assert results[0]["data_return_mean"] == pytest.approx(-8.0, abs=4.0)


def test_a_given_cycle_counts_before_the_stop(reach_dataset) -> None:
    options = {"lr": 1e-3, "lr_warmup_iterations": 0, "planned_stop": {"training_iteration": 2}}
    rates = [r["lr/velocity"] for r in trained(reach_dataset, 2, lr_cycle_iterations=0, **options)]
    assert rates == [1e-3, 1e-3]
    rates = [r["lr/velocity"] for r in trained(reach_dataset, 2, lr_min=0.0, **options)]
    assert rates == pytest.approx([1e-3, 0.5e-3])


def test_a_clone_is_judged_with_the_denoising_steps_of_its_fine_tuning() -> None:
    from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
    from rllib_scoreflow.flow.config import ChainConfig, VelocityConfig, default_steps

    assert FlowBCConfig().denoising_steps is None  # those that the kind of velocity is made for
    assert default_steps(VelocityConfig()) == ChainConfig(**ScoreFlowConfig().chain).denoising_steps == 4
    assert default_steps(VelocityConfig(kind="meanflow")) == 1
