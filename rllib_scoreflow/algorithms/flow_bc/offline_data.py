"""Action chunks for the Learners: index arithmetic on the dataset, or a Ray Data stream."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.offline.offline_data import OfflineData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from rllib_scoreflow.data import ChunkIndex, TrajectoryDataset, gather_chunks, load_dataset
from rllib_scoreflow.observations import IMAGES, STATE

CHUNK_START = "chunk_start"
"""Column of dataset rows at which chunks start, int64 `[B]`."""

IntArray = npt.NDArray[np.int64]


def open_dataset(config: Any) -> TrajectoryDataset:
    """Opens the dataset that a `FlowBCConfig` names (memory-mapped after the first conversion)."""
    return load_dataset(config.dataset, **_read_options(config))


def _read_options(config: Any) -> dict[str, Any]:
    return {
        "constant_observations": config.constant_observations,
        "filter_key": config.filter_key,
        "observation_keys": config.observation_keys,
        "cameras": config.cameras,
    }


class ChunkMemory:
    """A dataset as tensors on one device, from which chunks are gathered by their start rows.

    Images stay where they are mapped, as bytes: they may be many times the memory of a device.
    """

    def __init__(self, dataset: TrajectoryDataset, horizon: int, device: torch.device) -> None:
        """Copies observations `[N, O]` and actions `[N, A]` to `device` (on a CPU they stay memory-mapped)."""
        self.device = device
        self.observations = _as_tensor(dataset.observations).to(device)
        self.actions = _as_tensor(dataset.actions).to(device)
        self.images = dataset.images
        self.offsets = torch.arange(horizon, device=device)

    def gather(self, starts: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """Observations and flattened chunks `[B, H * A]` at rows `starts`, int64 `[B]` on the CPU.

        Observations are `[B, O]`, with cameras the dictionary of `state` and `images` (uint8 `[B, V, H, W, 3]`).
        """
        rows = starts.to(self.device)
        chunks = self.actions[rows.unsqueeze(-1) + self.offsets].flatten(1)
        observations = self.observations[rows]
        if self.images is None:
            return observations, chunks
        images = torch.from_numpy(self.images[starts.numpy()]).to(self.device)
        return {STATE: observations, IMAGES: images}, chunks


class ChunkOfflineData(OfflineData):
    """RLlib's offline-data hook: which chunks the Learners see in which epoch.

    Attributes:
        dataset: The opened dataset.
        training: Start rows of the training chunks, int64 `[M]`.
        validation: Start rows of the held-out episodes' chunks, int64 (may be empty).
        notes: What a user should know of the data, a sentence each without its full stop.
    """

    def __init__(self, config: Any) -> None:
        """Opens the dataset of a `FlowBCConfig` and splits it by episode."""
        # The base class's constructor opens recorded RLlib episodes, which there are none of.
        self.config = config
        self.dataset = open_dataset(config)
        index = ChunkIndex(self.dataset, config.horizon)
        self.training, self.validation = index.split(config.validation_fraction, seed=int(config.seed or 0))
        lost = index.note()
        self.notes = (*self.dataset.info.notes, *([] if lost is None else [lost]))

    def epoch_starts(self, epoch: int) -> IntArray:
        """All training chunks once, in the order of this epoch: int64 `[M]`, the same for the same seed."""
        generator = np.random.default_rng([int(self.config.seed or 0), epoch])
        return generator.permutation(self.training)

    def epoch_batch(self, epoch: int, num_learners: int) -> MultiAgentBatch:
        """The epoch as a batch of start rows; every Learner gathers its share from its own memory.

        RLlib cuts it into as many equal parts as there are Learners. Part `r` holds rows `r, r + L, r + 2 L, ...` of
        the epoch's order, so that the Learners' minibatches of a step are together the one of a single Learner.
        """
        starts, shares = self.epoch_starts(epoch), max(1, num_learners)
        starts = starts[: len(starts) // shares * shares]
        return _start_batch(starts.reshape(-1, shares).T.reshape(-1))

    def steps_per_epoch(self) -> int:
        """Gradient steps of a whole epoch, on every Learner."""
        rows = len(self.training) // max(1, int(self.config.num_learners))
        size = int(self.config.train_batch_size_per_learner)
        return max(1, math.ceil(rows / size) if self.config.streaming else rows // size)

    def validation_starts(self, limit: int) -> IntArray:
        """At most `limit` held-out chunks, evenly spread: int64 `[M]`."""
        stride = max(1, len(self.validation) // limit)
        return self.validation[::stride][:limit]

    def epoch_stream(self, epoch: int, num_learners: int) -> list[Any]:
        """The epoch as one Ray Data iterator per Learner; chunks are gathered by Ray Data's workers."""
        name, options, horizon = self.config.dataset, _read_options(self.config), self.config.horizon

        def gather(batch: dict[str, Any]) -> dict[str, Any]:
            dataset, starts = load_dataset(name, **options), batch[CHUNK_START]
            observations, chunks = gather_chunks(dataset.observations, dataset.actions, starts, horizon)
            columns = {Columns.OBS: observations, Columns.ACTIONS_FOR_ENV: chunks}
            if dataset.images is not None:
                columns[IMAGES] = dataset.images[starts]
            return columns

        starts = ray.data.from_numpy(self.epoch_starts(epoch)).rename_columns({"data": CHUNK_START})
        stream = starts.map_batches(gather, batch_size=4096 if self.dataset.images is None else 256)
        if num_learners <= 1:
            return [stream.iterator()]
        return list(stream.streaming_split(num_learners, equal=True))


def _start_batch(starts: IntArray) -> MultiAgentBatch:
    batch = SampleBatch({CHUNK_START: starts})
    return MultiAgentBatch({DEFAULT_MODULE_ID: batch}, env_steps=len(starts))


def _as_tensor(array: npt.NDArray[np.float32]) -> torch.Tensor:
    # A memory-mapped array is read-only; torch only warns about it, and nothing writes to these tensors.
    array = array if array.flags.writeable else np.array(array)
    return torch.from_numpy(array)
