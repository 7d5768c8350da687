"""Every variant x kind of velocity x observation x random steps x start x precision that is allowed, by the registries.

For each: the probability ratio is 1 before the first update in three iterations, and gradients reach every learned
network. Exports are compared with torch in `tests/policy/test_onnx_export.py`.
"""

import itertools
import zlib

import gymnasium as gym
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from ray.rllib.core.columns import Columns

from rllib_scoreflow.algorithms.common.rl_module import module_spec
from rllib_scoreflow.flow.config import VARIANTS, SDEConfig, VelocityConfig, VisionConfig, apply_chain, apply_variant
from rllib_scoreflow.flow.kinds import KINDS
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig

OWN_KINDS = ("flow", "shortcut", "meanflow", "epsilon")
STOCHASTIC = sorted(set(VARIANTS) - {"flow"})
CHOICES = tuple(
    itertools.product(
        ("state", "pixels"), ("all", "one", "last"), ("normal", "zero", "learned"), ("float32", "bfloat16")
    )
)
ROWS, ITERATIONS = 16, 3


def config_of(variant: str, kind: str, random_steps: str, start: str) -> SDEConfig:
    score, noise = apply_variant(variant)
    own = {"logp_clamp": None, "start": start}
    if random_steps != "all":
        own["random_steps"] = random_steps
    velocity = VelocityConfig(kind=kind, hidden_dim=16, num_layers=2, activation="mish", time_dim=8)
    return SDEConfig(velocity=velocity, score=score, noise=noise, chain=apply_chain(variant, own))


def build(variant: str, kind: str, choice: tuple[str, str, str, str]):
    """The module, or None where the combination is refused."""
    observed, random_steps, start, precision = choice
    try:
        sde = config_of(variant, kind, random_steps, start)
    except ValidationError:
        return None
    cameras = {"cameras": ("front",), "image_size": (32, 40)} if observed == "pixels" else {}
    vision = VisionConfig(embed_dim=16, num_heads=2, feature_dim=8)
    config = PolicyConfig(observation_dim=3, action_dim=2, horizon=2, act_steps=1, vision=vision, sde=sde, **cameras)
    bounds = {"observation": np.ones(3, np.float32), "action": np.ones(2, np.float32)}
    ends = {f"{name}_{end}": sign * value for name, value in bounds.items() for end, sign in (("low", -1), ("high", 1))}
    torch.manual_seed(0)
    policy = FlowPolicy(config, **ends)
    spec = module_spec(policy, critic={"hidden_dim": 8, "num_layers": 1}, behavior_coeff=0.0, precision=precision)
    spec.observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    return spec.build()


def observations(observed: str):
    state = torch.rand((ROWS, 3)) * 2.0 - 1.0
    if observed == "state":
        return state
    return {"state": state, "images": torch.randint(0, 256, (ROWS, 1, 32, 40, 3), dtype=torch.uint8)}


def check(module, kind: str, choice: tuple[str, str, str, str]) -> None:
    observed, random_steps, start, precision = choice
    policy = module.policy
    networks = dict(policy.sde.networks())
    if policy.encoder is not None:
        networks["encoder"] = policy.encoder
    trained = {name: list(network.parameters()) for name, network in networks.items()}
    trained = {name: parameters for name, parameters in trained.items() if parameters}
    assert "velocity" in trained
    reached = dict.fromkeys(trained, 0.0)
    for _ in range(ITERATIONS):
        batch = {Columns.OBS: observations(observed)}
        batch |= module.forward_exploration(batch)
        out = module.forward_train(batch)
        logp, old = out["evaluation"].logp, batch[Columns.ACTION_LOGP]
        if precision != "float32":  # as the Learner does
            with torch.no_grad():
                old = module.forward_train(batch)["evaluation"].logp
        assert float((logp.detach() - old).exp().sub(1.0).abs().max()) < (1e-5 if precision == "float32" else 1e-12)
        module.zero_grad()
        (torch.randn(ROWS) * logp + out["evaluation"].entropy).mean().backward()
        with torch.no_grad():
            for name, parameters in trained.items():
                gradients = [p.grad for p in parameters if p.grad is not None]
                assert all(torch.isfinite(gradient).all() for gradient in gradients), name
                reached[name] += sum(float(gradient.abs().sum()) for gradient in gradients)
                for parameter in parameters:
                    if parameter.grad is not None:
                        parameter -= 0.01 * parameter.grad
    if kind == "epsilon" and (random_steps, start) != ("all", "normal"):
        # An untrained noise predictor's estimate of the data lies beyond its bound, and few rows are left within.
        reached = {name: total for name, total in reached.items() if name not in ("velocity", "encoder")}
    assert all(total > 0.0 for total in reached.values()), reached


def test_the_kinds_are_those_of_the_registry() -> None:
    assert set(OWN_KINDS) <= set(KINDS)
    assert {name for name in KINDS if KINDS[name].__module__.startswith("rllib_scoreflow.")} == set(OWN_KINDS)


@pytest.mark.parametrize("kind", OWN_KINDS)
@pytest.mark.parametrize("variant", STOCHASTIC)
def test_some_combinations(variant: str, kind: str) -> None:
    """Of each variant and kind a few of the others, always the same ones."""
    allowed = 0
    for number in range(3):
        # Steps that share no divisor with the number of choices, from a place that depends on both names.
        place = (zlib.crc32(f"{variant}/{kind}".encode()) + 13 * number) % len(CHOICES)
        choice = CHOICES[place]
        module = build(variant, kind, choice)
        if module is not None:
            check(module, kind, choice)
            allowed += 1
    assert allowed or build(variant, kind, CHOICES[0]) is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", OWN_KINDS)
@pytest.mark.parametrize("variant", STOCHASTIC)
def test_all_combinations(variant: str, kind: str) -> None:
    refused = 0
    for choice in CHOICES:
        module = build(variant, kind, choice)
        if module is None:
            refused += 1
        else:
            check(module, kind, choice)
    assert refused < len(CHOICES) or build(variant, kind, CHOICES[0]) is None
