"""Every variant x kind of velocity x observation x random steps x start x precision that is allowed, by the registries.

For each: the probability ratio is 1 before the first update in three iterations, gradients reach every learned network,
and the file that is exported answers as torch does.
"""

import itertools
import zlib

import gymnasium as gym
import numpy as np
import onnxruntime
import pytest
import torch
from pydantic import ValidationError
from ray.rllib.core.columns import Columns

from rllib_scoreflow.algorithms.common.rl_module import module_spec
from rllib_scoreflow.flow.config import (
    VARIANTS,
    SDEConfig,
    VelocityConfig,
    VisionConfig,
    apply_chain,
    apply_variant,
    default_tuned_steps,
)
from rllib_scoreflow.flow.kinds import KINDS, Draws
from rllib_scoreflow.observations import IMAGES, STATE
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig
from rllib_scoreflow.policy.onnx_export import _Denoiser, export_onnx

OWN_KINDS = ("flow", "shortcut", "meanflow", "epsilon")
STOCHASTIC = sorted(set(VARIANTS) - {"flow"})
OBSERVED, RANDOM_STEPS, STARTS = ("state", "pixels"), ("all", "one", "last"), ("normal", "zero", "learned")
PRECISIONS = ("float32", "bfloat16")
CHOICES = tuple(itertools.product(OBSERVED, RANDOM_STEPS, STARTS, PRECISIONS))
ROWS, ITERATIONS = 16, 3


def config_of(variant: str, kind: str, random_steps: str, start: str, steps: int | None) -> SDEConfig:
    """As ScoreFlow makes it of a clone of that kind; with `steps` a shorter chain, whose graph is smaller."""
    score, noise = apply_variant(variant)
    velocity = VelocityConfig(kind=kind, hidden_dim=16, num_layers=2, activation="mish", time_dim=8)
    own = {"logp_clamp": None, "start": start}
    if random_steps != "all":
        own["random_steps"] = random_steps
    if steps is not None:
        own["denoising_steps"] = steps
        if "tuned_steps" in VARIANTS[variant].chain:
            own["tuned_steps"] = 1
        # A larger drift than the first one tells a graph without it clearly apart.
        score = score.model_copy(update={"scale": 4.0})
    number = apply_chain(variant, own | {"tuned_steps": None}).denoising_steps
    chain = apply_chain(
        variant, {"tuned_steps": default_tuned_steps(velocity, number), **VARIANTS[variant].chain, **own}
    )
    return SDEConfig(velocity=velocity, score=score, noise=noise, chain=chain)


def build_policy(variant: str, kind: str, observed: str, random_steps: str, start: str, *, steps=None):
    """The policy, or None where the combination is refused."""
    try:
        sde = config_of(variant, kind, random_steps, start, steps)
    except ValidationError:
        return None
    cameras = {"cameras": ("front",), "image_size": (32, 40)} if observed == "pixels" else {}
    vision = VisionConfig(embed_dim=16, num_heads=2, feature_dim=8)
    config = PolicyConfig(observation_dim=3, action_dim=2, horizon=2, act_steps=1, vision=vision, sde=sde, **cameras)
    bounds = {"observation": np.ones(3, np.float32), "action": np.ones(2, np.float32)}
    ends = {f"{name}_{end}": sign * value for name, value in bounds.items() for end, sign in (("low", -1), ("high", 1))}
    torch.manual_seed(0)
    policy = FlowPolicy(config, **ends)
    if policy.sde.start is not None:
        policy.sde.start.copy_(torch.linspace(-1.0, 1.0, len(policy.sde.start)))
    return policy.eval()


def build_module(policy: FlowPolicy, precision: str):
    spec = module_spec(policy, critic={"hidden_dim": 8, "num_layers": 1}, behavior_coeff=0.0, precision=precision)
    spec.observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    return spec.build()


def build(variant: str, kind: str, choice: tuple[str, str, str, str]):
    """The module, or None where the combination is refused."""
    *what, precision = choice
    policy = build_policy(variant, kind, *what)
    return None if policy is None else build_module(policy, precision)


def observations(observed: str, rows: int = ROWS):
    state = torch.rand((rows, 3)) * 2.0 - 1.0
    if observed == "state":
        return state
    return {STATE: state, IMAGES: torch.randint(0, 256, (rows, 1, 32, 40, 3), dtype=torch.uint8)}


