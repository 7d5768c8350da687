"""The way sample -> chain -> log-probability -> update, through RLlib's real EnvRunner and Learner."""

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import LEARNER_RESULTS

from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.config import VARIANTS

STOCHASTIC = [name for name in VARIANTS if name != "flow"]
# All kinds of policies with the variants that learn different networks, and one kind with the others.
CASES = [
    (kind, observed, variant)
    for variant in STOCHASTIC
    for kind in ("flow", "shortcut")
    for observed in ("state", "pixels")
    if variant in ("reinflow", "scoreflow", "score_sde", "score_sde_fixed", "constant_alpha")
    or (kind, observed) == ("flow", "state")
] + [("epsilon", "state", variant) for variant in ("dppo", "ddim", "scoreflow")]
CASES += [("meanflow", observed, "scoreflow") for observed in ("state", "pixels")]
NETWORKS = {
    "reinflow": {"velocity", "sigma"},
    "score_sde_fixed": {"velocity"},
    "score_sde": {"velocity", "alpha"},
    "constant_alpha": {"velocity", "sigma"},
    "scoreflow": {"velocity", "alpha", "sigma"},
    "flow_noise": {"velocity", "sigma"},
    "action_noise": {"velocity", "sigma"},
    **{name: {"velocity"} for name in ("flow_sde", "cps", "ddim", "dppo")},
}


def small_config(policy_folder, env_id="Pendulum-v1", **options) -> ScoreFlowConfig:
    fixed = {"num_torch_threads": 1, "lr_warmup_iterations": 0}
    options = {"num_epochs": 2, "lr": 1e-3, "alpha_lr": 1e-2} | fixed | options
    return (
        ScoreFlowConfig()
        .environment(env_id)
        .env_runners(num_envs_per_env_runner=4, rollout_fragment_length=16)
        .training(pretrained_policy=str(policy_folder), **options)
        .debugging(seed=1)
    )


def train_once(config: ScoreFlowConfig):
    algo = config.build_algo()
    try:
        before = algo.flow_policy().state_dict()
        result = algo.train()
        return before, algo.flow_policy().state_dict(), result
    finally:
        algo.stop()


def changed_networks(before, after) -> set[str]:
    names = {"velocity": "velocity", "alpha": "alpha", "noise": "sigma"}
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    return {names[name.split(".")[1]] if name.startswith("sde.") else name.split(".")[0] for name in changed}


@pytest.mark.parametrize(("kind", "observed", "variant"), CASES)
def test_ratio_is_one_and_every_learned_network_moves(policy_folders, kind: str, observed: str, variant: str) -> None:
    env_id, folder = policy_folders[kind, observed]
    before, after, result = train_once(small_config(folder, env_id, variant=variant))
    learner = result[LEARNER_RESULTS][DEFAULT_MODULE_ID]
    assert learner["ratio_error_first"] < 1e-5
    encoders = {"encoder"} if observed == "pixels" else set()
    assert changed_networks(before, after) == NETWORKS[variant] | encoders
    assert result["gradient_steps"] == 2
    assert 0.0 < result["ratio_mean"] < 2.0
    for name in NETWORKS[variant] | encoders | {"critic"} | {f"critic_{name}" for name in encoders}:
        assert result[f"grad_norm/{name}"] > 0.0, name


@pytest.mark.parametrize("kind_and_observed", [("flow", "state"), ("shortcut", "pixels")])
def test_the_plain_flow_has_no_density_to_optimise(policy_folders, kind_and_observed) -> None:
    env_id, folder = policy_folders[kind_and_observed]
    with pytest.raises(InputError, match="has no noise"):
        small_config(folder, env_id, variant="flow").validate()


def test_frozen_velocity_leaves_the_pretrained_flow_alone(policy_folder) -> None:
    before, after, _ = train_once(small_config(policy_folder, frozen_velocity=True))
    for name, value in before.items():
        same = torch.equal(value, after[name])
        assert same == (not name.startswith(("sde.noise.mlp", "sde.alpha"))), name


def test_ratio_is_one_on_the_scale_of_the_whole_chain_with_remote_runners(policy_folder) -> None:
    config = small_config(
        policy_folder, chain={"normalize_logp": False, "logp_clamp": None}, clip_param=0.2
    ).env_runners(num_env_runners=2, num_cpus_per_env_runner=0.5)
    _, _, result = train_once(config)
    assert result[LEARNER_RESULTS][DEFAULT_MODULE_ID]["ratio_error_first"] < 1e-4
    assert result["env_steps"] == 2 * 4 * 16 * 2  # runners x environments x chunks x act_steps


