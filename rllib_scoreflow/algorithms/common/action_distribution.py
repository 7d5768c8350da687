"""RLlib's action distribution of a denoising chain."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.distribution.torch.torch_distribution import TorchDeterministic
from ray.rllib.utils.annotations import override

from rllib_scoreflow.flow.chain_gaussian import ChainGaussian, ChainScale
from rllib_scoreflow.flow.transition import ChainEvaluation


class ChainActionDistribution(Distribution):
    """The diagonal Gaussian of the points of a chain, each given the one before it in a given chain.

    Its inputs ("logits") are the means and standard deviations of all points, `[B, 2 * P * D]` for chains
    `[B, P, D]`: standard deviations, and not their logarithms, so that a Learner finds the very density that was
    sampled with. `get_partial_dist_cls(space=..., scale=...)` gives the class that RLlib makes from inputs alone.
    """

    def __init__(self, gaussian: ChainGaussian) -> None:
        """Wraps a Gaussian along given chains."""
        self.gaussian = gaussian

    @staticmethod
    def to_logits(gaussian: ChainGaussian) -> torch.Tensor:
        """The inputs `[B, 2 * P * D]` from which `from_logits` makes the same distribution."""
        return torch.cat([gaussian.mean, gaussian.std], dim=1).flatten(1)

    @classmethod
    @override(Distribution)
    def from_logits(
        cls, logits: torch.Tensor, *, space: gym.Space[Any], scale: ChainScale, **kwargs: Any
    ) -> "ChainActionDistribution":
        """The distribution of inputs `[B, 2 * P * D]`, for chains of a space `[P, D]`."""
        mean, std = logits.view(-1, 2, *(space.shape or ())).unbind(1)
        return cls(ChainGaussian(mean, std, scale))

    @staticmethod
    @override(Distribution)
    def required_input_dim(space: gym.Space[Any], **kwargs: Any) -> int:
        """Length of the inputs: mean and standard deviation of every point."""
        return 2 * int(np.prod(space.shape or ()))

    @override(Distribution)
    def logp(self, value: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Log-probability of chains `[B, P, D]` on the configured scale, `[B]`."""
        return self.gaussian.logp(value)

    @override(Distribution)
    def entropy(self, **kwargs: Any) -> torch.Tensor:
        """Entropy of the drawn points on the configured scale, `[B]`."""
        return self.gaussian.entropy()

    @override(Distribution)
    def kl(self, other: Distribution, **kwargs: Any) -> torch.Tensor:
        """`KL(self || other)` in nats, `[B]`, of the transitions along the same chains.

        Raises:
            TypeError: If `other` is no distribution of chains.
        """
        if not isinstance(other, ChainActionDistribution):
            raise TypeError(f"the divergence from a {type(other).__name__} is not known")
        return self.gaussian.kl(other.gaussian)

    @override(Distribution)
    def sample(
        self, *, sample_shape: tuple[int, ...] | None = None, return_logp: bool = False, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Draws every drawn point anew from the given chain's point before it, `[*sample_shape, B, P, D]`.

        That is one draw of each transition and no chain of one process: `FlowPolicy.distribution()` samples those.
        """
        with torch.no_grad():
            return self.rsample(sample_shape=sample_shape, return_logp=return_logp)

    @override(Distribution)
    def rsample(
        self, *, sample_shape: tuple[int, ...] | None = None, return_logp: bool = False, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """As `sample`, with gradients to the inputs."""
        mean, std = self.gaussian.mean, self.gaussian.std
        value = mean + std * torch.randn((*(sample_shape or ()), *mean.shape), device=mean.device)
        if not return_logp:
            return value
        flat = value.reshape(-1, *mean.shape)
        return value, torch.stack([self.logp(each) for each in flat]).view(value.shape[:-2])

    @override(Distribution)
    def to_deterministic(self) -> Distribution:
        """The distribution that is always at the means."""
        return TorchDeterministic(loc=self.gaussian.mean)

    def evaluate(self, chain: torch.Tensor, details: Mapping[str, torch.Tensor]) -> ChainEvaluation:
        """What an update asks of the chains `[B, P, D]` that were given; `details` are their transitions'."""
        return self.gaussian.evaluate(chain, details)
