import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from rllib_scoreflow.flow.config import ChainConfig, NoiseConfig, ScoreConfig, SDEConfig
from rllib_scoreflow.flow.fields import FIELDS, FieldConfig, VelocityField
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig, PolicyMetadata


@pytest.fixture(scope="session", autouse=True)
def toy_envs_importable():
    """Lets "toy_envs:EnvId" be imported, as a user's module beside his YAML file is."""
    folder = str(Path(__file__).parents[1] / "envs")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


class ConstantConfig(FieldConfig):
    type: Literal["toy_constant"] = "toy_constant"


@FIELDS.register("toy_constant")
class Constant(VelocityField):
    """The same velocity everywhere: the plain flow moves every start by it."""

    CONFIG = ConstantConfig

    def __init__(self, observation_dim, chunk_shape, config):
        super().__init__(observation_dim, chunk_shape, config)
        self.shift = torch.nn.Parameter(torch.zeros(chunk_shape))

    def velocity(self, x, t, observation, step_size):
        return self.shift.expand_as(x)


def _make_policy(shift: float, *, variant: str, steps: int, start: str = "normal") -> FlowPolicy:
    """Fine-tuned ones forget half of the noise that their first step sees."""
    score, noise = ScoreConfig(strength="none"), NoiseConfig(kind="none")
    if variant != "flow":
        score = ScoreConfig(form="contraction", value=0.5, strength="constant", steps="first", clip=None)
        noise = NoiseConfig(kind="constant", sigma_max=0.1)
    chain = ChainConfig(denoising_steps=steps, mean_clip=None, start=start)
    policy = FlowPolicy(
        PolicyConfig(
            observation_dim=2,
            action_dim=1,
            horizon=1,
            act_steps=1,
            sde=SDEConfig(velocity=ConstantConfig(), score=score, noise=noise, chain=chain),
        ),
        observation_low=np.zeros(2, np.float32),
        observation_high=np.full(2, 12, np.float32),
        action_low=np.array([-1], np.float32),
        action_high=np.array([1], np.float32),
        metadata=PolicyMetadata(variant=variant, env_id="toy_envs:ToyCountdown-v0"),
    )
    with torch.no_grad():
        policy.sde.velocity.shift.fill_(shift)
    return policy


@pytest.fixture(scope="session")
def make_policy():
    """Factory of policies for ToyCountdown whose actions are known in closed form."""
    return _make_policy
