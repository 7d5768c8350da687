"""Where a chain starts: drawn, at zero, or at one learned vector; only what is drawn has a density."""

import pytest
import torch
from torch.distributions import Independent, Normal

from rllib_scoreflow.flow.config import STORED, ChainConfig
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.start import STARTS
from rllib_scoreflow.flow.time_grid import time_grid

TICKET = torch.tensor([0.3, -1.2, 0.0, 2.0])


def started(make_sde, start: str, **options):
    sde = make_sde(options.pop("variant", "scoreflow"), chain={"start": start, **options.pop("chain", {})}, **options)
    if start == "learned":
        sde.start.copy_(TICKET)
    return sde


def test_a_chain_starts_where_its_configuration_says(make_sde) -> None:
    observation = torch.randn(5, 3)
    expected = {"normal": torch.randn(5, 4), "zero": torch.zeros(5, 4), "learned": TICKET.expand(5, 4)}
    for start in STARTS:
        torch.manual_seed(3)
        expected["normal"] = torch.randn(5, 4)
        torch.manual_seed(3)
        distribution = ChainDistribution(started(make_sde, start), observation)
        assert torch.equal(distribution.sample()[:, 0], expected[start])
        torch.manual_seed(3)
        assert torch.equal(distribution.initial_draw(), expected[start])
    # A start that is asked for wins; a learned one has to be there.
    assert torch.equal(distribution.initial_draw(start="zero"), expected["zero"])
    with pytest.raises(ValueError, match="no learned start"):
        ChainDistribution(make_sde(), observation).initial_draw(start="learned")


@pytest.mark.parametrize("start", ["zero", "learned"])
@pytest.mark.parametrize("steps", [1, 4])
def test_a_start_that_is_not_drawn_has_no_density(make_sde, start: str, steps: int) -> None:
    """`log pi = sum_k log N(x_{k+1}; mean_k, sigma_k^2)` and `H = sum_k H_k`, over (K + 1) D as with a drawn start."""
    sde = started(make_sde, start, chain={"denoising_steps": steps, "logp_clamp": None})
    distribution = ChainDistribution(sde, torch.randn(6, 3))
    chain, kept = distribution.sample_with_logp()
    logp, entropy = torch.zeros(6), torch.zeros(6)
    for k, t in enumerate(time_grid(steps)):
        step = sde.transition(chain[:, k], t.expand(6, 1), distribution.observation, 1 / steps)
        normal = Independent(Normal(step.mean, step.std), 1)
        logp, entropy = logp + normal.log_prob(chain[:, k + 1]), entropy + normal.entropy()
    evaluation = distribution.evaluate(chain)
    assert evaluation.logp_divisor == (steps + 1) * 4
    torch.testing.assert_close(evaluation.raw_logp, logp, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(evaluation.logp, logp / ((steps + 1) * 4), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(evaluation.entropy, entropy / ((steps + 1) * 4), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(kept, evaluation.logp, rtol=1e-6, atol=1e-5)


def test_the_ratio_of_two_policies_does_not_depend_on_whether_the_start_was_drawn(make_sde) -> None:
    """The start's density cancels, so that one clip range means the same with every start."""
    observation, chain = torch.randn(6, 3), torch.randn(6, 5, 4)
    ratios = []
    for start in STARTS:
        old, new = (
            ChainDistribution(started(make_sde, start, seed=seed, chain={"logp_clamp": None}), observation)
            for seed in (0, 1)
        )
        ratios.append(new.logp(chain) - old.logp(chain))
    assert ratios[0].abs().min() > 1e-3
    torch.testing.assert_close(ratios[0], ratios[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ratios[0], ratios[2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [2, 4, 10])
def test_zero_start_and_a_drift_that_forgets_the_start_have_the_same_second_point(make_sde, steps: int) -> None:
    """At t = 0 the velocity is `m(o) - x`; alpha(0) = K - 1 then gives `x_1 = dt m(o)`, as x_0 = 0 without a drift."""
    forgets = {"strength": "constant", "value": 1.0, "scale": steps - 1.0, "clip": None}
    chain = {"denoising_steps": steps, "mean_clip": None}
    drifting = make_sde("constant_alpha", score=forgets, chain=chain)
    plain = started(make_sde, "zero", variant="reinflow", chain=chain)
    target = torch.nn.Linear(3, 4)

    class ToTarget(torch.nn.Module):
        time_features = plain.velocity.time_features

        def forward(self, x, t, observation, step_size=0.0):
            return (target(observation) - x) / (1 - t)

    drifting.velocity = plain.velocity = ToTarget()
    observation = torch.randn(7, 3)
    random_start = ChainDistribution(drifting, observation).sample(explore=False)
    zero_start = ChainDistribution(plain, observation).sample(explore=False)
    assert (random_start[:, 0] - zero_start[:, 0]).abs().min() > 1e-4
    torch.testing.assert_close(random_start[:, 1], zero_start[:, 1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(zero_start[:, 1], target(observation) / steps, rtol=1e-5, atol=1e-5)


def test_a_learned_start_is_no_parameter_and_others_have_none(make_sde) -> None:
    sde = started(make_sde, "learned")
    assert "start" in sde.state_dict()
    assert "start" not in dict(sde.named_parameters())
    assert "start" not in make_sde().state_dict()
    assert ChainConfig.model_validate({"denoising_steps": 4}, context=STORED).start == "normal"
