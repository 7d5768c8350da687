"""What the SDE does to the density of a Gaussian target (method section 5).

With the exact velocity `v = m + c(t) (x - t m)` of a target `N(m, s^2)` every process here is
linear and Gaussian. Three predictions of the end variance are compared: Monte Carlo over
`ChainDistribution.sample`, the exact recursion of the discretised SDE, and the Fokker-Planck
equation. The last one is solved in closed form: the variance relative to the flow's, `r = var / q`
with `q = (1-t)^2 + t^2 s^2`, obeys `dr/dt = (g^2 - 2 alpha r) / q`, and
`integral_0^1 dt / q = pi / (2 s)`.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.kernel import Step
from rllib_scoreflow.flow.path import LINEAR
from rllib_scoreflow.flow.processes.gaussian import GaussianDenoising, marginal_preserving_alpha

TARGET_MEAN, TARGET_STD = 0.4, 0.5
STEPS = 400
DRAWS, DIM = 10000, 2
DIFFUSION = 0.3  # g^2 of the processes with constant noise
SIGMA = math.sqrt(DIFFUSION / STEPS)
ALPHA_STAR = DIFFUSION / 2
UNBOUNDED = {"mean_clip": None, "draw_clip": None, "denoising_steps": STEPS}


class GaussianVelocity(nn.Module):
    """Exact marginal velocity of the linear path from `N(0, I)` to `N(m, s^2 I)`."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, observation: torch.Tensor, dt: float) -> torch.Tensor:
        variance = (1.0 - t) ** 2 + t**2 * TARGET_STD**2
        return TARGET_MEAN + (t * TARGET_STD**2 - (1.0 - t)) / variance * (x - t * TARGET_MEAN)


def recursion(
    steps: int, alpha: Callable[[float], float], variance_step: Callable[[float], float]
) -> tuple[float, float]:
    """Exact mean and variance of `x_K`.

    `x -> A x + b + sigma z` maps `(mu, var)` to `(A mu + b, A^2 var + sigma^2)`.
    """
    mean, variance, dt = 0.0, 1.0, 1.0 / steps
    for k in range(steps):
        t = k / steps
        q = (1 - t) ** 2 + t**2 * TARGET_STD**2
        slope = (t * TARGET_STD**2 - (1 - t) - alpha(t)) / q
        mean += dt * (TARGET_MEAN + slope * (mean - t * TARGET_MEAN))
        variance = (1 + dt * slope) ** 2 * variance + variance_step(t)
    return mean, variance


def fokker_planck_variance(alpha: float) -> float:
    """End variance at constant `g^2 = DIFFUSION` and constant alpha."""
    duration = math.pi / (2 * TARGET_STD)
    if alpha == 0:
        return TARGET_STD**2 * (1 + DIFFUSION * duration)
    ratio = ALPHA_STAR / alpha
    return TARGET_STD**2 * (ratio + (1 - ratio) * math.exp(-2 * alpha * duration))


def moments(sde: GaussianDenoising, seed: int = 0) -> tuple[float, float]:
    sde.velocity = GaussianVelocity()  # type: ignore[assignment]
    distribution = ChainDistribution(sde, torch.zeros(DRAWS, 1))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        x = distribution.sample(generator=generator)[:, -1].double()
    return x.mean().item(), x.var().item()


def assert_monte_carlo(actual: tuple[float, float], expected: tuple[float, float]) -> None:
    """Within four standard errors of the sample mean and the sample variance of a Gaussian."""
    count = DRAWS * DIM
    assert abs(actual[0] - expected[0]) < 4 * math.sqrt(expected[1] / count)
    assert abs(actual[1] - expected[1]) < 4 * expected[1] * math.sqrt(2 / count)


def constant_noise(make_sde, alpha: float) -> GaussianDenoising:
    return make_sde(
        "constant_alpha",
        chunk_dim=DIM,
        observation_dim=1,
        score={"value": alpha, "decay": False, "clip": None},
        noise={"kind": "constant", "sigma_min": SIGMA, "sigma_max": SIGMA},
        chain=UNBOUNDED,
    )


@pytest.mark.parametrize(("factor", "direction"), [(0.0, 1), (0.5, 1), (1.0, 0), (2.0, -1), (6.0, -1)])
def test_constant_noise_changes_the_width_as_predicted(make_sde, factor: float, direction: int) -> None:
    alpha = factor * ALPHA_STAR
    discrete = recursion(STEPS, lambda t: alpha, lambda t: SIGMA**2)
    continuous = fokker_planck_variance(alpha)
    actual = moments(constant_noise(make_sde, alpha))
    assert_monte_carlo(actual, discrete)
    assert discrete[0] == pytest.approx(TARGET_MEAN, abs=1e-6)
    assert discrete[1] == pytest.approx(continuous, rel=0.01)
    change = actual[1] / TARGET_STD**2 - 1
    if direction:
        assert direction * change > 0.15
    else:
        assert_monte_carlo(actual, (TARGET_MEAN, TARGET_STD**2))


