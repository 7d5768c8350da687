"""The kernel where everything is known: data that is one point, and Gaussian data."""

import math

import pytest
import torch

from rllib_scoreflow.flow.config import VARIANTS, SDEConfig, VelocityConfig, apply_chain, apply_variant
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.path import path_of
from rllib_scoreflow.flow.processes import GaussianDenoising

CENTRE, WIDTH = 0.4, 0.3
FREE = {"mean_clip": None, "data_clip": None, "tuned_steps": None}
STEPS = [2, 4, 10, 20]

pytestmark = pytest.mark.usefixtures("float64_default")


class Exact(torch.nn.Module):
    """What a perfectly trained network says for data `N(centre, width^2)`; the estimates are linear in `x`."""

    def __init__(self, config: VelocityConfig, centre: float, width: float) -> None:
        super().__init__()
        self.path, self.config, self.centre, self.width = path_of(config), config, centre, width

    def forward(self, x, t, observation, step_size=0.0):
        a, b = self.path.a(t), self.path.b(t)
        spread = (x - a * self.centre) / (a**2 * self.width**2 + b**2)
        data, noise = self.centre + a * self.width**2 * spread, b * spread
        return noise if self.config.kind == "epsilon" else data - noise

    def time_features(self, t, step_size):
        return torch.cat([t, t], dim=-1)


def build(variant: str, kind: str, steps: int, width: float, **sections) -> GaussianDenoising:
    score, noise = apply_variant(variant, {"clip": None} | sections.get("score", {}), sections.get("noise"))
    velocity = VelocityConfig(kind=kind, hidden_dim=4, time_dim=2)
    chain = apply_chain(variant, {**FREE, "denoising_steps": steps})
    process = GaussianDenoising(1, 1, SDEConfig(velocity=velocity, score=score, noise=noise, chain=chain))
    process.velocity = Exact(velocity, CENTRE, width)  # type: ignore[assignment]
    if process.noise is not None:
        with torch.no_grad():
            for parameter in list(process.noise.mlp.parameters())[-2:]:
                parameter.zero_()
    return process


def moments(process: GaussianDenoising, steps: int) -> list[tuple[float, float]]:
    """Mean and variance after every step, from a standard normal; the step is affine, so two points tell all."""
    mean, variance, found = 0.0, 1.0, []
    for k in range(steps):
        t = torch.full((2, 1), k / steps)
        step = process.transition(torch.tensor([[0.0], [1.0]]), t, torch.zeros(2, 1), 1.0 / steps)
        at_0, at_1 = step.mean.flatten().tolist()
        sigma = step.std[0].item() if k in process.random_steps(steps) else 0.0
        mean, variance = at_0 + (at_1 - at_0) * mean, (at_1 - at_0) ** 2 * variance + sigma**2
        found.append((mean, variance))
    return found


def marginals(process: GaussianDenoising, steps: int, width: float) -> list[tuple[float, float]]:
    """Mean and variance of the path itself."""
    times = [torch.tensor((k + 1) / steps) for k in range(steps)]
    shares = [(process.path.a(t).item(), process.path.b(t).item()) for t in times]
    return [(a * CENTRE, a**2 * width**2 + b**2) for a, b in shares]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("kind", ["flow", "epsilon"])
@pytest.mark.parametrize(
    ("variant", "noise"),
    [
        ("cps", {"noise_level": 0.3}),
        ("cps", {"noise_level": 1.0}),
        ("ddim", {"sigma_min": 1e-9}),
        ("ddim", {"sigma_min": 1e-9, "eta": 0.4}),
        ("flow", {}),
    ],
)
def test_data_of_one_point_is_reached_along_the_paths_marginals(variant: str, noise, kind: str, steps: int) -> None:
    process = build(variant, kind, steps, 0.0, noise=noise)
    found, expected = moments(process, steps), marginals(process, steps, 0.0)
    # The cosine path does not begin in pure noise: a quarter of a per cent of the data is there, and never comes.
    tolerance = 1e-9 if kind == "flow" else 4e-3
    for (mean, variance), (path_mean, path_variance) in zip(found, expected, strict=True):
        assert mean == pytest.approx(path_mean, abs=tolerance)
        assert variance == pytest.approx(path_variance, abs=tolerance)