def check(module, choice: tuple[str, str, str, str]) -> None:
    observed, *_, precision = choice
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
            check(module, choice)
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
            check(module, choice)
    assert refused < len(CHOICES) or build(variant, kind, CHOICES[0]) is None


def clone_a_little(policy: FlowPolicy, observed: str) -> None:
    """Some gradient steps of cloning, after which estimates of the data, hence actions, lie within their bounds."""
    velocity, draws = policy.sde.velocity, Draws(torch.Generator().manual_seed(0), torch.device("cpu"))
    kind, dim = policy.config.sde.velocity.make_kind(), policy.config.chunk_dim
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(velocity.parameters(), lr=1e-2)
    with torch.no_grad():
        features = policy.features(observations(observed, 64))
    for _ in range(60):
        chunk = 0.3 * torch.randn(64, dim)
        error = kind.error(velocity, features, chunk, kind.draw(draws, 64, dim, 0.25)).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    if policy.sde.lead is not None:
        policy.sde.lead.velocity.load_state_dict(velocity.state_dict())


EXPORTED: dict[tuple[str, ...], onnxruntime.InferenceSession] = {}
"""Files by the graph that they were traced from: that of many variants is the plain flow's, and is exported once."""


def exported(policy: FlowPolicy, file, start: str) -> onnxruntime.InferenceSession:
    inputs = [torch.rand(3, 3), *([torch.rand(3, 4)] if start == "normal" else [])]
    if policy.encoder is not None:
        inputs.insert(1, torch.zeros((3, 1, 32, 40, 3), dtype=torch.uint8))
    steps, kind = policy.config.sde.chain.denoising_steps, policy.config.sde.velocity.kind
    graph = (torch.export.export(_Denoiser(policy, steps).eval(), tuple(inputs)).graph_module.code, kind, start)
    if graph not in EXPORTED:
        about = export_onnx(policy, file)
        assert (about["kind"], about["start"], about["denoising_steps"]) == (kind, start, str(steps))
        EXPORTED[graph] = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return EXPORTED[graph]


def check_export(file, variant: str, kind: str, observed: str, start: str) -> None:
    """The file of one combination agrees with the policy of every one that differs in random steps or precision.

    So does that of another variant whose graph is the same, with the same weights. Random steps and precision are how
    an update explores and computes. What is exported does not explore, and its weights are float32: so all of them give
    the same actions to the last bit, and one file stands for all.
    """
    policies = {steps: build_policy(variant, kind, observed, steps, start, steps=2) for steps in RANDOM_STEPS}
    allowed = {steps: policy for steps, policy in policies.items() if policy is not None}
    first = next(iter(allowed.values()))
    clone_a_little(first, observed)
    session = exported(first, file, start)
    for rows in (1, 33):
        seen = observations(observed, rows)
        given = {name: value.numpy() for name, value in (seen if isinstance(seen, dict) else {STATE: seen}).items()}
        initial = np.random.default_rng(rows).standard_normal((rows, 4), np.float32) if start == "normal" else None
        inputs = given if initial is None else given | {"noise": initial}
        assert [one.name for one in session.get_inputs()] == list(inputs)
        found = session.run(["actions"], inputs)[0].reshape(rows, 4)
        expected = first.act(given if observed == "pixels" else given[STATE], initial=initial)
        # The first of two steps of a noise predictor multiplies what its output is rounded by by 285.
        np.testing.assert_allclose(found, expected, atol=3e-4 if kind == "epsilon" else 1e-5, rtol=0)
        assert rows == 1 or np.mean(np.abs(expected) < 0.99) > 0.1  # the bounds of an action do not hide a difference
        for policy, precision in itertools.product(allowed.values(), PRECISIONS):
            module = build_module(policy, precision)
            module.policy.load_state_dict(first.state_dict())
            again = module.policy.eval().act(given if observed == "pixels" else given[STATE], initial=initial)
            np.testing.assert_array_equal(again, expected)


BY_DEFAULT = {("ddim", "epsilon", "state", "learned"), ("flow_sde", "shortcut", "state", "normal")}


@pytest.mark.parametrize(
    ("variant", "kind", "observed", "start"),
    [
        pytest.param(*case, marks=() if case in BY_DEFAULT else pytest.mark.slow)
        for case in itertools.product(sorted(VARIANTS), OWN_KINDS, OBSERVED, STARTS)
    ],
)
def test_the_exports_of_all_combinations(tmp_path, variant: str, kind: str, observed: str, start: str) -> None:
    check_export(tmp_path / "policy.onnx", variant, kind, observed, start)