def test_plain_noise_without_score_widens_like_reinflow(make_sde) -> None:
    """`strength="none"` is alpha = 0, not a score of strength 0: `s^2 + g^2 s pi / 2`."""
    sde = make_sde(
        "reinflow",
        chunk_dim=DIM,
        observation_dim=1,
        noise={"kind": "constant", "sigma_min": SIGMA, "sigma_max": SIGMA},
        chain=UNBOUNDED,
    )
    predicted = TARGET_STD**2 + DIFFUSION * TARGET_STD * math.pi / 2
    assert predicted > 1.9 * TARGET_STD**2
    actual = moments(sde)
    assert_monte_carlo(actual, recursion(STEPS, lambda t: 0.0, lambda t: SIGMA**2))
    assert actual[1] == pytest.approx(predicted, rel=0.05)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0, 6.0])
def test_recursion_converges_to_fokker_planck(factor: float) -> None:
    """First order in dt: eight times the steps, about an eighth of the error."""
    alpha = factor * ALPHA_STAR
    errors = [
        abs(recursion(steps, lambda t: alpha, lambda t, n=steps: DIFFUSION / n)[1] - fokker_planck_variance(alpha))
        for steps in (1000, 8000)
    ]
    assert errors[1] < errors[0] / 7


@pytest.mark.parametrize("variant", ["score_sde_fixed", "score_sde"])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_coupled_noise_preserves_the_marginal(make_sde, variant: str, scale: float) -> None:
    sde = make_sde(
        variant,
        chunk_dim=DIM,
        observation_dim=1,
        score={"clip": None, "scale": scale},
        chain=UNBOUNDED,
    )

    with torch.no_grad():
        strengths = sde.alpha(Step.on(LINEAR, torch.arange(STEPS).unsqueeze(-1) / STEPS, 1 / STEPS)).flatten().tolist()

    def alpha(t: float) -> float:
        return float(strengths[round(t * STEPS)])

    assert alpha(0.0) > 0.1
    discrete = recursion(STEPS, alpha, lambda t: 2 * alpha(t) / STEPS)
    assert discrete[1] == pytest.approx(TARGET_STD**2, rel=0.01)
    actual = moments(sde)
    assert_monte_carlo(actual, discrete)
    assert_monte_carlo(actual, (TARGET_MEAN, TARGET_STD**2))


def test_coupled_noise_preserves_every_marginal_on_the_way(make_sde) -> None:
    sde = make_sde("score_sde_fixed", chunk_dim=DIM, observation_dim=1, score={"clip": None}, chain=UNBOUNDED)
    sde.velocity = GaussianVelocity()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        chain = ChainDistribution(sde, torch.zeros(DRAWS, 1)).sample(generator=generator)
    for k in range(0, STEPS + 1, 100):
        t = k / STEPS
        x = chain[:, k].double()
        expected = (t * TARGET_MEAN, (1 - t) ** 2 + t**2 * TARGET_STD**2)
        assert_monte_carlo((x.mean().item(), x.var().item()), expected)


def test_flow_maps_the_source_to_the_target(make_sde) -> None:
    sde = make_sde("flow", chunk_dim=DIM, observation_dim=1, chain=UNBOUNDED)
    actual = moments(sde)
    assert_monte_carlo(actual, recursion(STEPS, lambda t: 0.0, lambda t: 0.0))
    assert_monte_carlo(actual, (TARGET_MEAN, TARGET_STD**2))


def test_marginal_preserving_alpha_is_half_the_diffusion() -> None:
    std = torch.tensor([[0.1, SIGMA]])
    expected = torch.tensor([[0.01 / (2 * 0.25), SIGMA**2 / (2 * 0.25)]])
    torch.testing.assert_close(marginal_preserving_alpha(std, 0.25), expected)
    alpha_star = marginal_preserving_alpha(torch.tensor(SIGMA), 1 / STEPS).item()
    assert alpha_star == pytest.approx(ALPHA_STAR)
    assert fokker_planck_variance(alpha_star) == pytest.approx(TARGET_STD**2)


def test_coupled_transition_has_alpha_star(make_sde) -> None:
    """In the coupled variants alpha / alpha* is 1 at every step, for any K."""
    for variant in ("score_sde", "score_sde_fixed"):
        sde = make_sde(variant)
        for steps in (2, 4, 20):
            t = torch.rand(6, 1) * 0.95
            step = sde.transition(torch.randn(6, 4), t, torch.randn(6, 3), 1 / steps)
            star = marginal_preserving_alpha(step.std, 1 / steps)
            torch.testing.assert_close(star, sde.alpha(Step.on(LINEAR, t, 1 / steps)).expand(6, 4))


@pytest.mark.parametrize("steps", [2, 4, 10])
def test_a_first_strength_of_k_minus_one_forgets_the_start(make_sde, steps: int) -> None:
    """At t = 0 the velocity is `E[x_1] - x_0` and the score `-x_0`: `x_0` cancels at `alpha(0) = 1 / dt - 1`."""
    start, zero = torch.randn(100, DIM), torch.zeros(100, 1)
    spread = {}
    for alpha in (0.127, steps - 1.0):
        sde = make_sde(
            "constant_alpha",
            chunk_dim=DIM,
            observation_dim=1,
            score={"value": alpha / steps, "scale": float(steps), "decay_power": 12, "clip": None},
            noise={"kind": "constant"},
            chain={"mean_clip": None},
        )
        sde.velocity = GaussianVelocity()  # type: ignore[assignment]
        with torch.no_grad():
            mean = sde.transition(start, zero, zero, 1 / steps).mean
        spread[alpha] = (mean - TARGET_MEAN / steps).abs().max().item()
    assert spread[steps - 1.0] < 1e-5
    assert spread[0.127] > 0.3
