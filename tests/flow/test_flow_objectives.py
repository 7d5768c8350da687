"""Objectives against their formulas, written term by term."""

import math

import pytest
import torch

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.losses import clipped_surrogate_loss, trust_region_loss
from rllib_scoreflow.flow.objectives import OBJECTIVES, make_objective

ROWS, PAIRS, CLIP = 5, 3, 0.05
ADVANTAGES = torch.tensor([1.3, -0.7, 0.4, -2.0, 0.0])


def sampled(make_sde, variant="flow", **options):
    """A process, observations and chains that it has drawn."""
    sde = make_sde(variant, chain={"mean_clip": None}, **options)
    observation = torch.randn(ROWS, 3)
    distribution = ChainDistribution(sde, observation)
    return sde, distribution, distribution.sample().detach()


def moved(sde) -> None:
    with torch.no_grad():
        for parameter in sde.velocity.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))


def published_loss(errors_of, old, ratio: str, negative: str) -> float:
    """FPO (arXiv 2507.21053, equations 8 to 10) and FPO++ (arXiv 2602.02481), decision by decision."""
    total = 0.0
    for row in range(ROWS):
        advantage = float(ADVANTAGES[row])
        differences = [float(old[row][pair]) - float(errors_of(row, pair)) for pair in range(PAIRS)]
        if ratio == "mean":
            differences = [sum(differences) / PAIRS]
        values = []
        for difference in differences:
            rho = math.exp(difference)
            if advantage < 0.0 and negative == "trust_region":
                values.append(rho * advantage - abs(advantage) / (2.0 * CLIP) * (rho - 1.0) ** 2)
            else:
                values.append(min(rho * advantage, min(max(rho, 1.0 - CLIP), 1.0 + CLIP) * advantage))
        total -= sum(values) / len(values)
    return total


@pytest.mark.usefixtures("float64_default")
@pytest.mark.parametrize("ratio", ["pair", "mean"])
@pytest.mark.parametrize("negative", ["clip", "trust_region"])
def test_fpo_and_its_gradient_are_the_published_formula(make_sde, ratio: str, negative: str) -> None:
    sde, distribution, chain = sampled(make_sde)
    objective = make_objective({"type": "fpo", "pairs": PAIRS, "ratio": ratio, "negative": negative})
    columns = objective.draw(ROWS, chain.shape[2], torch.Generator().manual_seed(1))
    columns |= {
        name: c.detach() for name, c in objective.remember(objective.evaluate(distribution, chain, columns)).items()
    }
    noise, time = columns["fpo_noise"], columns["fpo_time"]

    def error(row: int, pair: int) -> torch.Tensor:
        t, z, a = time[row, pair], noise[row, pair], chain[row, -1]
        v = sde.velocity(((1.0 - t) * z + t * a)[None], t[None], distribution.observation[row][None])[0]
        return ((v - (a - z)) ** 2).mean()

    with torch.no_grad():
        old = [[error(row, pair) for pair in range(PAIRS)] for row in range(ROWS)]
    moved(sde)
    advantages = ADVANTAGES.double()

    def loss() -> torch.Tensor:
        evaluation = objective.evaluate(distribution, chain, columns)
        return objective.surrogate(sde, evaluation, columns, advantages, clip_range=CLIP, entropy_coeff=7.0).loss.sum()

    value = loss()
    with torch.no_grad():
        assert float(value) == pytest.approx(published_loss(error, old, ratio, negative), rel=1e-9)
    parameters = list(sde.velocity.parameters())
    gradient = torch.autograd.grad(value, parameters)
    step, directions = 1e-6, [torch.randn_like(parameter) for parameter in parameters]
    ends = []
    with torch.no_grad():
        for sign in (1.0, -1.0):
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.add_(sign * step * direction)
            ends.append(published_loss(error, old, ratio, negative))
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.sub_(sign * step * direction)
    slope = sum(float((g * d).sum()) for g, d in zip(gradient, directions, strict=True))
    assert slope == pytest.approx((ends[0] - ends[1]) / (2.0 * step), rel=1e-5)
    assert abs(slope) > 1e-3


