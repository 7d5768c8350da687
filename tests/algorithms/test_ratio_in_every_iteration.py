"""The policy that is scored is the one that sampled, in every iteration: the first probability ratio is 1."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import LEARNER_RESULTS

from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.flow.config import VARIANTS
from rllib_scoreflow.policy import FlowPolicy

STOCHASTIC = [name for name in VARIANTS if name != "flow"]
ITERATIONS = 3
ANNEALED = {"schedule": "learn_decay", "hold_fraction": 0.0, "decay_to": 0.0, "sigma_min": 0.05, "sigma_max": 0.5}


def annealed(folder, env_id: str = "Pendulum-v1", **options) -> ScoreFlowConfig:
    """A run whose noise bound moves in every iteration, to a tenth of what it was at the end."""
    fixed = {"num_torch_threads": 1, "lr_warmup_iterations": 0, "num_epochs": 1, "lr": 1e-3, "alpha_lr": 1e-2}
    coupled = options.get("variant", "").startswith("score_sde")  # and has no bounds
    own = {"noise": {} if coupled else ANNEALED, "schedule_iterations": ITERATIONS}
    return (
        ScoreFlowConfig()
        .environment(env_id)
        .env_runners(num_envs_per_env_runner=2, rollout_fragment_length=8)
        .training(pretrained_policy=str(folder), **(fixed | own | options))
        .debugging(seed=1)
    )


@pytest.mark.parametrize("variant", STOCHASTIC)
@pytest.mark.parametrize("observed", ["state", pytest.param("pixels", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["flow", "shortcut", "meanflow"])
def test_every_kind_and_variant(make_loop, policy_folders, kind: str, observed: str, variant: str) -> None:
    env_id, folder = policy_folders[kind, observed]
    chain = {"denoising_steps": 2} if (kind, variant) == ("meanflow", "cps") else {}  # no noise at the only step of one
    loop, bounds = make_loop(annealed(folder, env_id, variant=variant, chain=chain)), []
    for iteration in range(ITERATIONS):
        assert loop.iterate() < 1e-5, iteration
        if loop.runner.module.policy.sde.noise is not None:
            bounds.append(loop.bound)
    assert all(later < earlier - 0.01 for earlier, later in pairwise(bounds))
    assert bounds[:1] in ([], [0.5])


@pytest.mark.parametrize("kind", ["flow", "shortcut"])
@pytest.mark.parametrize(
    "score", [{"form": "contraction", "value": 0.5}, {"form": "contraction", "value": 0.0, "steps": "first"}]
)
def test_a_contraction(make_loop, policy_folders, kind: str, score) -> None:
    loop = make_loop(annealed(policy_folders[kind, "state"][1], score=score))
    assert max(loop.iterate() for _ in range(ITERATIONS)) < 1e-5


@pytest.mark.parametrize("start", ["zero", "learned"])
def test_a_start_that_is_not_drawn(make_loop, policy_folder, tmp_path, start: str) -> None:
    ticket = np.array([0.5, -1.0, 0.0, 2.0], np.float32)
    folder = FlowPolicy.load(policy_folder).with_start("learned", ticket).save(tmp_path / "ticket")
    loop = make_loop(annealed(folder, chain={"start": start}))
    assert max(loop.iterate() for _ in range(ITERATIONS)) < 1e-5
    chains = np.concatenate([episode.get_actions() for episode in loop.runner.sample()])
    np.testing.assert_array_equal(chains[:, 0], np.tile(ticket if start == "learned" else 0 * ticket, (len(chains), 1)))
    assert np.ptp(chains[:, -1], axis=0).min() > 0.0


def test_another_trials_state(make_loop, policy_folder) -> None:
    """In population-based training a trial takes over another's state and keeps its own bounds."""
    donor = make_loop(annealed(policy_folder))
    donor.iterate()
    donor.iterate()
    loop = make_loop(annealed(policy_folder, noise=ANNEALED | {"sigma_min": 0.2, "sigma_max": 0.9}))
    loop.learner.set_state(donor.learner.get_state())
    assert loop.iterate() < 1e-5
    assert loop.bound == pytest.approx(0.2 + 0.7 * 0.5 * (1.0 - 0.5), rel=1e-5)  # at 2 of 3 iterations


def test_a_state_of_earlier(make_loop, policy_folder) -> None:
    """Going back to an older state: its weights have a lower number than those that the EnvRunner has."""
    loop = make_loop(annealed(policy_folder))
    loop.iterate()
    state = loop.learner.get_state()
    for _ in range(3):
        loop.iterate()
    loop.learner.set_state(state)
    assert loop.iterate() < 1e-5


def error_of(result) -> float:
    return result[LEARNER_RESULTS][DEFAULT_MODULE_ID]["ratio_error_first"]


def test_restored_algorithms(policy_folder, tmp_path) -> None:
    """The two ways that an Algorithm takes over a checkpoint, into itself and into one of other bounds."""
    other = annealed(policy_folder, noise=ANNEALED | {"sigma_min": 0.2, "sigma_max": 0.9})
    algorithms = [annealed(policy_folder).build_algo(), other.build_algo()]
    try:
        first = algorithms[0]
        first.train()
        first.save_checkpoint(str(tmp_path / "checkpoint"))
        state = first.get_state()
        assert error_of(first.train()) < 1e-5
        for algorithm in algorithms:
            algorithm.restore_from_path(str(tmp_path / "checkpoint"))
            assert error_of(algorithm.train()) < 1e-5
            algorithm.set_state(state)
            assert error_of(algorithm.train()) < 1e-5
    finally:
        for algorithm in algorithms:
            algorithm.stop()


@pytest.mark.slow
@pytest.mark.parametrize("num_learners", [1, 2])
def test_several_learners(policy_folder, num_learners: int) -> None:
    algorithm = annealed(policy_folder).learners(num_learners=num_learners).build_algo()
    try:
        assert max(error_of(algorithm.train()) for _ in range(3)) < 1e-5
    finally:
        algorithm.stop()


@pytest.mark.parametrize("variant", ["scoreflow", "score_sde"])
def test_bfloat16_compares_with_its_own_log_probability(make_loop, policy_folders, variant: str) -> None:
    """Exactly 1, although the sampler's passes are float32; weights stay float32 and move."""
    loop = make_loop(
        annealed(policy_folders["flow", "state"][1], variant=variant, precision="bfloat16", minibatch_size=8)
    )
    before = {name: value.clone() for name, value in loop.learner.rl_module.policy.sde.state_dict().items()}
    assert [loop.iterate() for _ in range(ITERATIONS)] == [0.0] * ITERATIONS
    after = loop.learner.rl_module.policy.sde.state_dict()
    assert all(value.dtype == torch.float32 for value in after.values())
    assert not torch.equal(before["velocity.trunk.0.weight"], after["velocity.trunk.0.weight"])


@pytest.mark.parametrize(("variant", "precision"), [("scoreflow", "bfloat16"), ("cps", "float32")])
def test_one_random_step(make_loop, policy_folders, variant: str, precision: str) -> None:
    """The number of the step comes along from the rollout to the update."""
    chain = {"random_steps": "one"}
    loop = make_loop(annealed(policy_folders["flow", "state"][1], variant=variant, precision=precision, chain=chain))
    assert loop.learner.rl_module.policy.config.sde.chain.random_steps == "one"
    assert max(loop.iterate() for _ in range(ITERATIONS)) < 1e-5
