"""A policy as an ONNX file: ONNX Runtime gives the actions that torch gives."""

import itertools
import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rllib_scoreflow.cli.main import run
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.config import (
    ChainConfig,
    NoiseConfig,
    ScoreConfig,
    SDEConfig,
    VelocityConfig,
    VisionConfig,
    apply_variant,
)
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig, PolicyMetadata
from rllib_scoreflow.policy.onnx_export import export_onnx, tolerance_of

STATE_DIM, A, H, K = 3, 2, 4, 2
CAMERAS, SIZE = ("front", "wrist"), (32, 40)


def make_policy(kind: str, seen: str, variant: str, action_high: float = 10.0) -> FlowPolicy:
    torch.manual_seed(0)
    score, noise = apply_variant(variant)
    # Starts near 0.13 of the score; a larger drift makes a graph without it fail clearly.
    score = score.model_copy(update={"scale": 4.0})
    velocity = VelocityConfig(kind=kind, hidden_dim=16, num_layers=2, activation="mish", time_dim=8)
    sde = SDEConfig(velocity=velocity, score=score, noise=noise, chain=ChainConfig(denoising_steps=K))
    config = PolicyConfig(
        observation_dim=STATE_DIM,
        action_dim=A,
        horizon=H,
        act_steps=3,
        cameras=CAMERAS if seen == "pixels" else (),
        image_size=SIZE if seen == "pixels" else None,
        vision=VisionConfig(embed_dim=16, num_heads=2, feature_dim=8),
        sde=sde,
    )
    return FlowPolicy(
        config,
        observation_low=np.array([-2.0, 0.0, 5.0], np.float32),
        observation_high=np.array([2.0, 100.0, 5.0], np.float32),
        action_low=np.array([-1.0, 0.0], np.float32),
        action_high=np.array([1.0, action_high], np.float32),
        metadata=PolicyMetadata(variant=variant, env_id="Toy-v0", dataset="toy", dataset_sha256="ab12"),
    )


def make_inputs(policy: FlowPolicy, rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    inputs = {"state": rng.normal([0.0, 50.0, 5.0], [1.0, 30.0, 0.1], (rows, STATE_DIM)).astype(np.float32)}
    if policy.encoder is not None:
        inputs["images"] = rng.integers(0, 256, (rows, len(CAMERAS), *SIZE, 3), dtype=np.uint8)
    return inputs | {"noise": rng.standard_normal((rows, H * A), dtype=np.float32)}


def torch_actions(policy: FlowPolicy, inputs: dict[str, np.ndarray], **options) -> np.ndarray:
    seen = {name: value for name, value in inputs.items() if name != "noise"}
    observation = seen if policy.encoder is not None else seen["state"]
    return policy.act(observation, initial=inputs["noise"], **options).reshape(-1, H, A)


@pytest.mark.parametrize("start", [pytest.param("zero", marks=pytest.mark.slow), "learned"])
def test_a_start_that_is_not_drawn_is_a_part_of_the_file(tmp_path, start: str) -> None:
    ticket = np.linspace(-1, 1, H * A, dtype=np.float32)
    policy = make_policy("flow", "state", "scoreflow").with_start(start, ticket if start == "learned" else None)
    about = export_onnx(policy, tmp_path / "policy.onnx")
    assert about["start"] == start
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["state"]
    initial = np.tile(ticket if start == "learned" else 0 * ticket, (5, 1))
    inputs = make_inputs(policy, 5)
    (found,) = session.run(["actions"], {"state": inputs["state"]})
    expected = torch_actions(make_policy("flow", "state", "scoreflow").eval(), inputs | {"noise": initial})
    np.testing.assert_allclose(scaled(found), scaled(expected), atol=1e-5, rtol=0)


def scaled(actions: np.ndarray) -> np.ndarray:
    return actions / np.array([1.0, 10.0], np.float32)


# An export takes seconds, so by default each kind, observation and drift is met once, and with -m slow all together.
BY_DEFAULT = (("flow", "state", "scoreflow"), ("shortcut", "pixels", "flow"), ("meanflow", "state", "score_sde_fixed"))


@pytest.mark.parametrize(
    ("kind", "seen", "variant"),
    [
        *BY_DEFAULT,
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in itertools.product(
                ("flow", "shortcut", "meanflow"), ("state", "pixels"), ("flow", "scoreflow", "score_sde_fixed")
            )
            if case not in BY_DEFAULT
        ),
    ],
)
def test_onnx_runtime_agrees_with_torch(tmp_path, kind: str, seen: str, variant: str) -> None:
    policy = make_policy(kind, seen, variant).eval()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    state = torch.random.get_rng_state()
    file = tmp_path / "policy.onnx"
    about = export_onnx(policy, file)
    assert torch.equal(state, torch.random.get_rng_state())  # an export in a run must not change what is drawn next
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]
    onnx.checker.check_model(onnx.load(file), full_check=True)
    assert b".py" not in file.read_bytes()  # nothing of the machine that wrote it

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == about
    assert {name: about[name] for name in ("kind", "variant", "horizon", "act_steps", "denoising_steps")} == {
        "kind": kind,
        "variant": variant,
        "horizon": "4",
        "act_steps": "3",
        "denoising_steps": "2",
    }
    assert (about["env_id"], about["dataset_sha256"]) == ("Toy-v0", "ab12")
    assert about.get("cameras") == ('["front", "wrist"]' if seen == "pixels" else None)
    for rows in (1, 2, 5, 33):
        inputs = make_inputs(policy, rows)
        (found,) = session.run(["actions"], inputs)
        assert found.shape == (rows, H, A)
        assert found.dtype == np.float32
        expected = torch_actions(policy, inputs)
        np.testing.assert_allclose(scaled(found), scaled(expected), atol=1e-5, rtol=0)
        if variant != "flow" and rows > 1:
            # The plain flow is told apart, so the agreement is about the variant's own drift.
            assert np.abs(scaled(torch_actions(policy, inputs, mode="flow") - found)).max() > 1e-2


