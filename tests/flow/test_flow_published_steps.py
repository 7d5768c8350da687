"""One step of every variant against its published formula, written here as it is published."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from rllib_scoreflow.flow.config import VARIANTS, SDEConfig, VelocityConfig, apply_chain, apply_variant
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.path import CosinePath
from rllib_scoreflow.flow.processes import GaussianDenoising

BATCH, OBSERVATION_DIM, DIM = 6, 3, 4
STEPS = [1, 2, 4, 10, 20]
LEVELS = 20
FREE = {"mean_clip": None, "tuned_steps": None}
CLOSE = {"rtol": 1e-6, "atol": 1e-6}

pytestmark = pytest.mark.usefixtures("float64_default")


class Given(torch.nn.Module):
    """A network whose output is known, whatever it is asked for."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, x, t, observation, step_size=0.0):
        return self.output

    def time_features(self, t, step_size):
        return torch.cat([t, 1.0 - t], dim=-1)


def build(variant: str, kind: str = "flow", score=None, noise=None, **chain) -> GaussianDenoising:
    score, noise = apply_variant(variant, score, noise)
    velocity = VelocityConfig(kind=kind, hidden_dim=4, time_dim=2, noise_levels=LEVELS)
    config = SDEConfig(velocity=velocity, score=score, noise=noise, chain=apply_chain(variant, {**FREE, **chain}))
    process = GaussianDenoising(OBSERVATION_DIM, DIM, config)
    with torch.no_grad():
        for parameter in process.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return process


def draw() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A point, the network's output there, and an observation."""
    return 1.5 * torch.randn(BATCH, DIM), torch.randn(BATCH, DIM), torch.randn(BATCH, OBSERVATION_DIM)


def step_of(process: GaussianDenoising, k: int, steps: int, drawn):
    x, output, observation = drawn
    process.velocity = Given(output)  # type: ignore[assignment]
    return process.transition(x, torch.full((BATCH, 1), k / steps), observation, 1.0 / steps)


def learned_alpha(process: GaussianDenoising, t: float) -> torch.Tensor:
    """`min((1 - t) g(t), 2)`, `g` with a softplus at its end (arXiv 2604.10962)."""
    g = torch.log1p(torch.exp(process.alpha.network(torch.tensor([[t]]))))
    return ((1 - t) * g).clamp(max=2.0).expand(BATCH, DIM)


def learned_sigma(process: GaussianDenoising, t: float, observation: torch.Tensor) -> torch.Tensor:
    """`exp(lv / 2)`, `lv` between the logarithms of both variances by `(tanh(u) + 1) / 2` (arXiv 2505.22094)."""
    u = process.noise.mlp(torch.cat([torch.tensor([[t, 1 - t]]).expand(BATCH, 2), observation], dim=-1))
    low, high = math.log(0.10**2), math.log(0.24**2)
    return ((low + (high - low) * (torch.tanh(u) + 1) / 2) / 2).exp()


def published(variant: str, process: GaussianDenoising, k: int, steps: int, drawn):
    """Mean and deviation of a step on the linear path."""
    x, v, observation = drawn
    dt, t = 1 / steps, k / steps
    score = (t * v - x) / (1 - t)
    zero = torch.zeros(BATCH, DIM)
    fixed = torch.full((BATCH, DIM), 0.127 * (1 - t))
    if variant in ("flow_sde", "cps"):  # RLinf counts from data (0) to noise (1), and its velocity points to the noise
        tau, grid = 1 - t, [*np.linspace(1, 1 / steps, steps), 0.0]
        data, noise = x + v * tau, x - v * (1 - tau)
        if variant == "cps":
            left = tau - dt
            mean = (1 - left) * data + left * math.cos(math.pi * 0.5 / 2) * noise
            return mean, zero + left * math.sin(math.pi * 0.5 / 2)
        sigma = 0.5 * math.sqrt(tau / (1 - (grid[1] if k == 0 else tau)))
        mean = (1 - (tau - dt)) * data + (tau - dt - sigma**2 * dt / (2 * tau)) * noise
        return mean, zero + sigma * math.sqrt(dt)
    alpha = {"scoreflow": learned_alpha, "score_sde": learned_alpha}.get(variant, lambda *_: zero)(process, t)
    if variant in ("constant_alpha", "score_sde_fixed"):
        alpha = fixed
    mean = x + (v + alpha * score) * dt
    if variant in ("score_sde", "score_sde_fixed"):
        return mean, (2 * alpha * dt).sqrt()
    return mean, zero if variant == "flow" else learned_sigma(process, t, observation)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in ("ddim", "dppo")])
def test_every_step_on_the_linear_path(variant: str, steps: int) -> None:
    steps = max(steps, 2) if variant == "cps" else steps
    process = build(variant, denoising_steps=steps, score={"clip": None})
    for k in range(steps):
        drawn = draw()
        found = step_of(process, k, steps, drawn)
        mean, std = published(variant, process, k, steps, drawn)
        torch.testing.assert_close(found.mean, mean, **CLOSE)
        torch.testing.assert_close(found.std, std, **CLOSE)