@pytest.mark.parametrize(("name", "variant"), [("chain", "scoreflow"), ("fpo", "flow")])
def test_the_ratio_begins_at_one_and_moves(make_sde, name: str, variant: str) -> None:
    sde, _, _ = sampled(make_sde, variant)
    objective = make_objective({"type": name})
    distribution = ChainDistribution(sde, torch.randn(ROWS, 3))
    chain, columns = objective.sample(distribution)
    assert set(columns) == set(objective.SAMPLED)
    columns |= objective.draw(ROWS, chain.shape[2], torch.Generator().manual_seed(2))
    columns |= objective.remember(objective.evaluate(distribution, chain, columns))
    columns = {key: column.detach() for key, column in columns.items()}

    def metrics():
        evaluation = objective.evaluate(distribution, chain, columns)
        out = objective.surrogate(sde, evaluation, columns, ADVANTAGES, clip_range=CLIP, entropy_coeff=0.0)
        return {key: value.detach() for key, value in out.metrics.items()}

    first = metrics()
    assert float(first["ratio_error"].max()) == 0.0
    assert float(first["clip_fraction"].max()) == 0.0
    assert set(first) > objective.METRICS
    moved(sde)
    assert float(metrics()["ratio_error"].min()) > 1e-4


def test_every_share_of_what_is_drawn_is_the_same() -> None:
    """Several Learners draw for all rows and keep their own."""
    objective = make_objective({"type": "fpo", "pairs": PAIRS})
    one, two = (objective.draw(7, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    for name, column in one.items():
        assert torch.equal(column, two[name])
        assert column.shape[:2] == (7, PAIRS)
    assert float(one["fpo_time"].min()) >= 0.0
    assert float(one["fpo_time"].max()) < 1.0


def test_the_trust_region_leads_back_where_the_clip_has_no_gradient() -> None:
    """For a negative advantage the best ratio is 1 - clip in both; below it only one of them pulls."""
    ratios = torch.tensor([1.0 - 3.0 * CLIP, 1.0 - CLIP, 1.0, 1.0 + CLIP], requires_grad=True)
    advantages = torch.full((4,), -2.0)
    region = torch.autograd.grad(trust_region_loss(ratios, advantages, CLIP).sum(), ratios)[0]
    clipped = torch.autograd.grad(clipped_surrogate_loss(ratios, advantages, CLIP).sum(), ratios)[0]
    torch.testing.assert_close(region, torch.tensor([-4.0, 0.0, 2.0, 4.0]), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(clipped[[0, 2, 3]], torch.tensor([0.0, 2.0, 2.0]))


@pytest.mark.parametrize(
    ("name", "variant", "options", "words"),
    [
        ("chain", "flow", {}, ("has no noise", "'fpo'")),
        ("fpo", "scoreflow", {}, ("velocity alone", "'alpha'")),
        ("fpo", "reinflow", {}, ("velocity alone", "'sigma'")),
        ("fpo", "flow", {"velocity": {"kind": "shortcut"}}, ("shortcut", "kind 'flow'")),
        ("fpo", "flow", {"chain": {"start": "zero"}}, ("chain.start", "nothing to compare")),
        ("fpo", "flow", {"chain": {"tuned_steps": 2}}, ("tuned_steps", "null")),
    ],
)
def test_what_makes_no_sense_is_refused(make_sde, name, variant, options, words) -> None:
    with pytest.raises(InputError) as error:
        make_objective({"type": name}).check(make_sde(variant, **options), variant)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ("flow", {}),
        ("flow_sde", {"chain": {"start": "zero"}}),
        ("flow", {"noise": {"kind": "constant"}, "chain": {"start": "zero", "random_steps": "last"}}),
        ("flow", {"velocity": {"kind": "epsilon"}}),
    ],
)
def test_fpo_takes_every_way_to_explore_that_it_need_not_train(make_sde, variant: str, options) -> None:
    sde = make_sde(variant, **options)
    objective = make_objective({"type": "fpo", "pairs": PAIRS})
    objective.check(sde, variant)
    distribution = ChainDistribution(sde, torch.randn(ROWS, 3))
    chain, columns = objective.sample(distribution)
    assert columns == {}
    assert chain[:, -1].std(dim=0).min() > 0.0
    errors = objective.evaluate(distribution, chain, objective.draw(ROWS, chain.shape[2], torch.Generator()))
    assert errors.shape == (ROWS, PAIRS)
    assert torch.isfinite(errors).all()


def test_every_objective_is_described() -> None:
    for name, objective in OBJECTIVES.items():
        assert objective.__doc__, name
        assert make_objective({"type": name}).config == objective.CONFIG()