def test_command_writes_a_checked_file_once(tmp_path, capsys) -> None:
    folder = make_policy("flow", "state", "scoreflow").save(tmp_path / "run" / "policy")
    file = tmp_path / "policy.onnx"
    command = ["policy", "export", str(folder.parent), "--output", str(file)]
    assert run([*command, "--denoising-steps", "1"]) == 2
    assert f"The drift of {folder} was trained with 2 denoising steps" in capsys.readouterr().err
    assert not file.exists()
    assert run([*command, "--denoising-steps", "1", "--variant", "flow", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["output"], said["denoising_steps"], said["action_dim"]) == (str(file), "1", "2")
    assert said["variant"] == "flow"

    policy = FlowPolicy.load(folder)
    inputs = make_inputs(policy, 4)
    (found,) = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, inputs)
    expected = torch_actions(policy, inputs, denoising_steps=1, mode="flow")
    np.testing.assert_allclose(scaled(found), scaled(expected), atol=1e-5, rtol=0)

    content = file.read_bytes()
    assert run(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert file.read_bytes() == content
    assert run([*command, "--overwrite", "--start", "zero"]) == 0
    assert f"{file}: state -> actions" in capsys.readouterr().out
    (found,) = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(
        None, {"state": inputs["state"]}
    )
    expected = torch_actions(policy, inputs | {"noise": 0 * inputs["noise"]})
    np.testing.assert_allclose(scaled(found), scaled(expected), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 3])
def test_a_contraction_is_exported_with_any_number_of_steps(tmp_path, steps: int) -> None:
    policy = make_policy("shortcut", "state", "scoreflow")
    score = ScoreConfig(form="contraction", value=0.2)
    policy = policy.with_dynamics(score, NoiseConfig(), policy.config.sde.chain, "scoreflow").eval()
    export_onnx(policy, tmp_path / "policy.onnx", denoising_steps=steps)
    inputs = make_inputs(policy, 4)
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, inputs)
    expected = torch_actions(policy, inputs, denoising_steps=steps)
    np.testing.assert_allclose(scaled(found), scaled(expected), atol=1e-5, rtol=0)
    if steps > 1:
        plain = torch_actions(policy, inputs, denoising_steps=steps, mode="flow")
        assert np.abs(scaled(plain - expected)).max() > 1e-2


