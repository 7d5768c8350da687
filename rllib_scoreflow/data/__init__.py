"""Datasets: readers, validation, one Arrow schema, download and cache, action chunks. No torch."""

from rllib_scoreflow.data.cache import cache_folder
from rllib_scoreflow.data.catalog import (
    D4RL_DATASETS,
    ROBOMIMIC_DATASETS,
    SHIPPED,
    DatasetEntry,
    find_dataset,
    normalized_score,
    reference_score,
)
from rllib_scoreflow.data.chunks import ChunkIndex, gather_chunks
from rllib_scoreflow.data.resolve import load_dataset
from rllib_scoreflow.data.schema import SCHEMA_VERSION, DatasetInfo
from rllib_scoreflow.data.store import TrajectoryDataset
from rllib_scoreflow.data.validation import ConstantObservations

__all__ = [
    "D4RL_DATASETS",
    "ROBOMIMIC_DATASETS",
    "SCHEMA_VERSION",
    "SHIPPED",
    "ChunkIndex",
    "ConstantObservations",
    "DatasetEntry",
    "DatasetInfo",
    "TrajectoryDataset",
    "cache_folder",
    "find_dataset",
    "gather_chunks",
    "load_dataset",
    "normalized_score",
    "reference_score",
]
