"""The policy gradient on chains is the gradient of the expected reward (method section 6).

A one-step toy problem: the reward is a smooth function of `x_K` alone. `E[(R - b) grad log pi]`, by
the very backward pass that PPO uses, must agree with the finite difference of the expected reward.
All in float64, without the clamps, which bias both a little.
"""

import math
from dataclasses import dataclass

import pytest
import torch

from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.losses import clipped_surrogate_loss
from rllib_scoreflow.flow.processes import GaussianDenoising

BATCHES, BATCH = 20, 2000
STEP = 1e-3


@dataclass(frozen=True)
class Coordinate:
    """One entry of one parameter of the SDE."""

    parameter: str
    index: tuple[int, ...]


VELOCITY = [
    Coordinate("velocity.trunk.4.bias", (0,)),
    Coordinate("velocity.trunk.4.weight", (0, 3)),
    Coordinate("velocity.trunk.0.weight", (2, 0)),  # from x itself
]
# Sigma reads the time embedding without gradient (method section 4). Where it does read it, PPO's
# gradient in the embedding therefore leaves out what the embedding does through sigma, on purpose.
EMBEDDING = [Coordinate("velocity.time_embedding.mlp.2.bias", (1,))]
ALPHA = [Coordinate("alpha.network.4.bias", (0,)), Coordinate("alpha.network.4.weight", (0, 2))]
SIGMA = [Coordinate("noise.mlp.2.bias", (0,)), Coordinate("noise.mlp.2.weight", (0, 1))]

CASES = {
    "scoreflow-1d": ("scoreflow", 1, VELOCITY + ALPHA + SIGMA),
    "scoreflow-2d": ("scoreflow", 2, VELOCITY + ALPHA + SIGMA),
    "score_sde-1d": ("score_sde", 1, VELOCITY + EMBEDDING + ALPHA),
    "reinflow-1d": ("reinflow", 1, VELOCITY + SIGMA),
    "timeless_sigma-1d": ("scoreflow", 1, EMBEDDING),
}


def build(make_sde, variant: str, dim: int) -> GaussianDenoising:
    return make_sde(
        variant,
        chunk_dim=dim,
        observation_dim=1,
        seed=4,
        perturbation=0.2,
        velocity={"hidden_dim": 8, "num_layers": 2, "activation": "tanh", "time_dim": 4},
        # Strong drift and noise, so that both matter to the reward.
        score={"scale": 4.0, "clip": None},
        noise={"sigma_min": 0.2, "sigma_max": 0.8, "hidden_dims": (8,)},
        chain={
            "denoising_steps": 2,
            "mean_clip": None,
            "draw_clip": None,
            "normalize_logp": False,
            "logp_clamp": None,
        },
    )


def distribution_of(sde: GaussianDenoising) -> ChainDistribution:
    distribution = ChainDistribution(sde, torch.full((BATCH, 1), 0.5))
    distribution.times = distribution.times.double()
    return distribution


def reward(x: torch.Tensor) -> torch.Tensor:
    """A smooth bump, `[B, D]` -> `[B]`: the place and the width of the policy both matter."""
    return torch.exp(-x.square().sum(dim=-1) / 0.7)


def chains(sde: GaussianDenoising, batch: int) -> torch.Tensor:
    with torch.no_grad():
        generator = torch.Generator().manual_seed(batch)
        return distribution_of(sde).sample(generator=generator)


def expected_rewards(sde: GaussianDenoising) -> torch.Tensor:
    """Mean reward of every batch of common random numbers, `[BATCHES]`."""
    return torch.stack([reward(chains(sde, b)[:, -1]).mean() for b in range(BATCHES)])


def finite_difference(sde: GaussianDenoising, coordinate: Coordinate) -> torch.Tensor:
    """Central difference of the expected reward per batch, `[BATCHES]`."""
    entry = sde.get_parameter(coordinate.parameter).data[coordinate.index]
    value = entry.item()
    values = []
    for shift in (STEP, -STEP):
        entry.fill_(value + shift)
        values.append(expected_rewards(sde))
    entry.fill_(value)
    return (values[0] - values[1]) / (2 * STEP)


