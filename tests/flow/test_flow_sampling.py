"""Time grid and chain sampling: one grid, clipped means, clamped draws, deterministic modes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from rllib_scoreflow.flow.config import VARIANTS
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.processes import GaussianDenoising, Transition
from rllib_scoreflow.flow.time_grid import time_grid

STOCHASTIC = sorted(set(VARIANTS) - {"flow"})
# Their drift is there for the noise's sake: without exploration they follow the flow.
COUPLED = {"flow_sde", "cps", "ddim", "dppo"}


class RecordingSDE(GaussianDenoising):
    """Remembers the times and transitions it was asked for."""

    def transition(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float) -> Transition:
        step = super().transition(x, t, observation, dt)
        self.__dict__.setdefault("calls", []).append((t, dt, step))
        return step


class RecordingOperators(TorchDispatchMode):
    """Remembers the names of the operators that torch carries out; those that convert only the type are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if operator._schema.name != "aten::_to_copy" or kwargs.get("device") is not None:
            self.names.add(operator._schema.name)
        return operator(*args, **kwargs)


# Each of them waits for the device or goes between it and the host, whichever device it is.
SYNCHRONISING = {"aten::_local_scalar_dense", "aten::_to_copy", "aten::copy_", "aten::lift_fresh", "aten::nonzero"}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, derandomize=True)
@given(steps=st.integers(1, 512))
def test_grid_is_k_over_K_without_1(steps: int) -> None:
    times = time_grid(steps)
    assert times.dtype == torch.float32
    assert times.tolist() == pytest.approx([k / steps for k in range(steps)], abs=1e-7)
    assert times[0] == 0
    assert times.max() < 1
    assert times[-1].item() == pytest.approx(1 - 1 / steps, abs=1e-7)


@pytest.mark.parametrize("steps", [1, 4, 7])
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_sampling_visits_the_grid_once(make_sde, variant: str, steps: int) -> None:
    steps = 2 if (variant, steps) == ("cps", 1) else steps
    sde = make_sde(variant, sde_class=RecordingSDE, chain={"denoising_steps": steps})
    chain = ChainDistribution(sde, torch.randn(5, 3)).sample(generator=generator())
    assert chain.shape == (5, steps + 1, 4)
    drawn = time_grid(steps)[: len(sde.random_steps(steps))]
    assert [t.unique().item() for t, _, _ in sde.calls] == drawn.tolist()
    assert {dt for _, dt, _ in sde.calls} == {1 / steps}


@pytest.mark.parametrize("steps", [4, 7])
@pytest.mark.parametrize("variant", STOCHASTIC)
def test_evaluate_repeats_the_transitions_of_sampling(make_sde, variant: str, steps) -> None:
    sde = make_sde(variant, sde_class=RecordingSDE, chain={"denoising_steps": steps})
    distribution = ChainDistribution(sde, torch.randn(6, 3, generator=generator(1)))
    chain = distribution.sample(generator=generator())
    sampled = [step for _, _, step in sde.calls]
    evaluated = distribution.evaluate(chain)
    close = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(evaluated.mean, torch.stack([s.mean for s in sampled], 1), **close)
    torch.testing.assert_close(evaluated.std, torch.stack([s.std for s in sampled], 1), **close)
    if "w" in evaluated.details:
        w = torch.cat([s.details["w"][0] for s in sampled])
        torch.testing.assert_close(evaluated.details["w"][0, :, 0], w, **close)


