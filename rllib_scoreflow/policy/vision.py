"""Image encoder of pixel policies, shared in kind by actor and critic."""

from typing import Any

import torch
from torch import nn

from rllib_scoreflow.flow.config import VisionConfig
from rllib_scoreflow.observations import IMAGES, STATE
from rllib_scoreflow.policy.metadata import PolicyConfig
from rllib_scoreflow.policy.normalizer import MinMaxNormalizer


class SpatialEmbedding(nn.Module):
    """Summarises patch features, beside the state vector: `[B, P, E]` and `[B, O]` -> `[B, feature_dim]`.

    Each channel's map of `P` patches is projected together with the state; learned weights then mix the channels, so
    that the summary keeps where something is, which pooling would lose.
    """

    def __init__(self, num_patches: int, embed_dim: int, state_dim: int, feature_dim: int) -> None:
        """Creates the projection of maps and state, and the weights of the channels."""
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(num_patches + state_dim, feature_dim), nn.LayerNorm(feature_dim), nn.ReLU()
        )
        self.weight = nn.Parameter(torch.empty(1, embed_dim, feature_dim))
        nn.init.normal_(self.weight)
        self.norm = nn.LayerNorm(feature_dim)

    def forward(self, patches: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """The summary `[B, feature_dim]` of patch features `[B, P, E]`, given normalised states `[B, O]`."""
        maps = patches.transpose(1, 2)
        states = state.unsqueeze(1).expand(-1, maps.shape[1], -1)
        projected = self.project(torch.cat([maps, states], dim=-1))
        summary: torch.Tensor = self.norm((self.weight * projected).sum(dim=1))
        return summary


class ImageEncoder(nn.Module):
    """Camera images and state to features: uint8 `[B, V, H, W, 3]`, float32 `[B, O]` -> `[B, V * feature_dim]`.

    One vision transformer serves all cameras; each camera has a spatial embedding of its own (the encoder of the
    peers' pixel policies, arXiv 2409.00588, appendix).

    Attributes:
        output_dim: `V * feature_dim`.
    """

    def __init__(self, num_cameras: int, image_size: tuple[int, int], state_dim: int, config: VisionConfig) -> None:
        """Creates the encoder.

        Raises:
            ValueError: If images of this size are smaller than one patch.
        """
        super().__init__()
        self.patches = nn.Sequential(
            nn.Conv2d(3, config.embed_dim, config.patch_size, stride=config.patch_stride),
            nn.GELU(),
            nn.Conv2d(config.embed_dim, config.embed_dim, 3, stride=2),
        )
        grid = [((side - config.patch_size) // config.patch_stride - 2) // 2 + 1 for side in image_size]
        if min(grid) < 1:
            raise ValueError(f"images of {image_size[0]} x {image_size[1]} pixels are too small for these patches")
        num_patches = grid[0] * grid[1]
        self.position = nn.Parameter(0.02 * torch.randn(1, num_patches, config.embed_dim))
        layer = nn.TransformerEncoderLayer(
            config.embed_dim,
            config.num_heads,
            dim_feedforward=4 * config.embed_dim,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.transformer = nn.TransformerEncoder(
            layer, config.num_layers, norm=nn.LayerNorm(config.embed_dim), enable_nested_tensor=False
        )
        self.summaries = nn.ModuleList(
            SpatialEmbedding(num_patches, config.embed_dim, state_dim, config.feature_dim) for _ in range(num_cameras)
        )
        self.output_dim = num_cameras * config.feature_dim

    def forward(self, images: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Features `[B, V * feature_dim]` of uint8 images `[B, V, H, W, 3]` and normalised states `[B, O]`."""
        batch, cameras = images.shape[:2]
        pixels = images.flatten(0, 1).permute(0, 3, 1, 2).to(state.dtype) / 255.0 - 0.5
        patches = self.patches(pixels).flatten(2).transpose(1, 2) + self.position
        encoded = self.transformer(patches).view(batch, cameras, *patches.shape[1:])
        summaries = [summary(encoded[:, v], state) for v, summary in enumerate(self.summaries)]
        return torch.cat(summaries, dim=-1).float()


def make_encoder(config: PolicyConfig) -> ImageEncoder | None:
    """The encoder of a policy of this shape, None for one without cameras."""
    if config.image_size is None:
        return None
    return ImageEncoder(len(config.cameras), config.image_size, config.observation_dim, config.vision)


def encode(normalizer: MinMaxNormalizer, encoder: ImageEncoder | None, observation: Any) -> torch.Tensor:
    """Features of raw observations: `[B, O]` normalised, behind the image features where there is an encoder.

    Args:
        normalizer: Of the state.
        encoder: Of the images, or None.
        observation: float32 `[B, O]`, or the dictionary of `state` and `images`.
    """
    if encoder is None:
        return normalizer.normalize(observation)
    state = normalizer.normalize(observation[STATE])
    return torch.cat([encoder(observation[IMAGES], state), state], dim=-1)


def shift_images(images: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Shifts every image by whole pixels, repeating its border; same shape and dtype.

    Args:
        images: `[B, V, H, W, 3]`, any dtype.
        shifts: Rows and columns by which each camera of each sample is shifted, int64 `[B, V, 2]`.
    """
    height, width = images.shape[2:4]
    flat, by = images.flatten(0, 1), shifts.flatten(0, 1)
    rows = (torch.arange(height, device=images.device) + by[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + by[:, 1:]).clamp(0, width - 1)
    index = torch.arange(len(flat), device=images.device)[:, None, None]
    return flat[index, rows[:, :, None], columns[:, None, :]].view_as(images)
