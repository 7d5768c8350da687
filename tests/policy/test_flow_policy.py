"""The policy and its artefact, without Ray."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.config import STORED, ChainConfig, SDEConfig, VelocityConfig, apply_variant
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig, PolicyMetadata, find_policy, read_metadata
from rllib_scoreflow.policy.metadata import PolicyDescription
from rllib_scoreflow.policy.normalizer import MinMaxNormalizer

OBSERVATION_DIM, ACTION_DIM, HORIZON = 3, 2, 4


def small_policy(variant: str = "scoreflow") -> FlowPolicy:
    torch.manual_seed(0)
    score, noise = apply_variant(variant)
    config = PolicyConfig(
        observation_dim=OBSERVATION_DIM,
        action_dim=ACTION_DIM,
        horizon=HORIZON,
        act_steps=2,
        sde=SDEConfig(velocity=VelocityConfig(hidden_dim=16), score=score, noise=noise),
    )
    return FlowPolicy(
        config,
        observation_low=np.array([-2.0, 0.0, 5.0], np.float32),
        observation_high=np.array([2.0, 1.0, 5.0], np.float32),
        action_low=np.array([-1.0, 0.0], np.float32),
        action_high=np.array([1.0, 10.0], np.float32),
        metadata=PolicyMetadata(variant=variant, env_id="Toy-v0", dataset="toy", dataset_sha256="00"),
    )


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, 3, elements=st.floats(-100, 100, width=32)),
    hnp.arrays(np.float32, 3, elements=st.floats(0, 100, width=32)),
    st.integers(1, 4),
)
def test_normalizer_is_invertible_and_finite(low: np.ndarray, width: np.ndarray, horizon: int) -> None:
    normalizer = MinMaxNormalizer(low, low + width)
    values = torch.as_tensor(np.tile(low + 0.3 * width, (2, horizon)))
    normalized = normalizer.normalize(values)
    assert torch.isfinite(normalized).all()
    scale = 1.0 + float(np.abs(low).max() + width.max())
    torch.testing.assert_close(normalizer.denormalize(normalized), values, atol=1e-5 * scale, rtol=0.0)


def test_normalizer_maps_the_bounds_to_one_and_centres_constants() -> None:
    policy = small_policy()
    high = torch.tensor([[2.0, 1.0, 5.0]])
    torch.testing.assert_close(policy.observation_normalizer.normalize(high), torch.tensor([[1.0, 1.0, 0.0]]))


def test_actions_are_within_the_dataset_bounds_and_raw() -> None:
    policy = small_policy()
    actions = policy.act(np.zeros((50, OBSERVATION_DIM)), explore=True)
    assert actions.shape == (50, HORIZON * ACTION_DIM)
    steps = actions.reshape(50, HORIZON, ACTION_DIM)
    assert steps[..., 0].min() >= -1.0
    assert steps[..., 0].max() <= 1.0
    assert steps[..., 1].min() >= 0.0
    assert steps[..., 1].max() > 1.0  # denormalised: the second dimension spans [0, 10]


def test_act_takes_one_observation_and_refuses_another_dimension() -> None:
    policy = small_policy()
    assert policy.act(np.zeros(OBSERVATION_DIM)).shape == (HORIZON * ACTION_DIM,)
    with pytest.raises(ValueError, match=r"\(7, 9\) .* do not fit this policy of \(3,\)"):
        policy.act(np.zeros((7, 9)))


def test_modes_and_generator() -> None:
    policy = small_policy()
    observation = np.zeros((4, OBSERVATION_DIM))

    def act(**options: object) -> np.ndarray:
        return policy.act(observation, generator=torch.Generator().manual_seed(3), **options)

    np.testing.assert_array_equal(act(), act())
    assert not np.array_equal(act(), act(mode="flow"))
    assert not np.array_equal(act(), act(explore=True))
    assert not np.array_equal(act(mode="flow"), act(mode="flow", denoising_steps=7))


def test_artefact_round_trip(tmp_path) -> None:
    policy = small_policy()
    folder = policy.save(tmp_path / "policy")
    loaded = FlowPolicy.load(folder)
    assert loaded.config == policy.config
    assert loaded.metadata == policy.metadata
    for name, value in policy.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert find_policy(tmp_path) == folder
    assert read_metadata(folder).metadata.env_id == "Toy-v0"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["policy"]  # no staging folder is left


def test_save_does_not_overwrite_silently(tmp_path) -> None:
    small_policy().save(tmp_path / "policy")
    with pytest.raises(InputError, match="exists already"):
        small_policy().save(tmp_path / "policy")
    small_policy("reinflow").save(tmp_path / "policy", overwrite=True)
    assert FlowPolicy.load(tmp_path / "policy").metadata.variant == "reinflow"


def test_more_steps_than_a_chunk_has_are_refused() -> None:
    with pytest.raises(ValueError, match="act_steps is 5: choose 1 to horizon, which is 4"):
        PolicyConfig(observation_dim=3, action_dim=2, horizon=4, act_steps=5)


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing", "config", "chunk", "json", "version"])
def test_a_damaged_artefact_is_refused(tmp_path, damage: str) -> None:
    folder = small_policy().save(tmp_path / "policy")
    weights, description = folder / "policy.safetensors", folder / "policy.json"
    content = json.loads(description.read_text())
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "altered":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(bytes(data))
    elif damage == "missing":
        weights.unlink()
    elif damage == "config":
        content["config"]["observation_dim"] = 4
        description.write_text(json.dumps(content))
    elif damage == "chunk":
        content["config"]["act_steps"] = 5
        description.write_text(json.dumps(content))
    elif damage == "json":
        description.write_text("{")
    else:
        content["schema_version"] = 99
        description.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"policy\.(safetensors|json)") as error:
        FlowPolicy.load(folder)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_policy_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="is not a policy folder"):
        FlowPolicy.load(tmp_path)
    assert find_policy(tmp_path) is None


def test_fine_tuning_keeps_velocity_and_statistics_and_brings_its_own_dynamics() -> None:
    pretrained = small_policy("flow")
    score, noise = apply_variant("scoreflow")
    tuned = pretrained.with_dynamics(score, noise, ChainConfig(denoising_steps=3), "scoreflow")
    assert tuned.config.sde.chain.denoising_steps == 3
    for name, value in pretrained.state_dict().items():
        assert torch.equal(tuned.state_dict()[name], value), name
    assert tuned.sde.noise is not None
    again = tuned.with_dynamics(score, noise, ChainConfig(), "scoreflow")
    for name, value in tuned.sde.noise.state_dict().items():
        assert torch.equal(again.sde.noise.state_dict()[name], value)  # type: ignore[union-attr]


def test_fine_tuning_again_keeps_a_learned_drift_where_it_means_the_same() -> None:
    score, noise = apply_variant("scoreflow")
    tuned = small_policy("flow").with_dynamics(score, noise, ChainConfig(), "scoreflow")
    with torch.no_grad():
        list(tuned.sde.alpha.parameters())[-1].fill_(0.7)

    def first_bias(chain: ChainConfig, **changes: object) -> float:
        again = tuned.with_dynamics(score.model_copy(update=changes), noise, chain, "scoreflow")
        return float(list(again.sde.alpha.parameters())[-1].detach())

    assert first_bias(ChainConfig(), clip=5.0, value=0.5) == pytest.approx(0.7)
    assert first_bias(ChainConfig(denoising_steps=8)) == pytest.approx(-2.0, abs=0.01)
    assert first_bias(ChainConfig(), scale=2.0) == pytest.approx(-2.0, abs=0.01)
    assert first_bias(ChainConfig(), form="contraction", value=0.3) != pytest.approx(0.7)


def test_an_artefact_of_before_contractions_acts_as_it_did(tmp_path) -> None:
    """Without the new keys in its JSON, a shortcut model's score is the averaged one that it was trained with."""
    score, noise = apply_variant("scoreflow", {"shortcut_velocity": "averaged", "scale": 3.0})
    sde = SDEConfig(velocity=VelocityConfig(kind="shortcut", hidden_dim=16), score=score, noise=noise)
    policy = small_policy()
    torch.manual_seed(1)
    bounds = [np.full(3, -1.0, np.float32), np.full(3, 1.0, np.float32)]
    policy = FlowPolicy(
        policy.config.model_copy(update={"sde": sde}),
        observation_low=bounds[0],
        observation_high=bounds[1],
        action_low=bounds[0][:2],
        action_high=bounds[1][:2],
    )
    folder = policy.save(tmp_path / "policy")
    description = json.loads((folder / "policy.json").read_text())
    old = description["config"]["sde"]["score"]
    for key in ("form", "steps", "shortcut_velocity"):
        old.pop(key)
    loaded = PolicyDescription.model_validate(description, context=STORED)
    assert loaded.config == policy.config
    again = FlowPolicy.blank(loaded.config)
    again.load_state_dict(policy.state_dict())
    start, seen = np.ones((5, 8), np.float32), np.zeros((5, 3), np.float32)
    np.testing.assert_array_equal(again.act(seen, initial=start), policy.act(seen, initial=start))
    instantaneous = score.model_copy(update={"shortcut_velocity": "instantaneous"})
    now = policy.with_dynamics(instantaneous, noise, ChainConfig(), "scoreflow")
    assert np.abs(now.act(seen, initial=start) - policy.act(seen, initial=start)).max() > 1e-3