def scheduler_of(kind, steps: int, clip: float | None, **options):
    """A scheduler of diffusers for 20 levels; its table is replaced by the same in float64."""
    clipping = {"clip_sample": clip is not None, "clip_sample_range": clip or 1.0}
    scheduler = kind(LEVELS, beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing", **clipping, **options)
    scheduler.set_timesteps(steps)
    cumulative = [math.cos((i / LEVELS + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(LEVELS + 1)]
    betas = [min(1 - after / before, 0.999) for before, after in pairwise(cumulative)]
    exact = torch.cumprod(1.0 - torch.tensor(betas), dim=0)
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), exact, rtol=1e-4, atol=0)
    scheduler.alphas_cumprod = exact
    return scheduler


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("steps", STEPS)
def test_every_step_of_ddpm(steps: int, clip: float | None) -> None:
    process = build("dppo", "epsilon", noise={"sigma_min": 0.05}, denoising_steps=steps, data_clip=clip)
    scheduler = scheduler_of(DDPMScheduler, steps, clip)
    for k, level in enumerate(scheduler.timesteps.tolist()):
        drawn = x, epsilon, _ = draw()
        found = step_of(process, k, steps, drawn)
        reached = scheduler.step(epsilon, level, x, generator=torch.Generator().manual_seed(k)).prev_sample
        std = scheduler._get_variance(level).sqrt() if level > LEVELS // steps - 1 else torch.tensor(0.0)
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(k), dtype=x.dtype)
        # A schedule's last level leaves 0.25 % of the data, and the estimate is 400 times as uncertain as the noise.
        torch.testing.assert_close(found.mean, reached - std * z, **CLOSE)
        # DPPO's least deviation explores; it is not in the mean.
        torch.testing.assert_close(found.std, std.clamp(min=0.05).expand(BATCH, DIM), **CLOSE)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("steps", STEPS)
def test_every_step_of_ddim(steps: int, eta: float) -> None:
    process = build("ddim", "epsilon", noise={"sigma_min": 1e-9, "eta": eta}, denoising_steps=steps)
    scheduler = scheduler_of(DDIMScheduler, steps, 1.0)
    options = {"use_clipped_model_output": True, "eta": eta, "variance_noise": torch.zeros(BATCH, DIM)}
    for k, level in enumerate(scheduler.timesteps.tolist()):
        drawn = x, epsilon, observation = draw()
        found = step_of(process, k, steps, drawn)
        torch.testing.assert_close(found.mean, scheduler.step(epsilon, level, x, **options).prev_sample, **CLOSE)
        std = eta * scheduler._get_variance(level, level - LEVELS // steps).sqrt()
        torch.testing.assert_close(found.std, std.expand(BATCH, DIM), **CLOSE)
        quiet = process.quiet_step(x, torch.full((BATCH, 1), k / steps), observation, 1.0 / steps)
        plain = scheduler.step(epsilon, level, x, **{**options, "eta": 0.0}).prev_sample
        torch.testing.assert_close(quiet, plain, **CLOSE)


def test_the_cosine_path_keeps_its_variance_and_ends_in_the_data() -> None:
    path, t = CosinePath(LEVELS), torch.linspace(0, 1, 1001)
    torch.testing.assert_close(path.a(t) ** 2 + path.b(t) ** 2, torch.ones(1001))
    assert (path.a(t).diff() >= 0).all()
    assert (path.a(t)[-1].item(), path.b(t)[-1].item()) == (1.0, 0.0)
    assert 0.0 < path.a(t)[0] < 0.003
    single = path.b(torch.tensor([1.0, 0.99, 0.5], dtype=torch.float32))
    torch.testing.assert_close(single.double(), path.b(torch.tensor([1.0, 0.99, 0.5])), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["flow", "shortcut"])
@pytest.mark.parametrize("variant", ["reinflow", "score_sde_fixed", "score_sde", "constant_alpha", "scoreflow"])
def test_chains_that_commit_d508caa_drew(kind: str, variant: str) -> None:
    """Weights, chains and their evaluation, written before there was one kernel for all variants."""
    with np.load(Path(__file__).parent / "fixtures" / "chains-d508caa.npz") as file:
        key = f"{kind}/{variant}/"
        stored = {name.removeprefix(key): torch.from_numpy(file[name]) for name in file.files if name.startswith(key)}
    score, noise = apply_variant(variant, {"shortcut_velocity": "averaged"}, {"hidden_dims": (4,)})
    velocity = VelocityConfig(kind=kind, hidden_dim=6, time_dim=4)
    chain = apply_chain(variant, {"denoising_steps": 3, "logp_clamp": None})
    process = GaussianDenoising(2, 4, SDEConfig(velocity=velocity, score=score, noise=noise, chain=chain)).float()
    weights = {name.removeprefix("weights/"): value for name, value in stored.items() if name.startswith("weights/")}
    process.load_state_dict({name.replace("strength.gain.", "alpha.network."): v for name, v in weights.items()})
    distribution = ChainDistribution(process, stored["observation"])
    found = distribution.evaluate(stored["chain"])
    for name in ("logp", "entropy", "mean", "std"):
        torch.testing.assert_close(getattr(found, name), stored[name], **CLOSE)
    torch.testing.assert_close(found.raw_logp, stored["raw_logp"], rtol=1e-6, atol=1e-5)  # 16 numbers summed
    start = stored["chain"][:, 0]
    torch.testing.assert_close(distribution.sample_flow(initial=start), stored["flow"], **CLOSE)
    torch.testing.assert_close(distribution.sample(initial=start, explore=False)[:, -1], stored["quiet"], **CLOSE)