@pytest.mark.parametrize("variant", sorted(COUPLED))
def test_without_exploration_a_published_coupling_follows_the_flow(make_sde, variant: str) -> None:
    distribution = ChainDistribution(make_sde(variant), torch.randn(6, 3))
    initial = torch.randn(6, 4)
    quiet = distribution.sample(initial=initial, explore=False)[:, -1]
    assert torch.equal(quiet, distribution.sample_flow(initial=initial))
    assert (quiet - distribution.sample(initial=initial)[:, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("variant", sorted(set(STOCHASTIC) - COUPLED))
def test_deterministic_chain_is_the_chain_of_means(make_sde, variant: str) -> None:
    distribution = ChainDistribution(make_sde(variant), torch.randn(6, 3))
    chain = distribution.sample(explore=False)
    torch.testing.assert_close(chain[:, 1:], distribution.evaluate(chain).mean)


def test_evaluate_keeps_rows_and_steps_apart(make_sde) -> None:
    """A change in one stored value moves the mean of its own row and step only."""
    distribution = ChainDistribution(make_sde(), torch.randn(3, 3))
    chain = 0.1 * torch.randn(3, 5, 4)
    changed = chain.clone()
    changed[1, 2] += 0.05
    moved = (distribution.evaluate(changed).mean != distribution.evaluate(chain).mean).any(dim=-1)
    expected = torch.zeros(3, 4, dtype=torch.bool)
    expected[1, 2] = True
    assert torch.equal(moved, expected)


def test_flow_variant_integrates_the_velocity_by_euler(make_sde) -> None:
    sde = make_sde("flow", chain={"mean_clip": None})
    observation, initial = torch.randn(5, 3), torch.randn(5, 4)
    x = initial
    for k in range(4):
        x = x + 0.25 * sde.velocity(x, torch.full((5, 1), k / 4), observation)
    distribution = ChainDistribution(sde, observation)
    torch.testing.assert_close(distribution.sample(initial=initial)[:, -1], x)
    torch.testing.assert_close(distribution.sample_flow(initial=initial), x)


@pytest.mark.parametrize("variant", STOCHASTIC)
def test_sample_flow_ignores_score_and_noise(make_sde, variant: str) -> None:
    sde, flow = make_sde(variant), make_sde("flow")
    flow.velocity.load_state_dict(sde.velocity.state_dict())
    observation, initial = torch.randn(5, 3), torch.randn(5, 4)
    actual = ChainDistribution(sde, observation).sample_flow(initial=initial)
    expected = ChainDistribution(flow, observation).sample(initial=initial)[:, -1]
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("variant", ["scoreflow", "score_sde"])
def test_deterministic_mode_keeps_the_score_drift(make_sde, variant: str) -> None:
    distribution = ChainDistribution(make_sde(variant), torch.randn(5, 3))
    initial = 0.3 * torch.randn(5, 4, generator=generator())
    modulated = distribution.sample(initial=initial, explore=False)[:, -1]
    assert (modulated - distribution.sample_flow(initial=initial)).abs().max() > 1e-3


def test_action_noise_draws_and_scores_the_last_step_alone(make_sde) -> None:
    sde = make_sde("reinflow", chain={"random_steps": "last", "mean_clip": None, "logp_clamp": None})
    observation, initial = torch.randn(6, 3), torch.randn(6, 4)
    distribution = ChainDistribution(sde, observation)
    chain, other = (distribution.sample(initial=initial, generator=generator(seed)) for seed in (0, 1))
    assert torch.equal(chain[:, :4], other[:, :4])
    assert (chain[:, 4] != other[:, 4]).all()
    for k in range(3):
        euler = chain[:, k] + 0.25 * sde.velocity(chain[:, k], torch.full((6, 1), k / 4), observation)
        torch.testing.assert_close(chain[:, k + 1], euler)
    evaluation = distribution.evaluate(chain)
    last = torch.distributions.Normal(evaluation.mean[:, 0], evaluation.std[:, 0])
    start = torch.distributions.Normal(torch.zeros(6, 4), 1.0)
    for found, expected in (
        (evaluation.logp, last.log_prob(chain[:, 4]) + start.log_prob(initial)),
        (evaluation.entropy, last.entropy() + start.entropy()),
    ):
        torch.testing.assert_close(found, expected.sum(-1) / (2 * 4))


def test_untrained_steps_are_those_of_the_lead_and_are_not_scored(make_sde) -> None:
    """DPPO: the first steps are the clone's for good, and a chain is what comes behind them."""
    sde = make_sde("dppo", velocity={"kind": "epsilon"}, chain={"denoising_steps": 4, "tuned_steps": 3})
    assert sde.lead is not None
    assert set(sde.networks()) == {"velocity", "alpha"}
    assert not any(parameter.requires_grad for parameter in sde.lead.parameters())
    observation, initial = torch.randn(6, 3), torch.randn(6, 4)
    distribution = ChainDistribution(sde, observation)
    chain, logp = distribution.sample_with_logp(initial=initial, generator=generator())
    assert chain.shape == (6, 4, 4)
    first = sde.lead.transition(initial, torch.zeros(6, 1), observation, 0.25)
    z = torch.randn(6, 4, generator=generator()).clamp(-3, 3)
    torch.testing.assert_close(chain[:, 0], first.mean + first.std * z)
    torch.testing.assert_close(distribution.logp(chain), logp)
    trained = sde.transition(chain[:, 0], torch.full((6, 1), 0.25), observation, 0.25)
    torch.testing.assert_close(distribution.evaluate(chain).mean[:, 0], trained.mean)
    assert not torch.allclose(
        trained.mean, sde.lead.transition(chain[:, 0], torch.full((6, 1), 0.25), observation, 0.25).mean
    )
    # At another number of steps the lead takes the same share of the time.
    assert [ChainDistribution(sde, observation, steps).first for steps in (1, 2, 8, 20)] == [0, 0, 2, 5]
    # Without exploration too, and the regulariser goes on from where chains begin.
    quiet = distribution.sample(initial=initial, explore=False)
    torch.testing.assert_close(quiet[:, 0], sde.lead.flow_step(initial, torch.zeros(6, 1), observation, 0.25))
    flow = distribution.sample_flow(initial=initial)
    torch.testing.assert_close(distribution.sample_flow(initial=quiet[:, 0], behind_lead=True), flow)


@pytest.mark.parametrize("bound", [0.5, 3.0])
def test_draws_stay_within_draw_clip_standard_deviations(make_sde, bound: float) -> None:
    sde = make_sde(chain={"draw_clip": bound})
    distribution = ChainDistribution(sde, torch.zeros(2000, 3))
    chain = distribution.sample(generator=generator())
    evaluation = distribution.evaluate(chain)
    deviation = ((chain[:, 1:] - evaluation.mean) / evaluation.std).abs()
    assert deviation.max().item() == pytest.approx(bound, abs=1e-4)
    tail = 2 * torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(-bound)).item()
    assert (deviation > bound - 1e-4).float().mean().item() == pytest.approx(tail, rel=0.25)


@pytest.mark.parametrize("variant", STOCHASTIC)
def test_unclamped_draws_are_standard_normal_around_the_mean(make_sde, variant: str) -> None:
    """Also that sigma is the deviation of a whole step, not multiplied by sqrt(dt)."""
    sde = make_sde(variant, chain={"draw_clip": None})
    distribution = ChainDistribution(sde, torch.zeros(5000, 3))
    chain = distribution.sample(generator=generator(3))
    evaluation = distribution.evaluate(chain)
    z = (chain[:, 1 : 1 + len(evaluation.steps)] - evaluation.mean) / evaluation.std
    standard_error = z.numel() ** -0.5
    assert abs(z.mean().item()) < 4 * standard_error
    assert abs(z.var().item() - 1) < 4 * 2**0.5 * standard_error
    assert z.abs().max() > 3.5


def test_mean_clip_bounds_means_but_not_draws(make_sde) -> None:
    observation, initial = torch.randn(500, 3), 5 * torch.randn(500, 4, generator=generator())
    bounded = ChainDistribution(make_sde(chain={"mean_clip": 0.5}), observation)
    chain = bounded.sample(initial=initial, generator=generator())
    assert bounded.evaluate(chain).mean.abs().max().item() == pytest.approx(0.5)
    assert chain[:, 1:].abs().max() > 0.5
    assert torch.equal(chain[:, 0], initial)
    assert bounded.sample_flow(initial=initial).abs().max() <= 0.5
    free = ChainDistribution(make_sde(chain={"mean_clip": None}), observation)
    assert free.evaluate(chain).mean.abs().max() > 0.5


def test_same_generator_state_gives_the_same_chain(make_sde) -> None:
    distribution = ChainDistribution(make_sde(), torch.randn(5, 3))
    chains = [distribution.sample(generator=generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(chains[0], chains[1])
    assert not torch.equal(chains[0], chains[2])


def test_initial_draw_is_standard_normal(make_sde) -> None:
    x = ChainDistribution(make_sde(), torch.zeros(5000, 3)).initial_draw(generator())
    assert x.shape == (5000, 4)
    assert abs(x.mean().item()) < 4 * 20000**-0.5
    assert abs(x.var().item() - 1) < 4 * (2 / 20000) ** 0.5


@pytest.mark.parametrize("kind", ["flow", "shortcut", "meanflow"])
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_denoising_steps_neither_copy_to_nor_wait_for_the_host(make_sde, variant: str, kind: str) -> None:
    distribution = ChainDistribution(make_sde(variant, velocity={"kind": kind}), torch.randn(5, 3), 4)
    initial = distribution.initial_draw()
    with torch.no_grad(), RecordingOperators() as operators:
        distribution.sample(initial=initial)
    assert "aten::addmm" in operators.names
    assert not operators.names & SYNCHRONISING
