"""The objectives in EnvRunner and Learner: what is stored, where the ratio begins, and that they learn."""

import numpy as np
import pytest
import ray
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns

from rllib_scoreflow.algorithms.common.ray_adapter import run_learner_connector
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.algorithms.scoreflow.learner_shards import deal_episodes

ITERATIONS = 3
FPO = {"objective": "fpo", "variant": "flow", "fpo": {"pairs": 4}}
FIXED_NOISE = {"variant": "flow", "noise": {"kind": "constant", "sigma_max": 0.3}}


def fpo_run(folder, env_id: str = "Pendulum-v1", **options) -> ScoreFlowConfig:
    fixed = {"num_torch_threads": 1, "lr_warmup_iterations": 0, "num_epochs": 2, "lr": 1e-3, "minibatch_size": 8}
    return (
        ScoreFlowConfig()
        .environment(env_id)
        .env_runners(num_envs_per_env_runner=2, rollout_fragment_length=8)
        .training(pretrained_policy=str(folder), **(fixed | FPO | options))
        .debugging(seed=1)
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fpo": {"pairs": 1, "ratio": "mean", "negative": "trust_region"}},
        {"microbatch_size": 3},
        FIXED_NOISE | {"chain": {"start": "zero", "random_steps": "last"}},
        {"behavior_coeff": 0.1},
        pytest.param({"precision": "bfloat16"}, marks=pytest.mark.slow),
    ],
)
def test_the_ratio_of_fpo_begins_at_one(make_loop, policy_folder, options) -> None:
    loop = make_loop(fpo_run(policy_folder, **options))
    before = {name: value.clone() for name, value in loop.learner.rl_module.policy.state_dict().items()}
    assert max(loop.iterate() for _ in range(ITERATIONS)) < 1e-5
    assert {Columns.ACTIONS} == set(loop.runner.module.chain_columns)
    assert Columns.ACTION_LOGP not in loop.runner.sample()[0].extra_model_outputs
    after = loop.learner.rl_module.policy.state_dict()
    changed = {name.split(".")[1] for name in after if not after[name].equal(before[name])}
    assert changed == {"velocity"}


@pytest.mark.slow
def test_the_ratio_of_fpo_begins_at_one_with_cameras(make_loop, policy_folders) -> None:
    env_id, folder = policy_folders["flow", "pixels"]
    loop = make_loop(fpo_run(folder, env_id))
    assert max(loop.iterate() for _ in range(ITERATIONS)) < 1e-5


def test_what_fpo_reports(make_loop, policy_folder) -> None:
    """Nothing of a density that it does not have, and all that the run says it reports."""
    config = fpo_run(policy_folder)
    loop = make_loop(config)
    loop.iterate()
    result = loop.update(loop.runner.sample())
    assert {"flow_matching_error", "kl", "ratio_mean", "clip_fraction", "policy_loss"} <= set(result)
    assert not {"entropy", "kl_chain", "sigma_mean", "logprob_clamp_rate"} & set(result)
    known = config.reported_results()
    assert "flow_matching_error" in known.names
    assert "kl_chain" not in known.names


GROUP = {"advantages": "group", "group_size": 2, "max_episode_steps": 8}  # two episodes of 4 chunks in 8


@pytest.mark.parametrize("objective", [{}, FPO])
def test_group_advantages_need_no_critic(make_loop, policy_folder, objective) -> None:
    config = fpo_run(
        policy_folder, **({"objective": "chain"} | {"fpo": {}, "variant": "scoreflow"} | objective | GROUP)
    )
    loop = make_loop(config)
    assert loop.learner.rl_module.critic is None
    assert [name for name, _ in loop.learner.get_optimizers_for_module(DEFAULT_MODULE_ID)] == ["actor"]
    assert max(loop.iterate() for _ in range(ITERATIONS)) < 1e-5
    episodes = loop.runner.sample()
    starts = [episode.get_observations()[0].tolist() for episode in episodes]
    assert starts[:2] == starts[2:]
    assert starts[0] != starts[1]
    assert all(episode.is_done and episode.t_started == 0 for episode in episodes)
    result = loop.update(episodes)
    reported = config.reported_results()
    for name in ("value_loss", "explained_variance", "lr/critic"):
        assert name not in result
        assert name not in reported.names


def test_what_the_learner_is_given_of_groups(make_loop, policy_folder) -> None:
    """The advantages of the rollout's own returns, not normalised a second time, and no values."""
    loop = make_loop(fpo_run(policy_folder, **GROUP))
    loop.iterate()
    episodes = loop.runner.sample()
    batch = run_learner_connector(loop.learner, episodes, {"reward_scale": 100.0})[DEFAULT_MODULE_ID]
    returns = np.array([float(np.sum(episode.get_rewards())) for episode in episodes]).reshape(2, 2)
    expected = (returns - returns.mean(axis=0)) / returns.std(axis=0)
    np.testing.assert_allclose(batch["advantages"].reshape(2, 2, 4), np.repeat(expected[:, :, None], 4, 2), rtol=1e-4)
    assert not {"vf_preds", "value_targets"} & set(batch)


def test_environments_of_a_group_go_to_one_learner(make_loop, policy_folder) -> None:
    config = fpo_run(policy_folder, **(GROUP | {"num_learners": 2})).env_runners(num_envs_per_env_runner=8)
    episodes = make_loop(config.copy(copy_frozen=False).learners(num_learners=0)).runner.sample()
    shares = [ray.get(share) for share in deal_episodes(episodes, 3).episodes_refs]
    groups = [{episode.custom_data["group"][0] for episode in share} for share in shares]
    assert [len(group) for group in groups] == [1, 2, 1]
    assert len(set.union(*groups)) == 4
    assert [episode.id_ for share in shares for episode in share] == [episode.id_ for episode in episodes]
