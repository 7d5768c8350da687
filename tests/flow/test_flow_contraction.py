"""The drift as a contraction of the estimated noise, which means the same at every number of steps."""

from pathlib import Path

import pytest
import torch
import yaml
from pydantic import ValidationError

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.alpha import Alpha
from rllib_scoreflow.flow.config import STORED, VARIANTS, NoiseConfig, ScoreConfig, SDEConfig
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.kernel import Step
from rllib_scoreflow.flow.path import LINEAR
from rllib_scoreflow.flow.time_grid import time_grid


def step_at(t: torch.Tensor, dt: float) -> Step:
    return Step.on(LINEAR, t, dt)


FREE = {"mean_clip": None}
FORGET_THE_START = {"form": "contraction", "value": 0.0, "steps": "first"}


@pytest.mark.parametrize("kind", ["constant", "linear", "mlp"])
@pytest.mark.parametrize("steps", [1, 2, 4, 7])
@pytest.mark.parametrize("contraction", [0.0, 0.3, 1.0])
def test_a_step_keeps_this_share_of_the_noise(make_sde, kind: str, steps: int, contraction: float) -> None:
    """`x' = s D + contraction (1 - s) N` with `D = x + (1 - t) v`, `N = x - t v`, `s = t + dt`."""
    score = {"form": "contraction", "strength": kind, "value": contraction, "clip": None}
    sde = make_sde("scoreflow", score=score, chain=FREE | {"denoising_steps": steps}, perturbation=0.0)
    x, observation, dt = torch.randn(steps, 4), torch.randn(steps, 3), 1 / steps
    t = time_grid(steps).unsqueeze(-1)
    velocity = sde.velocity(x, t, observation)
    data, noise = x + (1 - t) * velocity, x - t * velocity
    expected = (t + dt) * data + contraction * (1 - t - dt) * noise
    torch.testing.assert_close(sde.transition(x, t, observation, dt).mean, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", range(1, 65))
def test_the_last_step_has_no_drift(steps: int) -> None:
    alpha = Alpha(ScoreConfig(form="contraction", value=0.0))(step_at(time_grid(steps).unsqueeze(-1), 1 / steps))
    assert alpha[-1] == 0
    assert (alpha[:-1] > 0).all()


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16])
def test_the_random_start_is_forgotten_at_every_number_of_steps(make_sde, steps: int) -> None:
    """The first step alone has a drift, after which nothing is left of `x_0`; with one step the flow itself does it."""
    sde = make_sde("constant_alpha", score=FORGET_THE_START | {"clip": None}, chain=FREE)
    t = time_grid(steps).unsqueeze(-1)
    alpha = sde.alpha(step_at(t, 1 / steps)).squeeze(-1)
    assert alpha.tolist() == pytest.approx([steps - 1.0] + [0.0] * (steps - 1))
    x, observation, zero = torch.randn(20, 4), torch.randn(20, 3), torch.zeros(20, 1)
    first = sde.transition(x, zero, observation, 1 / steps).mean
    torch.testing.assert_close(first, (x + sde.velocity(x, zero, observation)) / steps, rtol=1e-4, atol=1e-5)


