"""Small SDEs for the mathematics tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from rllib_scoreflow.flow.config import (
    ChainConfig,
    NoiseConfig,
    ScoreConfig,
    SDEConfig,
    VelocityConfig,
    apply_variant,
)
from rllib_scoreflow.flow.processes import GaussianDenoising

SDEFactory = Callable[..., GaussianDenoising]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """The networks are tiny: more than one thread only costs time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _same_draws_every_time() -> None:
    """A test that passes by luck would fail by luck."""
    torch.manual_seed(0)


@pytest.fixture
def float64_default() -> Iterator[None]:
    """New tensors and modules are float64 within the test."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def make_sde() -> SDEFactory:
    """Factory of a small SDE of a named variant, off its special initial point.

    Weights are perturbed after construction, so that alpha depends on `t` and sigma on `t` and `o`
    from the start; `velocity`, `score`, `noise` and `chain` are overrides of the four sections.
    """

    def build(
        variant: str = "scoreflow",
        *,
        observation_dim: int = 3,
        chunk_dim: int = 4,
        seed: int = 0,
        perturbation: float = 0.1,
        velocity: dict[str, Any] | None = None,
        score: dict[str, Any] | None = None,
        noise: dict[str, Any] | None = None,
        chain: dict[str, Any] | None = None,
        sde_class: type[GaussianDenoising] = GaussianDenoising,
    ) -> GaussianDenoising:
        score_config, noise_config = apply_variant(variant, score, noise)
        assert isinstance(score_config, ScoreConfig)
        assert isinstance(noise_config, NoiseConfig)
        config = SDEConfig(
            velocity=VelocityConfig(**{"hidden_dim": 16, **(velocity or {})}),
            score=score_config,
            noise=noise_config,
            chain=ChainConfig(**(chain or {})),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sde = sde_class(observation_dim, chunk_dim, config)
            with torch.no_grad():
                for parameter in sde.parameters():
                    parameter.add_(perturbation * torch.randn_like(parameter))
        return sde

    return build
