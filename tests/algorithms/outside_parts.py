"""A user's own velocity field, process, objective, advantage estimator, reader and environment, named by `plugins`."""

from typing import Literal

import gymnasium as gym
import numpy as np
import torch
from toy_reach import Reach

from rllib_scoreflow.data.readers import READERS, Reader
from rllib_scoreflow.data.schema import RawColumns
from rllib_scoreflow.flow.advantages import ESTIMATORS
from rllib_scoreflow.flow.fields import FIELDS, FieldConfig, VelocityField
from rllib_scoreflow.flow.objectives import OBJECTIVES, ChainObjective, Surrogate
from rllib_scoreflow.flow.processes import PROCESSES, DenoisingProcess, ProcessConfig, Transition


class ConvolutionConfig(FieldConfig):
    type: Literal["outside_convolution"] = "outside_convolution"
    channels: int = 16


@FIELDS.register("outside_convolution")
class Convolution(VelocityField):
    """Mixes the steps of a chunk by a convolution over time; it needs chunks as `[B, H, A]`."""

    CONFIG = ConvolutionConfig

    def __init__(self, observation_dim, chunk_shape, config):
        super().__init__(observation_dim, chunk_shape, config)
        width = chunk_shape[1] + config.time_dim + observation_dim
        self.layers = torch.nn.Sequential(
            torch.nn.Conv1d(width, config.channels, 3, padding=1),
            torch.nn.Mish(),
            torch.nn.Conv1d(config.channels, chunk_shape[1], 3, padding=1),
        )

    def velocity(self, x, t, observation, step_size):
        context = torch.cat([self.time_features(t, step_size), observation], dim=-1)
        steps = context.unsqueeze(1).expand(-1, x.shape[1], -1)
        return self.layers(torch.cat([x, steps], dim=-1).transpose(1, 2)).transpose(1, 2)


class PushedConfig(ProcessConfig):
    type: Literal["outside_push"] = "outside_push"
    sigma: float = 0.1


@PROCESSES.register("outside_push")
class Pushed(DenoisingProcess):
    """The flow with a push that is learned from the observation, and the same noise at every step."""

    CONFIG = PushedConfig

    def __init__(self, observation_dim, chunk_dim, config, horizon=1):
        super().__init__(observation_dim, chunk_dim, config, horizon)
        self.push = torch.nn.Linear(observation_dim, chunk_dim)

    def transition(self, x, t, observation, dt):
        push = 0.1 * self.push(observation)
        mean = x + (self.velocity(x, t, observation, dt) + push) * dt
        return Transition(mean, torch.full_like(mean, self.config.process.sigma), {"push": push})

    def diagnostics(self, evaluation):
        return {"push_size": evaluation.details["push"].abs().mean()}


@OBJECTIVES.register("outside_penalty")
class Penalised(ChainObjective):
    """PPO's other form (arXiv 1707.06347, section 4): the KL divergence is paid for, and no ratio is clipped."""

    METRICS = ChainObjective.METRICS | {"penalty"}
    PRICE = 0.5

    def surrogate(self, process, evaluation, columns, advantages, *, clip_range, entropy_coeff):
        clipped = super().surrogate(
            process, evaluation, columns, advantages, clip_range=clip_range, entropy_coeff=entropy_coeff
        )
        gain = (evaluation.logp - columns[self.REFERENCE[0]]).exp() * advantages
        penalty = self.PRICE * clipped.kl
        loss = penalty - gain - entropy_coeff * evaluation.entropy
        return Surrogate(loss, clipped.kl, {**clipped.metrics, "policy_loss": -gain, "penalty": penalty})


@ESTIMATORS.register("outside_returns_to_go")
class ReturnsToGo:
    """Discounted returns of a fragment less the critic's values."""

    def __init__(self, *, gamma, lambda_):
        self.gamma = gamma

    def __call__(self, fragments):
        advantages = []
        for fragment in fragments:
            running, returns = 0.0 if fragment.terminated else fragment.values[-1], np.empty_like(fragment.rewards)
            for step in reversed(range(len(returns))):
                running = fragment.rewards[step] + self.gamma * running
                returns[step] = running
            advantages.append(returns - fragment.values[:-1])
        return advantages


@READERS.register("outside_table")
class TableReader(Reader):
    """Numbers with commas between: 4 of the observation, 2 of the action, the reward, whether the episode ends."""

    what = "a table of transitions"
    suffixes = (".transitions",)

    def read(self, path, options):
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)
        return RawColumns(
            observations=table[:, :4],
            actions=table[:, 4:6],
            rewards=table[:, 6],
            terminals=np.zeros(len(table), bool),
            timeouts=table[:, 7] > 0,
        )


class WindyReach(Reach):
    """The point is blown aside."""

    def step(self, action):
        return super().step(np.asarray(action) + 0.05)


gym.register("OutsideReach-v0", WindyReach, max_episode_steps=20)