def test_a_learned_contraction_starts_at_its_value_and_moves() -> None:
    strength = Alpha(ScoreConfig(form="contraction", value=0.0))
    t = time_grid(4).unsqueeze(-1)
    strength(step_at(t, 0.25)).sum().backward()
    assert strength.network is not None
    last = list(strength.network.parameters())[-1]
    assert last.grad is not None
    assert last.grad.item() > 0.1
    # However far it moves, a step turns the noise round by no more than it had.
    with torch.no_grad():
        last.fill_(50.0)
    alpha, rate = strength.with_clamp_rate(step_at(t, 0.25))
    torch.testing.assert_close(alpha.squeeze(-1), torch.tensor([6.0, 3.0, 1.0, 0.0]))
    assert rate == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"form": "contraction"}, "needs value"),
        ({"form": "contraction", "value": 1.2}, "from 0 to 1"),
        ({"form": "contraction", "value": 0.5, "scale": 2.0}, "scale belongs to form 'alpha'"),
        ({"form": "contraction", "value": 0.5, "decay": False}, "decay belongs to form 'alpha'"),
        ({"form": "contraction", "value": 0.5, "decay_power": 2.0}, "decay_power belongs to form 'alpha'"),
        ({"form": "alpha", "value": 3.0}, "raise scale, as in value: 1.5, scale: 2"),
        ({"strength": "constant", "value": 2.5, "scale": 3.0}, "raise scale, as in value: 1.5, scale: 5"),
        ({"value": 4.0, "decay": False}, "cannot be reached"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(values, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ScoreConfig(**values)


def test_the_remedies_for_an_unreachable_strength_reach_it() -> None:
    for value, scale in ((1.5, 2.0), (2.0, 1.5)):
        alpha = Alpha(ScoreConfig(strength="constant", value=value, scale=scale))(step_at(torch.zeros(1, 1), 0.25))
        assert alpha.item() == pytest.approx(3.0)


@pytest.mark.parametrize("score", [{"form": "contraction", "value": 0.5}, {"steps": "first"}])
def test_coupled_noise_needs_a_drift_at_every_step(score) -> None:
    with pytest.raises(ValidationError, match="needs a drift at every step"):
        SDEConfig(score=ScoreConfig(**score), noise=NoiseConfig(kind="coupled"))


def test_hits_of_the_clamp_are_counted(make_sde) -> None:
    sde = make_sde("scoreflow", score={"decay": False})
    distribution = ChainDistribution(sde, torch.randn(6, 3))
    chain = distribution.sample()
    assert distribution.evaluate(chain).details["alpha_clamp_rate"] == 0.0
    with torch.no_grad():
        list(sde.alpha.parameters())[-1].fill_(5.0)
    assert distribution.evaluate(chain).details["alpha_clamp_rate"] == 1.0
    # A score that no drift uses is not cut either.
    idle = ChainDistribution(make_sde("reinflow", score={"clip": 1e-3}), torch.randn(6, 3))
    assert idle.process.diagnostics(idle.evaluate(idle.sample()))["score_clip_rate"] == 0.0


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_an_absolute_drift_is_followed_with_its_own_number_of_steps(make_sde, variant: str) -> None:
    distribution = ChainDistribution(make_sde(variant), torch.randn(5, 3), 8)
    distribution.sample_flow()
    if VARIANTS[variant].score["strength"] == "none":
        distribution.sample()
        return
    with pytest.raises(InputError, match=r"trained with 4 .*--variant flow.*form: contraction"):
        distribution.sample()
    with pytest.raises(InputError, match="trained with 4"):
        distribution.evaluate(torch.randn(5, 9, 4))


def test_kitchens_drift_forgets_the_start_at_every_number_of_steps() -> None:
    file = Path(__file__).parents[2] / "tuned_examples" / "kitchen.yaml"
    score = ScoreConfig(**yaml.safe_load(file.read_text())["kitchen-finetune"]["config"]["score"])
    assert not score.depends_on_steps
    for steps in (1, 2, 4, 8):
        alpha = Alpha(score)(step_at(time_grid(steps).unsqueeze(-1), 1 / steps)).squeeze(-1)
        assert alpha.tolist() == pytest.approx([steps - 1.0] + [0.0] * (steps - 1))


@pytest.mark.parametrize("score", [{"form": "contraction", "value": 0.5}, {"strength": "constant", "value": 0.0}])
def test_a_contraction_or_no_drift_is_followed_with_any(make_sde, score) -> None:
    distribution = ChainDistribution(make_sde("scoreflow", score=score), torch.randn(5, 3), 8)
    assert distribution.evaluate(distribution.sample()).mean.shape == (5, 8, 4)


def test_a_stored_section_means_what_it_meant() -> None:
    """Of an artefact of before this release: no form, a strength that was cut, a shortcut's averaged score."""
    old = ScoreConfig.model_validate({"strength": "mlp", "value": 3.0}, context=STORED)
    assert (old.form, old.steps, old.shortcut_velocity) == ("alpha", "all", "averaged")
    strength = Alpha(old.model_copy(update={"strength": "constant"}))
    assert strength(step_at(torch.zeros(1, 1), 0.25)).item() == 2.0
    new = ScoreConfig(form="contraction", value=0.5)
    assert ScoreConfig.model_validate_json(new.model_dump_json(), context=STORED) == new
