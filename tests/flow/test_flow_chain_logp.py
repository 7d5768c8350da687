"""Log-probability, entropy and KL of chains against torch.distributions, one step at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from rllib_scoreflow.flow.config import VARIANTS
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.processes import GaussianDenoising

STOCHASTIC = sorted(set(VARIANTS) - {"flow"})
RAW = {"normalize_logp": False, "logp_clamp": None}
NORMALIZED = {"normalize_logp": True, "logp_clamp": None}


def transitions(
    sde: GaussianDenoising, chain: torch.Tensor, observation: torch.Tensor
) -> list[tuple[Normal, torch.Tensor]]:
    """Factors of the density and their values: the initial draw, then the random transitions."""
    steps = chain.shape[1] - 1
    factors = [(Normal(torch.zeros_like(chain[:, 0]), 1.0), chain[:, 0])]
    for k in sde.random_steps(steps):
        t = torch.full((chain.shape[0], 1), k / steps)
        step = sde.transition(chain[:, k], t, observation, 1.0 / steps)
        factors.append((Normal(step.mean, step.std), chain[:, k + 1]))
    return factors


def reference_logp(sde: GaussianDenoising, chain: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
    factors = transitions(sde, chain, observation)
    return torch.stack([normal.log_prob(x).sum(-1) for normal, x in factors]).sum(0)


def draw(sde: GaussianDenoising, batch: int, seed: int = 0) -> tuple[ChainDistribution, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    observation = torch.randn(batch, 3, generator=generator)
    distribution = ChainDistribution(sde, observation)
    return distribution, distribution.sample(generator=generator)


@pytest.mark.parametrize("variant", STOCHASTIC)
@settings(deadline=None, derandomize=True, max_examples=10)
@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 12), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
def test_logp_is_the_sum_over_the_steps(make_sde, variant: str, shape: tuple[int, int, int], seed: int) -> None:
    steps, dim, batch = shape
    steps = max(steps, 2) if variant == "cps" else steps  # its last step has no noise
    sde = make_sde(variant, chunk_dim=dim, seed=seed, chain={**RAW, "denoising_steps": steps})
    distribution, chain = draw(sde, batch, seed)
    expected = reference_logp(sde, chain, distribution.observation)
    evaluation = distribution.evaluate(chain)
    torch.testing.assert_close(evaluation.raw_logp, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(evaluation.logp, evaluation.raw_logp, rtol=0, atol=0)
    torch.testing.assert_close(distribution.logp(chain), evaluation.logp)
    assert evaluation.logp_divisor == 1
    assert evaluation.logp_clamp_rate == 0


def test_logp_of_any_chain_not_only_of_drawn_ones(make_sde) -> None:
    sde = make_sde(chain=RAW)
    distribution, _ = draw(sde, 7)
    chain = torch.randn(7, 5, 4, generator=torch.Generator().manual_seed(5))
    expected = reference_logp(sde, chain, distribution.observation)
    torch.testing.assert_close(distribution.logp(chain), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("variant", STOCHASTIC)
@pytest.mark.parametrize("chain_options", [RAW, NORMALIZED, {"normalize_logp": True, "logp_clamp": 0.5}])
def test_logp_kept_while_drawing_is_that_of_the_chain(make_sde, variant: str, chain_options: dict) -> None:
    sde = make_sde(variant, chain=chain_options)
    distribution, _ = draw(sde, 7)
    generator = torch.Generator().manual_seed(3)
    state = generator.get_state()
    kept, logp = distribution.sample_with_logp(generator=generator)
    torch.testing.assert_close(logp, distribution.logp(kept), rtol=1e-6, atol=1e-5)
    generator.set_state(state)
    torch.testing.assert_close(kept, distribution.sample(generator=generator), rtol=0, atol=0)


def test_normalized_logp_counts_the_initial_draw_as_a_step(make_sde) -> None:
    sde = make_sde(chain={**NORMALIZED, "denoising_steps": 4})
    distribution, chain = draw(sde, 7)
    evaluation = distribution.evaluate(chain)
    assert evaluation.logp_divisor == (4 + 1) * 4
    torch.testing.assert_close(evaluation.logp, evaluation.raw_logp / ((4 + 1) * 4))
    expected = reference_logp(sde, chain, distribution.observation) / ((4 + 1) * 4)
    torch.testing.assert_close(evaluation.logp, expected, rtol=1e-5, atol=1e-5)


def test_clamp_bounds_the_scaled_logp_and_counts_hits(make_sde) -> None:
    free, clamped = make_sde(chain=NORMALIZED), make_sde(chain={"logp_clamp": 0.3})
    distribution, chain = draw(free, 200)
    logp = distribution.logp(chain)
    hits = logp.abs() > 0.3
    assert 0 < hits.sum() < 200
    evaluation = ChainDistribution(clamped, distribution.observation).evaluate(chain)
    torch.testing.assert_close(evaluation.logp, logp.clamp(-0.3, 0.3))
    assert evaluation.logp_clamp_rate.item() == pytest.approx(hits.float().mean().item())
    far = chain + 50.0 * torch.arange(5.0).view(1, 5, 1)
    assert distribution.logp(far).max() < -1
    low = ChainDistribution(clamped, distribution.observation).evaluate(far)
    assert (low.logp == -0.3).all()
    assert low.logp_clamp_rate == 1


@pytest.mark.parametrize("chain_config", [RAW, NORMALIZED, {}], ids=["raw", "normalized", "default"])
@pytest.mark.parametrize("variant", STOCHASTIC)
def test_ratio_is_one_before_the_first_update(make_sde, variant: str, chain_config) -> None:
    """Hopper's chunk: log-probability at sampling against minibatches in another order."""
    sde = make_sde(variant, chunk_dim=12, chain=chain_config)
    distribution, chain = draw(sde, 32)
    # The transitions of sampling, one pass a step, in the precision of sampling.
    old = reference_logp(sde, chain, distribution.observation)
    if sde.config.chain.normalize_logp:
        old = old / ((len(sde.random_steps(4)) + 1) * 12)
    if sde.config.chain.logp_clamp is not None:
        old = old.clamp(-sde.config.chain.logp_clamp, sde.config.chain.logp_clamp)
    tolerance = 1e-5 if sde.config.chain.normalize_logp else 1e-4
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    for rows in [torch.arange(32), order, torch.tensor([3]), order[:11]]:
        new = ChainDistribution(sde, distribution.observation[rows]).logp(chain[rows])
        ratio = torch.exp(new - old[rows])
        torch.testing.assert_close(ratio, torch.ones(len(rows)), rtol=0, atol=tolerance)