@pytest.mark.parametrize(
    ("output", "words", "message"),
    [
        ("policy.pt", [], "choose one that ends in .onnx"),
        ("nowhere/policy.onnx", [], "does not exist; create it first"),
        ("policy.onnx", ["--denoising-steps", "0"], "--denoising-steps"),
        ("policy.onnx", ["--variant", "scoreflow"], "pretrained only"),
        ("policy.onnx", ["--variant", "flwo"], "did you mean 'flow'"),
        ("policy.onnx", ["--start", "zer"], "did you mean 'zero'"),
        ("policy.onnx", ["--start", "learned"], "has no learned start"),
    ],
)
def test_command_refuses_in_one_sentence(tmp_path, capsys, output: str, words: list[str], message: str) -> None:
    folder = make_policy("flow", "state", "flow").save(tmp_path / "policy")
    assert run(["policy", "export", str(folder), "--output", str(tmp_path / output), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_what_holds_no_policy_is_refused(tmp_path, capsys) -> None:
    assert run(["policy", "export", str(tmp_path), "--output", str(tmp_path / "policy.onnx")]) == 2
    assert "holds no policy" in capsys.readouterr().err


def test_a_file_that_deviates_is_not_written(tmp_path) -> None:
    policy = make_policy("flow", "state", "flow")
    with torch.no_grad():
        policy.sde.velocity.trunk[0].weight[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"differ from torch's by nan .* no file was written"):
        export_onnx(policy, tmp_path / "policy.onnx", denoising_steps=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "steps", "expected"),
    [("flow", 1, 1e-5), ("meanflow", 4, 1e-5), ("epsilon", 1, 406e-6), ("epsilon", 4, 153e-6), ("epsilon", 200, 1e-5)],
)
def test_what_a_step_multiplies_rounding_by_is_allowed_for(kind: str, steps: int, expected: float) -> None:
    """Of a noise predictor by `a(s) b / a - c` at `a = 0.0025`, `b = 1`; in float32 that is more than 1e-5."""
    assert tolerance_of(make_policy(kind, "state", "flow"), steps) == pytest.approx(expected, rel=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_noise_predictor_is_exported_in_spite_of_rounding(tmp_path, steps: int) -> None:
    for seed in range(3):
        policy = make_policy("epsilon", "state", "flow")
        with torch.no_grad():
            for weight in policy.sde.velocity.parameters():
                weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)))
        export_onnx(policy, tmp_path / f"{seed}.onnx", denoising_steps=steps)


def test_a_missing_package_is_named_and_ray_is_not_needed(tmp_path) -> None:
    folder = make_policy("flow", "state", "flow").save(tmp_path / "policy")
    code = f"""
import sys

class Without:  # an environment without the extra, and without Ray
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.split(".")[0] in ("onnxruntime", "ray")
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
from rllib_scoreflow.policy import FlowPolicy
from rllib_scoreflow.policy.onnx_export import export_onnx
export_onnx(FlowPolicy.load({str(folder)!r}), {str(tmp_path / "policy.onnx")!r})
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = ended.stderr.strip().splitlines()[-1]
    assert last.endswith("onnxruntime, not installed here; run `pip install 'rllib-scoreflow[onnx]'`."), ended.stderr
    assert not (tmp_path / "policy.onnx").exists()


def test_act_starts_where_it_is_told(tmp_path) -> None:
    policy = make_policy("flow", "state", "scoreflow")
    state = np.zeros((3, STATE_DIM), np.float32)
    noise = torch.randn(3, H * A, generator=torch.Generator().manual_seed(5))
    drawn = policy.act(state, generator=torch.Generator().manual_seed(5))
    np.testing.assert_array_equal(policy.act(state, initial=noise.numpy()), drawn)
    np.testing.assert_allclose(policy.act(state[1], initial=noise[1].numpy()), drawn[1], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"initial of shape \(8,\) .* give it the shape \(3, 8\)"):
        policy.act(state, initial=noise[0].numpy())