def test_a_policy_acts_without_ray(tmp_path) -> None:
    folder = small_policy().save(tmp_path / "policy")
    code = (
        "import sys, numpy as np\n"
        "from rllib_scoreflow.policy import FlowPolicy\n"
        f"print(FlowPolicy.load({str(folder)!r}).act(np.zeros(3)).shape)\n"
        "assert 'ray' not in sys.modules, 'ray was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(8,)"


@pytest.mark.parametrize("seed", range(3))
def test_no_action_lies_outside_the_range_of_the_dataset_by_rounding(seed):
    """Without a clip 35 % of random ranges are overshot, and an environment that asserts its space dies."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(-3.0, 0.0, 1000).astype(np.float32)
    high = (low + rng.uniform(0.01, 4.0, 1000)).astype(np.float32)
    config = PolicyConfig(observation_dim=1, action_dim=1000, horizon=1, act_steps=1)
    policy = FlowPolicy.blank(config)
    policy.action_normalizer = MinMaxNormalizer(low, high)
    for end, bound in ((-5.0, low), (5.0, high)):
        actions = policy.to_actions(torch.full((1, 1000), end))[0].numpy()
        assert (actions >= low).all()
        assert (actions <= high).all()
        np.testing.assert_allclose(actions, bound, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_with_the_names_of_an_earlier_version_loads() -> None:
    policy, other = small_policy(), small_policy()
    with torch.no_grad():
        list(policy.sde.alpha.parameters())[-1].fill_(0.7)
    earlier = {name.replace("sde.alpha.network.", "sde.strength.gain."): v for name, v in policy.state_dict().items()}
    assert earlier.keys() != policy.state_dict().keys()
    torch.nn.ModuleDict({"policy": other}).load_state_dict({f"policy.{name}": v for name, v in earlier.items()})
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in policy.state_dict().items())
