"""Image encoder, augmentation, and policies that see images."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rllib_scoreflow.flow.config import SDEConfig, VelocityConfig, VisionConfig
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig
from rllib_scoreflow.policy.vision import ImageEncoder, shift_images

SIZE = (32, 40)
VISION = VisionConfig(embed_dim=16, num_heads=2, feature_dim=8)


def pixel_policy(**velocity) -> FlowPolicy:
    torch.manual_seed(0)
    config = PolicyConfig(
        observation_dim=3,
        action_dim=2,
        cameras=("front", "wrist"),
        image_size=SIZE,
        vision=VISION,
        sde=SDEConfig(velocity=VelocityConfig(hidden_dim=16, **velocity)),
    )
    ones = np.ones(3, np.float32)
    return FlowPolicy(
        config, observation_low=-ones, observation_high=ones, action_low=-ones[:2], action_high=ones[:2]
    ).eval()


def observation(rows: int | None = 4, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    lead = () if rows is None else (rows,)
    return {
        "state": rng.standard_normal((*lead, 3)).astype(np.float32),
        "images": rng.integers(0, 256, (*lead, 2, *SIZE, 3), dtype=np.uint8),
    }


def test_features_depend_on_every_camera_and_on_the_state() -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder(2, SIZE, 3, VISION).eval()
    seen = observation()
    images, state = torch.from_numpy(seen["images"]), torch.from_numpy(seen["state"])
    features = encoder(images, state)
    assert features.shape == (4, encoder.output_dim) == (4, 16)
    for camera in range(2):
        changed = images.clone()
        changed[:, camera] = 255 - changed[:, camera]
        other = encoder(changed, state)
        own = slice(8 * camera, 8 * camera + 8)
        assert (other - features)[:, own].abs().max() > 1e-3
        rest = torch.ones(16, dtype=torch.bool)
        rest[own] = False
        torch.testing.assert_close(other[:, rest], features[:, rest])
    assert (encoder(images, state + 1.0) - features).abs().max() > 1e-3


def test_features_tell_where_something_is() -> None:
    """Averaging over patches would not: the same bright square, once left and once right."""
    torch.manual_seed(0)
    encoder = ImageEncoder(1, SIZE, 3, VISION).eval()
    images = torch.zeros(2, 1, *SIZE, 3, dtype=torch.uint8)
    images[0, 0, 8:24, 0:16] = 255
    images[1, 0, 8:24, 24:40] = 255
    features = encoder(images, torch.zeros(2, 3))
    assert (features[0] - features[1]).abs().max() > 1e-2


def test_images_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match="8 x 8 pixels are too small"):
        ImageEncoder(1, (8, 8), 3, VISION)


def test_shift_moves_whole_images_and_repeats_borders() -> None:
    images = torch.arange(6 * 5, dtype=torch.uint8).view(1, 1, 6, 5, 1).expand(64, 2, 6, 5, 3).contiguous()
    shifts = torch.randint(-2, 3, (64, 2, 2), generator=torch.Generator().manual_seed(0))
    shifted = shift_images(images, shifts)
    assert shifted.shape == images.shape
    assert shifted.dtype == torch.uint8
    padded = torch.nn.functional.pad(images[0, 0].permute(2, 0, 1).float()[None], (2, 2, 2, 2), mode="replicate")
    windows = {tuple(padded[0, 0, r : r + 6, c : c + 5].flatten().tolist()): (r, c) for r in range(5) for c in range(5)}
    found = {windows[tuple(image[..., 0].flatten().tolist())] for image in shifted.flatten(0, 1)}
    assert len(found) == 25  # every shift occurs among 128 draws, and nothing else
    torch.testing.assert_close(shift_images(images, torch.zeros_like(shifts)), images)


@pytest.mark.parametrize("kind", ["flow", "shortcut", "meanflow"])
def test_policy_acts_on_one_observation_and_on_many(kind: str) -> None:
    policy = pixel_policy(kind=kind)
    assert policy.act(observation()).shape == (4, 8)
    assert policy.act(observation(rows=None)).shape == (8,)


def test_policy_refuses_other_observations() -> None:
    policy = pixel_policy()
    seen = observation()
    with pytest.raises(ValueError, match=r"observations hold \['state'\], this policy needs \['images', 'state'\]"):
        policy.act(seen["state"])
    with pytest.raises(ValueError, match=r"\('images'\) do not fit this policy of \(2, 32, 40, 3\)"):
        policy.act({**seen, "images": seen["images"][:, :, :16]})


@pytest.mark.parametrize("kind", ["shortcut", "meanflow"])
def test_artefact_keeps_the_encoder(tmp_path, kind: str) -> None:
    policy = pixel_policy(kind=kind)
    loaded = FlowPolicy.load(policy.save(tmp_path / "policy"))
    assert loaded.config == policy.config
    for (name, mine), theirs in zip(policy.state_dict().items(), loaded.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, msg=name)


def test_cameras_and_size_come_together() -> None:
    with pytest.raises(ValidationError, match="must be given together"):
        PolicyConfig(observation_dim=3, action_dim=2, cameras=("front",))
    with pytest.raises(ValidationError, match="multiple of num_heads"):
        VisionConfig(embed_dim=10, num_heads=4)
