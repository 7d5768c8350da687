"""Inputs at the edge: no drift, no spread of returns, no steps."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rllib_scoreflow.flow.advantages import RunningRewardScaler
from rllib_scoreflow.flow.config import NoiseConfig, ScoreConfig, SDEConfig
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.processes import GaussianDenoising


@pytest.mark.parametrize("score", [ScoreConfig(strength="none"), ScoreConfig(strength="constant", value=0.0)])
def test_coupled_noise_without_a_drift_is_refused(score: ScoreConfig) -> None:
    with pytest.raises(ValidationError, match="needs a drift"):
        SDEConfig(score=score, noise=NoiseConfig(kind="coupled"))


def test_a_vanished_learned_drift_still_has_a_density() -> None:
    sde = GaussianDenoising(2, 3, SDEConfig(noise=NoiseConfig(kind="coupled")))
    with torch.no_grad():
        list(sde.alpha.parameters())[-1].fill_(-200.0)
    distribution = ChainDistribution(sde, torch.zeros(4, 2))
    assert torch.isfinite(distribution.logp(distribution.sample())).all()


def test_equal_returns_do_not_blow_rewards_up() -> None:
    scaler = RunningRewardScaler(gamma=0.9)
    for stream in ("a", "b", "c"):
        scaler.observe(stream, np.array([1.0]), done=True)
    assert scaler.scale == 1.0


def test_an_empty_end_of_a_stream_forgets_it() -> None:
    scaler = RunningRewardScaler(gamma=0.9)
    scaler.observe("a", np.array([1.0]), done=False)
    scaler.observe("a", np.array([]), done=True)
    assert scaler.ongoing == {}


def test_a_chain_has_at_least_one_step() -> None:
    with pytest.raises(ValueError, match="at least one denoising step"):
        ChainDistribution(GaussianDenoising(2, 3, SDEConfig()), torch.zeros(1, 2), denoising_steps=0)