@pytest.mark.parametrize("variant", STOCHASTIC)
def test_ratio_is_not_one_after_a_change_of_weights(make_sde, variant: str) -> None:
    sde = make_sde(variant)
    distribution, chain = draw(sde, 8)
    old = distribution.logp(chain).detach()
    with torch.no_grad():
        sde.velocity.trunk[-1].bias.add_(0.05)
    assert (torch.exp(distribution.logp(chain) - old) - 1).abs().min() > 1e-4


@pytest.mark.parametrize("variant", STOCHASTIC)
@pytest.mark.parametrize("normalize", [False, True])
def test_entropy_is_the_sum_of_the_gaussian_entropies(make_sde, variant: str, normalize: bool) -> None:
    sde = make_sde(variant, chain={"normalize_logp": normalize})
    distribution, chain = draw(sde, 7)
    factors = transitions(sde, chain, distribution.observation)
    # Normal(zeros, 1.) broadcasts its entropy to [B, D] like the others.
    expected = torch.stack([normal.entropy().sum(-1) for normal, _ in factors]).sum(0)
    if normalize:
        expected = expected / ((len(sde.random_steps(4)) + 1) * 4)
    torch.testing.assert_close(distribution.entropy(chain), expected, rtol=1e-5, atol=1e-5)


def test_entropy_is_minus_the_expected_logp(make_sde) -> None:
    """With constant sigma the entropy is the same for every chain; clamps would bias the draws."""
    sde = make_sde(noise={"kind": "constant"}, chain={**RAW, "draw_clip": None, "mean_clip": None})
    distribution, chain = draw(sde, 20000)
    logp = distribution.logp(chain)
    entropy = distribution.entropy(chain)
    torch.testing.assert_close(entropy, entropy[:1].expand(20000))
    standard_error = logp.std().item() / 20000**0.5
    assert abs(entropy[0].item() + logp.mean().item()) < 4 * standard_error


@pytest.mark.parametrize("variant", STOCHASTIC)
def test_kl_is_the_sum_of_the_gaussian_kls(make_sde, variant: str) -> None:
    sde, other = make_sde(variant, seed=0), make_sde(variant, seed=1)
    distribution, chain = draw(sde, 7)
    observation = distribution.observation
    pairs = zip(transitions(sde, chain, observation), transitions(other, chain, observation), strict=True)
    expected = torch.stack([kl_divergence(p, q).sum(-1) for (p, _), (q, _) in pairs]).sum(0)
    actual = distribution.kl(ChainDistribution(other, observation), chain)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    assert (actual > 0).all()
    torch.testing.assert_close(distribution.kl(distribution, chain), torch.zeros(7))


def test_kl_estimates_the_expected_log_ratio(make_sde) -> None:
    free = {**RAW, "draw_clip": None, "mean_clip": None}
    sde, other = make_sde(chain=free), make_sde(chain=free)
    with torch.no_grad():
        other.velocity.trunk[-1].bias.add_(0.2)
    distribution, chain = draw(sde, 20000)
    theirs = ChainDistribution(other, distribution.observation)
    with torch.no_grad():
        log_ratio = distribution.logp(chain) - theirs.logp(chain)
        difference = log_ratio - distribution.kl(theirs, chain)
    assert abs(difference.mean().item()) < 4 * difference.std().item() / 20000**0.5


def test_deterministic_flow_has_no_density(make_sde) -> None:
    sde = make_sde("flow")
    assert not sde.is_stochastic
    with pytest.raises(ValueError, match="no log-probability"):
        ChainDistribution(sde, torch.randn(2, 3)).evaluate(torch.randn(2, 5, 4))


def test_score_clip_rate_is_reported(make_sde) -> None:
    observation, chain = torch.randn(50, 3), 30.0 * torch.randn(50, 5, 4)
    clipped = ChainDistribution(make_sde(), observation).evaluate(chain)
    assert 0 < clipped.details["score_clip_rate"] < 1
    free = ChainDistribution(make_sde(score={"clip": None}), observation).evaluate(chain)
    assert free.details["score_clip_rate"] == 0
