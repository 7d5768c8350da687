"""Architecture of the networks and validation of their configuration."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from rllib_scoreflow.flow.config import (
    VARIANTS,
    ChainConfig,
    NoiseConfig,
    ScoreConfig,
    SDEConfig,
    VelocityConfig,
    apply_variant,
)
from rllib_scoreflow.flow.fields.mlp import ResidualBlock, TimeEmbedding, VelocityNetwork, residual_mlp
from rllib_scoreflow.flow.processes import GaussianDenoising
from rllib_scoreflow.flow.time_grid import time_grid


@pytest.mark.parametrize("num_layers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("activation", ["relu", "mish", "tanh"])
def test_velocity_has_as_many_hidden_layers_as_asked(num_layers: int, activation: str) -> None:
    config = VelocityConfig(hidden_dim=8, num_layers=num_layers, activation=activation)
    network = VelocityNetwork(3, (1, 6), config)
    out = network(torch.randn(5, 6), torch.rand(5, 1), torch.randn(5, 3))
    assert out.shape == (5, 6)
    assert out.dtype == torch.float32
    linear = [m for m in network.trunk.modules() if isinstance(m, nn.Linear)]
    assert len(linear) == num_layers + 1
    assert linear[0].in_features == 6 + 16 + 3


def test_an_output_bias_is_what_an_untrained_network_gives_about() -> None:
    network = residual_mlp(3, 1, 64, 3, "mish", output_bias=4.0)
    assert network[-1].bias.tolist() == [4.0]
    assert network(torch.randn(200, 3)).mean().item() == pytest.approx(4.0, abs=0.5)


def test_velocity_depends_on_all_its_inputs() -> None:
    torch.manual_seed(0)
    network = VelocityNetwork(3, (1, 6), VelocityConfig(hidden_dim=8, activation="tanh"))
    inputs = [torch.randn(5, 6), torch.rand(5, 1), torch.randn(5, 3)]
    base = network(*inputs)
    for i in range(3):
        moved = [x + 0.3 if i == j else x for j, x in enumerate(inputs)]
        assert (network(*moved) - base).abs().max() > 1e-4


def test_residual_block_adds_to_its_input() -> None:
    block, x = ResidualBlock(4, "relu"), torch.randn(5, 4)
    with torch.no_grad():
        block.layers[-1].weight.zero_()
        block.layers[-1].bias.fill_(0.5)
    torch.testing.assert_close(block(x), x + 0.5)


@pytest.mark.parametrize("time_dim", [2, 8, 16])
def test_time_embedding_tells_the_grid_points_apart(time_dim: int) -> None:
    torch.manual_seed(0)
    embedded = TimeEmbedding(time_dim)(time_grid(20).unsqueeze(-1))
    assert embedded.shape == (20, time_dim)
    distances = torch.cdist(embedded, embedded) + torch.eye(20)
    assert distances.min() > 1e-4


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_variant_builds_and_steps(variant: str) -> None:
    score, noise = apply_variant(variant)
    config = SDEConfig(velocity=VelocityConfig(hidden_dim=8), score=score, noise=noise)
    sde = GaussianDenoising(3, 4, config)
    step = sde.transition(torch.randn(5, 4), torch.full((5, 1), 0.5), torch.randn(5, 3), 0.25)
    assert step.mean.shape == step.std.shape == (5, 4)
    learned = {name.split(".")[0] for name, _ in sde.named_parameters()}
    assert learned == {
        "flow": {"velocity"},
        "reinflow": {"velocity", "noise"},
        "score_sde_fixed": {"velocity"},
        "score_sde": {"velocity", "alpha"},
        "constant_alpha": {"velocity", "noise"},
        "scoreflow": {"velocity", "alpha", "noise"},
        "flow_noise": {"velocity", "noise"},
        "action_noise": {"velocity", "noise"},
    }.get(variant, {"velocity"})
    assert ("w" not in step.details) == (variant in ("flow", "reinflow", "flow_noise", "action_noise"))
    assert (step.std == 0).all() == (variant == "flow")
    assert sde.is_stochastic == (variant != "flow")


def test_explicit_keys_win_over_the_variant() -> None:
    score, noise = apply_variant("constant_alpha", {"decay": False, "value": 0.3}, {"kind": "constant"})
    assert (score.strength, score.decay, score.value) == ("constant", False, 0.3)
    assert noise.kind == "constant"
    assert apply_variant("scoreflow", {"strength": "linear"})[0].strength == "linear"
    with pytest.raises(KeyError):
        apply_variant("scoreflw")
    with pytest.raises(ValidationError, match="gian"):
        apply_variant("scoreflow", {"gian": 1.0})


def test_defaults_are_the_published_values() -> None:
    config = SDEConfig()
    velocity, score, noise, chain = config.velocity, config.score, config.noise, config.chain
    assert (velocity.hidden_dim, velocity.num_layers, velocity.time_dim) == (512, 3, 16)
    assert (score.strength, score.scale, score.decay, score.clip) == ("mlp", 1.0, True, 10.0)
    assert (noise.kind, noise.hidden_dims) == ("learn", (64, 64))
    assert (chain.denoising_steps, chain.mean_clip, chain.draw_clip) == (4, 1.0, 3.0)
    assert (chain.normalize_logp, chain.logp_clamp) == (True, 1.0)


@pytest.mark.parametrize("section", [VelocityConfig, ScoreConfig, NoiseConfig, ChainConfig, SDEConfig])
def test_unknown_keys_are_refused_and_sections_are_frozen(section: type) -> None:
    with pytest.raises(ValidationError, match="unknown_key"):
        section(unknown_key=1)
    config = section()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, next(iter(section.model_fields)), None)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (NoiseConfig, {"sigma_min": 0.3, "sigma_max": 0.2}),
        (NoiseConfig, {"sigma_min": 0.0}),
        (NoiseConfig, {"sigma_max": float("inf")}),
        (NoiseConfig, {"kind": "learned"}),
        (NoiseConfig, {"hold_fraction": 1.1}),
        (ScoreConfig, {"value": -0.1}),
        (ScoreConfig, {"scale": float("nan")}),
        (ScoreConfig, {"clip": 0.0}),
        (ChainConfig, {"denoising_steps": 0}),
        (ChainConfig, {"denoising_steps": 2.5}),
        (ChainConfig, {"mean_clip": -1.0}),
        (VelocityConfig, {"num_layers": 0}),
        (VelocityConfig, {"time_dim": 5}),
        (VelocityConfig, {"activation": "selu"}),
    ],
)
def test_impossible_values_are_refused(section: type, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(reversed(values))):
        section(**values)


def test_equal_bounds_make_sigma_constant() -> None:
    config = SDEConfig(velocity=VelocityConfig(hidden_dim=8), noise=NoiseConfig(sigma_min=0.2, sigma_max=0.2))
    sde = GaussianDenoising(3, 4, config)
    step = sde.transition(torch.randn(5, 4), torch.rand(5, 1), torch.randn(5, 3), 0.25)
    torch.testing.assert_close(step.std, torch.full((5, 4), 0.2))


def test_configuration_survives_json() -> None:
    score, noise = apply_variant("constant_alpha", {"clip": None}, {"hidden_dims": (32,)})
    config = SDEConfig(score=score, noise=noise, chain=ChainConfig(draw_clip=None))
    assert SDEConfig.model_validate_json(config.model_dump_json()) == config
