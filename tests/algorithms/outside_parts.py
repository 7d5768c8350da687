"""A module of a user's own: a velocity field, an advantage estimator and a reader, named by `plugins`."""

from typing import Literal

import numpy as np
import torch

from rllib_scoreflow.data.readers import READERS, Reader
from rllib_scoreflow.data.schema import RawColumns
from rllib_scoreflow.flow.advantages import ESTIMATORS
from rllib_scoreflow.flow.fields import FIELDS, FieldConfig, VelocityField


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