def test_target_kl_ends_the_whole_update(policy_folder) -> None:
    config = small_config(policy_folder, target_kl=0.0, num_epochs=10, minibatch_size=16)
    _, _, result = train_once(config)
    assert result["gradient_steps"] <= 2
    assert result["stopped_by_kl"] == 1.0


def test_the_critic_warms_up_alone(policy_folder) -> None:
    before, after, result = train_once(small_config(policy_folder, critic_warmup_iterations=1))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert result["grad_norm/critic"] > 0.0


@pytest.mark.parametrize("options", [{}, {"chain": {"logp_clamp": None}}], ids=["clamped", "unclamped"])
def test_noise_too_small_for_the_clamp_is_noted(policy_folder, options) -> None:
    result = train_once(small_config(policy_folder, noise={"sigma_min": 0.01, "sigma_max": 0.02}, **options))[2]
    noted = "100% of the log-probabilities are clamped" in result.get("note", "")
    assert (noted, result["logprob_clamp_rate"]) == ((False, 0.0) if options else (True, 1.0))


def test_accumulated_microbatches_equal_one_batch(policy_folder) -> None:
    states = [train_once(small_config(policy_folder, microbatch_size=size, num_epochs=1))[1] for size in (7, 1024)]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], atol=2e-5, rtol=1e-3)


def test_the_same_seed_gives_the_same_policy(policy_folder) -> None:
    states = [train_once(small_config(policy_folder))[1] for _ in range(2)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_behaviour_regulariser_holds_the_flow_back(policy_folder) -> None:
    distances = []
    for coefficient in (1e-9, 100.0):
        options = {"behavior_coeff": coefficient, "num_epochs": 30, "lr": 3e-4}
        _, _, result = train_once(small_config(policy_folder, **options))
        distances.append(result["behavior_distance"])
    assert 0.0 < distances[1] < distances[0]


def test_metrics_have_plain_names(policy_folder) -> None:
    config = small_config(policy_folder).evaluation(evaluation_interval=1, evaluation_duration=2)
    _, _, result = train_once(config)
    expected = {
        *("env_steps", "episodes", "rollout_seconds", "update_seconds", "env_steps_per_second"),
        *("policy_loss", "value_loss", "entropy", "kl", "kl_chain", "clip_fraction", "ratio_mean"),
        *("explained_variance", "score_clip_rate", "alpha_clamp_rate", "logprob_clamp_rate", "action_clip_rate"),
        *("sigma_min", "sigma_mean", "sigma_max", "moved/alpha", "moved/sigma", "reward_scale", "reward_clip_rate"),
        *(f"alpha/step_{k}" for k in range(4)),
        *(f"alpha_ratio/step_{k}" for k in range(4)),
        *(f"{kind}/{name}" for kind in ("grad_norm", "lr") for name in ("velocity", "alpha")),
        *(f"{kind}/{name}" for kind in ("grad_norm", "lr") for name in ("sigma", "critic")),
        *("eval_return_mean", "eval_return_stderr", "eval_episodes"),
    }
    assert expected <= set(result)
    assert all(np.isfinite(result[name]) for name in expected)
    np.testing.assert_allclose(
        [result[f"alpha/step_{k}"] for k in range(4)],
        [0.127 * (1 - k / 4) for k in range(4)],
        rtol=0.2,
    )


def test_drift_and_noise_anneal_as_far_as_the_velocity(policy_folder) -> None:
    options = {"lr": 1e-3, "lr_min": 1e-4, "alpha_lr": 1e-2, "sigma_lr": 5e-4, "lr_cycle_iterations": 2}
    algo = small_config(policy_folder, num_epochs=1, **options).build_algo()
    try:
        algo.train()
        half = algo.train()  # of the way from the peak to a tenth of it
    finally:
        algo.stop()
    rates = [half[f"lr/{name}"] for name in ("velocity", "alpha", "sigma")]
    assert rates == pytest.approx([5.5e-4, 5.5e-3, 2.75e-4])


@pytest.mark.parametrize("num_learners", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_remote_learners_update_together(policy_folder, num_learners: int) -> None:
    config = small_config(policy_folder).learners(num_learners=num_learners)
    before, after, result = train_once(config)
    assert result[LEARNER_RESULTS][DEFAULT_MODULE_ID]["ratio_error_first"] < 1e-5
    assert not torch.equal(before["sde.noise.mlp.0.weight"], after["sde.noise.mlp.0.weight"])
    assert result["gradient_steps"] == 2
