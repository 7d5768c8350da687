"""A toy policy for `toy_envs:ToyShown-v0`, of tests/envs."""

from typing import Any

import numpy as np
import torch

from rllib_scoreflow.flow.config import NoiseConfig, SDEConfig, VelocityConfig, apply_variant
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig, PolicyMetadata

ENV_ID = "toy_envs:ToyShown-v0"


def make_shown_policy(variant: str, *, seed: int = 0, dataset: str | None = None, **score: Any) -> FlowPolicy:
    """Another seed, another policy; `score` are options of its drift."""
    torch.manual_seed(seed)
    drift, noise = apply_variant(variant, score)
    assert isinstance(noise, NoiseConfig)
    config = PolicyConfig(
        observation_dim=2,
        action_dim=1,
        horizon=4,
        act_steps=2,
        sde=SDEConfig(velocity=VelocityConfig(hidden_dim=16), score=drift, noise=noise),
    )
    return FlowPolicy(
        config,
        observation_low=np.zeros(2, np.float32),
        observation_high=np.full(2, 12, np.float32),
        action_low=np.array([-1], np.float32),
        action_high=np.array([2], np.float32),
        metadata=PolicyMetadata(variant=variant, env_id=ENV_ID, dataset=dataset),
    )