def likelihood_ratio_gradients(sde: GaussianDenoising, baseline: float, coordinates: list[Coordinate]) -> torch.Tensor:
    """`mean[(R - b) d log pi(chain)]` per batch and coordinate, `[BATCHES, C]`."""
    gradients = []
    for b in range(BATCHES):
        chain = chains(sde, b)
        sde.zero_grad()
        logp = distribution_of(sde).logp(chain)
        ((reward(chain[:, -1]) - baseline) * logp).mean().backward()
        entries = []
        for coordinate in coordinates:
            gradient = sde.get_parameter(coordinate.parameter).grad
            entries.append(0.0 if gradient is None else gradient[coordinate.index].item())
        gradients.append(torch.tensor(entries))
    return torch.stack(gradients)


@pytest.mark.usefixtures("float64_default")
@pytest.mark.parametrize("case", sorted(CASES))
def test_policy_gradient_is_the_gradient_of_the_expected_reward(make_sde, case: str) -> None:
    variant, dim, coordinates = CASES[case]
    sde = build(make_sde, variant, dim)
    if case.startswith("timeless_sigma"):
        with torch.no_grad():
            sde.noise.mlp[0].weight[:, : sde.config.velocity.time_dim] = 0.0
    baseline = expected_rewards(sde).mean().item()
    estimates = likelihood_ratio_gradients(sde, baseline, coordinates)
    significance = {}
    for column, coordinate in enumerate(coordinates):
        true = finite_difference(sde, coordinate)
        # The two share their draws: the error of the difference is measured over the batches.
        difference = estimates[:, column] - true
        standard_error = difference.std().item() / math.sqrt(BATCHES)
        significance[coordinate.parameter] = max(
            abs(true.mean().item()) / standard_error, significance.get(coordinate.parameter, 0.0)
        )
        assert abs(difference.mean().item()) < 4 * standard_error, coordinate
    # A gradient that is missing or off by a half would be seen in every network.
    for network in {coordinate.parameter.split(".")[0] for coordinate in coordinates}:
        best = max(v for name, v in significance.items() if name.startswith(network))
        assert best > 8, (network, significance)


@pytest.mark.usefixtures("float64_default")
def test_score_function_has_mean_zero(make_sde) -> None:
    """Without a reward there is no gradient to follow."""
    sde = build(make_sde, "scoreflow", 1)
    coordinates = VELOCITY + ALPHA + SIGMA
    gradients = []
    for b in range(20):
        sde.zero_grad()
        distribution_of(sde).logp(chains(sde, b)).mean().backward()
        gradients.append(torch.stack([sde.get_parameter(c.parameter).grad[c.index] for c in coordinates]))
    stacked = torch.stack(gradients)
    standard_error = stacked.std(dim=0) / math.sqrt(20)
    assert (stacked.mean(dim=0).abs() < 4.5 * standard_error).all()


def test_surrogate_gradient_at_ratio_one_is_the_policy_gradient(make_sde) -> None:
    """PPO's first gradient, on the normalised scale, is `-A grad log pi / ((K + 1) D)`."""
    sde = make_sde("scoreflow", chain={"logp_clamp": None})
    distribution = ChainDistribution(sde, torch.randn(16, 3))
    chain = distribution.sample().detach()
    advantages = torch.randn(16)
    evaluation = distribution.evaluate(chain)
    ratio = torch.exp(evaluation.logp - evaluation.logp.detach())
    surrogate = clipped_surrogate_loss(ratio, advantages, 0.01).sum()
    parameters = list(sde.parameters())
    actual = torch.autograd.grad(surrogate, parameters, retain_graph=True)
    objective = -(advantages * evaluation.raw_logp).sum() / ((4 + 1) * 4)
    for mine, theirs in zip(actual, torch.autograd.grad(objective, parameters), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
