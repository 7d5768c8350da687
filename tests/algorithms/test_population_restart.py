"""A trial that takes over another's checkpoint, as in population-based training, keeps its own config."""

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig

DONOR = {"lr": 1e-4, "clip_param": 0.01, "entropy_coeff": 0.03, "noise": {"sigma_min": 0.1, "sigma_max": 0.24}}
PERTURBED = {"lr": 3e-3, "clip_param": 0.05, "entropy_coeff": 0.0, "noise": {"sigma_min": 0.15, "sigma_max": 0.4}}


def build(policy_folder, options, num_env_runners):
    return (
        ScoreFlowConfig()
        .environment("Pendulum-v1")
        .env_runners(num_env_runners=num_env_runners, num_envs_per_env_runner=2, rollout_fragment_length=10)
        .training(
            pretrained_policy=str(policy_folder),
            lr_warmup_iterations=0,
            lr_cycle_iterations=0,
            num_epochs=1,
            num_torch_threads=1,
            **options,
        )
        .debugging(seed=0)
        .build_algo()
    )


def learner_says(algo, question):
    return next(answer.get() for answer in algo.learner_group.foreach_learner(question))


@pytest.mark.parametrize("num_env_runners", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_donors_weights_and_the_perturbed_config(policy_folder, tmp_path, num_env_runners) -> None:
    donor = build(policy_folder, DONOR, num_env_runners)
    try:
        first = donor.train()
        donor.save_checkpoint(str(tmp_path / "checkpoint"))
        trained = learner_says(donor, lambda learner: learner.policy_state())
    finally:
        donor.stop()
    assert first["lr/velocity"] == pytest.approx(DONOR["lr"])

    algo = build(policy_folder, PERTURBED, num_env_runners)
    try:
        begun = learner_says(algo, lambda learner: learner.policy_state())
        algo.restore(str(tmp_path / "checkpoint"))
        restored = learner_says(algo, lambda learner: learner.policy_state())
        velocity = [name for name in restored if "velocity" in name]
        assert all(np.array_equal(restored[name], trained[name]) for name in velocity)
        assert any(not np.array_equal(restored[name], begun[name]) for name in velocity)

        # The chains of the first rollout come from the bounds with which they are then evaluated.
        bounds = algo.env_runner_group.foreach_env_runner(
            lambda runner: [
                runner.module.policy.sde.noise.sigma_min,
                float(runner.module.policy.sde.noise.sigma_max),
            ]
        )
        assert bounds[-1] == pytest.approx([0.15, 0.4])
        result = algo.train()
        assert result["training_iteration"] == 2
        assert result["lr/velocity"] == pytest.approx(PERTURBED["lr"])
        assert 0.15 <= result["sigma_min"] <= result["sigma_max"] <= 0.4
        assert result["learners"][DEFAULT_MODULE_ID]["ratio_error_first"] < 1e-4
        options = learner_says(algo, lambda learner: (learner.config.clip_param, learner.config.entropy_coeff))
        assert options == (0.05, 0.0)
        exported = algo.flow_policy()
        assert exported.config.sde.noise.sigma_max == 0.4
        assert torch.isclose(exported.sde.noise.sigma_max, torch.tensor(0.4))
    finally:
        algo.stop()
