"""The policy that is scored is the one that sampled, in every iteration: the first probability ratio is 1."""

from itertools import pairwise

import pytest
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import LEARNER_RESULTS

from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.flow.config import VARIANTS

STOCHASTIC = [name for name in VARIANTS if name != "flow"]
ITERATIONS = 5


def annealed(folder, env_id: str = "Pendulum-v1", **options) -> ScoreFlowConfig:
    """A run whose noise bound moves in every iteration, to a tenth of what it was at the end."""
    noise = {"schedule": "learn_decay", "hold_fraction": 0.0, "decay_to": 0.0, "sigma_min": 0.05, "sigma_max": 0.5}
    fixed = {"num_torch_threads": 1, "lr_warmup_iterations": 0, "num_epochs": 1, "lr": 1e-3, "alpha_lr": 1e-2}
    options = {"noise": noise, "schedule_iterations": ITERATIONS} | options
    return (
        ScoreFlowConfig()
        .environment(env_id)
        .env_runners(num_envs_per_env_runner=2, rollout_fragment_length=8)
        .training(pretrained_policy=str(folder), **(fixed | options))
        .debugging(seed=1)
    )


def error_of(result) -> float:
    return result[LEARNER_RESULTS][DEFAULT_MODULE_ID]["ratio_error_first"]


def bound_of(algo) -> float:
    return float(algo.env_runner_group.local_env_runner.module.policy.sde.noise.sigma_max)


def check(config: ScoreFlowConfig) -> list[float]:
    """Trains; the noise bound with which every iteration samples."""
    algo = config.build_algo()
    bounds = []
    try:
        for iteration in range(ITERATIONS):
            if algo.flow_policy().sde.noise is not None:
                bounds.append(bound_of(algo))
            assert error_of(algo.train()) < 1e-5, iteration
    finally:
        algo.stop()
    return bounds


def test_the_bound_moves_between_an_update_and_the_next_rollout(policy_folder) -> None:
    bounds = check(annealed(policy_folder))
    assert bounds[0] == pytest.approx(0.5)
    assert all(later < earlier - 0.01 for earlier, later in pairwise(bounds))


@pytest.mark.slow
@pytest.mark.parametrize("variant", STOCHASTIC)
@pytest.mark.parametrize("observed", ["state", "pixels"])
@pytest.mark.parametrize("kind", ["flow", "shortcut"])
def test_every_kind_and_variant(policy_folders, kind: str, observed: str, variant: str) -> None:
    env_id, folder = policy_folders[kind, observed]
    noise = {} if variant.startswith("score_sde") else {"noise": annealed(folder).noise}
    check(annealed(folder, env_id, variant=variant, **({"noise": {}} | noise)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flow", "shortcut"])
def test_a_contraction(policy_folders, kind: str) -> None:
    env_id, folder = policy_folders[kind, "state"]
    check(annealed(folder, env_id, score={"form": "contraction", "value": 0.5}))


@pytest.mark.slow
@pytest.mark.parametrize("num_learners", [1, 2])
def test_several_learners(policy_folder, num_learners: int) -> None:
    algo = annealed(policy_folder).learners(num_learners=num_learners).build_algo()
    try:
        assert max(error_of(algo.train()) for _ in range(3)) < 1e-5
    finally:
        algo.stop()


def test_after_a_restore_into_other_bounds_and_into_a_run_that_is_further(policy_folder, tmp_path) -> None:
    """As in population-based training, and as in Python, where an Algorithm may go back to an older checkpoint."""
    algo = annealed(policy_folder).build_algo()
    try:
        algo.train()
        algo.save_checkpoint(str(tmp_path / "checkpoint"))
        state = algo.get_state()
        algo.train()
        for go_back in (lambda: algo.restore_from_path(str(tmp_path / "checkpoint")), lambda: algo.set_state(state)):
            go_back()
            assert error_of(algo.train()) < 1e-5
    finally:
        algo.stop()
    noise = annealed(policy_folder).noise | {"sigma_min": 0.2, "sigma_max": 0.9}
    for restore in ("restore_from_path", "set_state"):
        other = annealed(policy_folder, noise=noise).build_algo()
        try:
            if restore == "set_state":
                other.set_state(state)
            else:
                other.restore_from_path(str(tmp_path / "checkpoint"))
            assert bound_of(other) > 0.5
            assert error_of(other.train()) < 1e-5
        finally:
            other.stop()