@pytest.mark.parametrize("steps", STEPS)
def test_flow_sde_leaves_the_marginals_of_one_point(steps: int) -> None:
    process = build("flow_sde", "flow", steps, 0.0)
    found, expected = moments(process, steps), marginals(process, steps, 0.0)
    assert max(abs(one[1] - other[1]) for one, other in zip(found, expected, strict=True)) > 5e-3


def coefficients(variant: str, k: int, steps: int, alpha: float) -> tuple[float, float]:
    """`w` and `sigma` of the table in the method's section 10, on the linear path."""
    t, dt = k / steps, 1 / steps
    c = 1 - t - dt
    bounded = math.sqrt(0.10 * 0.24)  # a network that says 0 is in the middle of the logarithms
    if variant == "flow_sde":
        s = 0.5 * math.sqrt((1 - t) / (dt if k == 0 else t))
        return c - s**2 * dt / (2 * (1 - t)), s * math.sqrt(dt)
    if variant == "cps":
        return c * math.cos(math.pi / 4), c * math.sin(math.pi / 4)
    if variant in ("ddim", "dppo"):
        posterior = (c / (1 - t)) ** 2 * ((1 - t) ** 2 - (t / (t + dt) * c) ** 2)
        return math.sqrt(max(c**2 - posterior, 0.0)), max(math.sqrt(posterior), 0.10)
    w = c - alpha * (1 - t) * dt / (1 - t)
    if variant in ("score_sde", "score_sde_fixed"):
        return w, math.sqrt(2 * alpha * (1 - t) * dt)
    if variant == "action_noise":
        return c, bounded if k == steps - 1 else 0.0
    return (c, 0.0) if variant == "flow" else (c if variant in ("reinflow", "flow_noise") else w, bounded)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_gaussian_data_is_reached_by_the_closed_recursion(variant: str, steps: int) -> None:
    found = moments(build(variant, "flow", steps, WIDTH, noise={"noise_level": 0.5}), steps)
    mean, variance = 0.0, 1.0
    for k in range(steps):
        t, s = k / steps, (k + 1) / steps
        w, sigma = coefficients(variant, k, steps, alpha=0.127)
        total = t**2 * WIDTH**2 + (1 - t) ** 2
        slope = s * t * WIDTH**2 / total + w * (1 - t) / total
        mean = s * CENTRE + slope * (mean - t * CENTRE)
        variance = slope**2 * variance + sigma**2
        assert found[k] == pytest.approx((mean, variance), abs=1e-9)


@pytest.mark.parametrize("steps", STEPS)
def test_a_start_at_zero_and_a_drift_that_forgets_the_start_give_the_same_second_point(steps: int) -> None:
    absolute = {"value": (steps - 1) / steps, "scale": float(steps)}
    contraction = {"form": "contraction", "value": 0.0, "steps": "first"}
    observation, random = torch.zeros(5, 1), torch.randn(5, 1)
    points = []
    for variant, score in (("constant_alpha", absolute), ("constant_alpha", contraction), ("reinflow", {})):
        process = build(variant, "flow", steps, WIDTH, score=score)
        start = torch.zeros(5, 1) if variant == "reinflow" else random
        points.append(ChainDistribution(process, observation).sample(initial=start, explore=False)[:, 1])
    close = {"rtol": 1e-5, "atol": 1e-6}  # the grid is float32
    torch.testing.assert_close(points[0], points[2], **close)
    torch.testing.assert_close(points[1], points[2], **close)
    torch.testing.assert_close(points[2], torch.full((5, 1), CENTRE / steps), **close)
