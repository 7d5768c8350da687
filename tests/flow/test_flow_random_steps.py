"""One random step of a chain per decision: drawn uniformly, alone scored, with the gradient of its own objective."""

import copy
import math

import pytest
import torch
from torch.distributions import Normal

from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.kernel import Step

ONE = {"random_steps": "one", "logp_clamp": None, "normalize_logp": False}


def draw(process, rows: int = 64, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    distribution = ChainDistribution(process, torch.randn((rows, 3), generator=generator))
    step = distribution.draw_step(generator)
    chain, logp = distribution.sample_with_logp(generator=generator, random_step=step)
    return distribution, step, chain, logp


@pytest.mark.parametrize("variant", ["scoreflow", "reinflow", "score_sde", "flow_sde", "cps"])
def test_the_other_steps_follow_their_means(make_sde, variant: str) -> None:
    process = make_sde(variant, chain=ONE | {"mean_clip": None})
    distribution, step, chain, _ = draw(process)
    for k in range(4):
        t = torch.full((64, 1), k / 4)
        mean = process.transition(chain[:, k], t, distribution.observation, 0.25).mean
        moved = (chain[:, k + 1] - mean).abs().amax(dim=1) > 1e-5
        assert torch.equal(moved, step == k), k


@pytest.mark.parametrize("start", ["normal", "zero"])
@pytest.mark.parametrize("variant", ["scoreflow", "reinflow", "score_sde", "flow_sde", "cps"])
def test_the_density_is_that_of_the_step_alone(make_sde, variant: str, start: str) -> None:
    process = make_sde(variant, chain=ONE | {"start": start})
    distribution, step, chain, kept = draw(process)
    evaluation = distribution.evaluate(chain, step)
    for row in range(0, 64, 7):
        k = int(step[row])
        t = torch.full((1, 1), k / 4)
        one = process.transition(chain[row : row + 1, k], t, distribution.observation[row : row + 1], 0.25)
        expected = Normal(one.mean, one.std).log_prob(chain[row, k + 1]).sum()
        entropy = Normal(one.mean, one.std).entropy().sum()
        if start == "normal":
            expected = expected + Normal(0.0, 1.0).log_prob(chain[row, 0]).sum()
            entropy = entropy + Normal(torch.zeros(4), 1.0).entropy().sum()
        torch.testing.assert_close(evaluation.logp[row], expected, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(evaluation.entropy[row], entropy, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(kept, evaluation.logp, rtol=1e-5, atol=1e-4)
    assert torch.equal(evaluation.random_step, step)


def test_every_random_step_is_as_likely(make_sde) -> None:
    counts = torch.bincount(draw(make_sde("scoreflow", chain=ONE), rows=4000)[1], minlength=4)
    assert counts.sum() == 4000
    assert (counts - 1000).abs().max() < 5 * math.sqrt(4000 * 0.25 * 0.75)
    # Coefficients-preserving sampling has no noise at the last one.
    assert draw(make_sde("cps", chain=ONE), rows=400)[1].max() == 2


def test_one_row_of_the_networks_is_passed_per_decision(make_sde) -> None:
    process = make_sde("scoreflow", chain=ONE)
    distribution, step, chain, _ = draw(process)
    rows = []
    process.velocity.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    distribution.evaluate(chain, step)
    assert rows == [64]


def test_the_scale_is_that_of_one_step(make_sde) -> None:
    distribution, step, chain, logp = draw(make_sde("scoreflow", chain={"random_steps": "one", "logp_clamp": None}))
    evaluation = distribution.evaluate(chain, step)
    torch.testing.assert_close(logp, evaluation.raw_logp / (2 * 4))


def test_without_noise_no_step_is_drawn_and_evaluation_follows_all_means(make_sde) -> None:
    process = make_sde("scoreflow", chain=ONE)
    distribution = ChainDistribution(process, torch.randn(8, 3))
    start = torch.randn(8, 4)
    quiet = distribution.sample(initial=start, explore=False)
    plain = ChainDistribution(make_sde("scoreflow"), distribution.observation).sample(initial=start, explore=False)
    torch.testing.assert_close(quiet, plain)


def test_the_number_of_the_step_must_come_along(make_sde) -> None:
    distribution, step, chain, _ = draw(make_sde("scoreflow", chain=ONE))
    with pytest.raises(ValueError, match="needs the number of each chain's random step"):
        distribution.evaluate(chain)
    every = ChainDistribution(make_sde("scoreflow"), distribution.observation)
    with pytest.raises(ValueError, match="'all' has no one random step"):
        every.evaluate(chain, step)


def test_figures_of_a_step_are_those_of_the_chains_whose_step_it_is(make_sde) -> None:
    process = make_sde("scoreflow", chain=ONE)
    distribution, step, chain, _ = draw(process)
    found = process.diagnostics(distribution.evaluate(chain, step))
    times = torch.arange(4).unsqueeze(-1) / 4
    for k in range(4):
        total, count = found[f"alpha/step_{k}"]
        assert count == (step == k).sum()
        exact = process.alpha(Step.on(process.path, times[k : k + 1], 0.25))
        torch.testing.assert_close(total / count, exact[0, 0], rtol=1e-4, atol=1e-5)
    assert "contraction/step_2" in found
    assert "contraction/step_3" not in found


@pytest.mark.usefixtures("float64_default")
@pytest.mark.parametrize("parameter", ["velocity.trunk.4.bias", "alpha.network.4.bias", "noise.mlp.2.bias"])
def test_the_gradient_is_that_of_the_random_steps_objective(make_sde, parameter: str) -> None:
    """The return as a function of the random step's parameters, while those of the other steps stand still."""
    process = make_sde(
        "scoreflow",
        chunk_dim=1,
        observation_dim=1,
        seed=4,
        perturbation=0.2,
        velocity={"hidden_dim": 8, "num_layers": 2, "activation": "tanh", "time_dim": 4},
        score={"scale": 4.0, "clip": None},
        noise={"sigma_min": 0.2, "sigma_max": 0.8, "hidden_dims": (8,)},
        chain=ONE | {"denoising_steps": 2, "mean_clip": None, "draw_clip": None},
    )
    still, batch, size, shift = copy.deepcopy(process), 4000, 15, 1e-3
    observation = torch.full((batch, 1), 0.5)

    def reward(x: torch.Tensor) -> torch.Tensor:
        return torch.exp(-x.square().sum(dim=-1) / 0.7)

    def play(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Chains by a sampler of the test's own, and their random steps."""
        generator = torch.Generator().manual_seed(seed)
        step = torch.randint(2, (batch,), generator=generator)
        x = torch.randn((batch, 1), generator=generator)
        points = [x]
        with torch.no_grad():
            for k in range(2):
                t = torch.full((batch, 1), k / 2)
                drawn = process.transition(x, t, observation, 0.5)
                noisy = drawn.mean + drawn.std * torch.randn((batch, 1), generator=generator)
                mean = still.transition(x, t, observation, 0.5).mean
                x = torch.where((step == k).unsqueeze(-1), noisy, mean)
                points.append(x)
        return torch.stack(points, dim=1), step

    entry = process.get_parameter(parameter)
    differences, estimates = [], []
    for seed in range(size):
        chain, step = play(seed)
        process.zero_grad()
        distribution = ChainDistribution(process, observation)
        distribution.times = distribution.times.double()
        rewards = reward(chain[:, -1])
        ((rewards - rewards.mean()) * distribution.evaluate(chain, step).logp).mean().backward()
        estimates.append(float(entry.grad[0]))
        value = float(entry.data[0])
        ends = []
        for moved in (value + shift, value - shift):
            entry.data[0] = moved
            ends.append(reward(play(seed)[0][:, -1]).mean())
        entry.data[0] = value
        differences.append(float(ends[0] - ends[1]) / (2 * shift))
    error = torch.tensor(estimates) - torch.tensor(differences)
    standard_error = error.std() / math.sqrt(size)
    assert error.mean().abs() < 4 * standard_error
    assert torch.tensor(differences).mean().abs() > 5 * standard_error
