"""The module's action is the chain, and its action distribution is RLlib's Distribution along given chains."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.distribution import Distribution

from rllib_scoreflow.algorithms.common.action_distribution import ChainActionDistribution
from rllib_scoreflow.algorithms.common.rl_module import FlowPolicyRLModule, module_spec
from rllib_scoreflow.flow.config import ChainConfig, NoiseConfig, ScoreConfig
from rllib_scoreflow.policy import FlowPolicy


@pytest.fixture
def module(policy_folder) -> FlowPolicyRLModule:
    noise = NoiseConfig(kind="learn", schedule="learn")
    policy = FlowPolicy.load(policy_folder).with_dynamics(
        ScoreConfig(), noise, ChainConfig(logp_clamp=None), "scoreflow"
    )
    torch.manual_seed(0)
    spec = module_spec(policy, critic={"hidden_dim": 8, "num_layers": 1}, behavior_coeff=0.0)
    spec.observation_space = gym.spaces.Box(-np.inf, np.inf, (policy.config.observation_dim,), np.float32)
    return spec.build()


@pytest.fixture
def batch(module):
    observations = torch.randn((5, module.policy.config.observation_dim))
    return {Columns.OBS: observations, **module.forward_exploration({Columns.OBS: observations})}


def test_the_action_space_is_that_of_the_chain(module, batch) -> None:
    assert isinstance(module.action_space, gym.spaces.Box)
    assert module.action_space.shape == batch[Columns.ACTIONS].shape[1:]
    assert module.action_space.contains(batch[Columns.ACTIONS][0].numpy())


def test_inputs_make_the_distribution_whose_density_was_sampled(module, batch) -> None:
    inputs = module.forward_train(batch)[Columns.ACTION_DIST_INPUTS]
    distribution = module.get_train_action_dist_cls().from_logits(inputs)
    assert isinstance(distribution, Distribution)
    assert inputs.shape[1] == ChainActionDistribution.required_input_dim(module.action_space)
    torch.testing.assert_close(distribution.logp(batch[Columns.ACTIONS]), batch[Columns.ACTION_LOGP])
    chains = module.policy.distribution(batch[Columns.OBS])
    torch.testing.assert_close(distribution.entropy(), chains.entropy(batch[Columns.ACTIONS]))


def test_divergences_are_those_of_the_transitions(module, batch) -> None:
    make = module.get_train_action_dist_cls().from_logits
    inputs = module.forward_train(batch)[Columns.ACTION_DIST_INPUTS].detach()
    one, points = make(inputs), module.action_space.shape
    mean, std = inputs.view(-1, 2, *points).unbind(1)
    other = make(torch.cat([mean + 0.5 * std, std], dim=1).flatten(1))
    assert torch.all(one.kl(one) == 0.0)
    # Half a standard deviation further in each of the K * D numbers that transitions draw.
    torch.testing.assert_close(other.kl(one), torch.full((5,), 0.5 * 0.25 * (points[0] - 1) * points[1]))


def test_samples_are_draws_of_every_transition(module, batch) -> None:
    inputs = module.forward_train(batch)[Columns.ACTION_DIST_INPUTS].detach()
    distribution = module.get_train_action_dist_cls().from_logits(inputs)
    torch.manual_seed(1)
    drawn, logp = distribution.sample(sample_shape=(2000,), return_logp=True)
    mean, std = inputs.view(-1, 2, *module.action_space.shape).unbind(1)
    np.testing.assert_allclose(drawn.mean(dim=0), mean, atol=0.12)
    np.testing.assert_allclose(drawn.std(dim=0), std, rtol=0.08)
    torch.testing.assert_close(logp.mean(dim=0), -distribution.entropy(), rtol=0.02, atol=0.01)
    assert torch.equal(distribution.to_deterministic().sample(), mean)
