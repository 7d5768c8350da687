"""Chunks lie within episodes, each once; the split keeps episodes whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_scoreflow.data import ChunkIndex, TrajectoryDataset, gather_chunks, load_dataset
from rllib_scoreflow.data.schema import RawColumns, describe
from rllib_scoreflow.errors import InputError

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=12)


def dataset_of(lengths, o=3, a=2):
    """Episodes of these lengths; every action value tells its row and dimension."""
    n = sum(lengths)
    ends = np.zeros(n, bool)
    ends[np.cumsum(lengths) - 1] = True
    columns = RawColumns(
        observations=np.arange(n * o, dtype=np.float32).reshape(n, o),
        actions=np.arange(n * a, dtype=np.float32).reshape(n, a),
        rewards=np.ones(n, np.float32),
        terminals=ends,
        timeouts=np.zeros(n, bool),
    )
    info = describe(columns, name="d", source="", source_sha256="", env_id=None)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TrajectoryDataset(
        info,
        "d.parquet",
        columns.observations,
        columns.actions,
        columns.rewards,
        columns.terminals,
        columns.timeouts,
        offsets,
        None,
    )


@given(LENGTHS, st.integers(1, 12))
@settings(deadline=None)
def test_every_whole_chunk_once_and_none_across_an_episode(lengths, horizon):
    dataset = dataset_of(lengths)
    expected, row = [], 0
    for length in lengths:
        expected += range(row, row + length - horizon + 1)
        row += length
    if not expected:
        with pytest.raises(InputError, match="no episode is as long"):
            ChunkIndex(dataset, horizon)
        return
    if sum(length >= horizon for length in lengths) * 10 < len(lengths):
        with pytest.raises(InputError, match="nearly all are lost"):
            ChunkIndex(dataset, horizon)
        return
    index = ChunkIndex(dataset, horizon)
    assert index.starts.tolist() == expected
    assert index.starts.dtype == np.int64
    assert index.num_skipped_episodes == sum(length < horizon for length in lengths)
    assert index.num_episodes + index.num_skipped_episodes == len(lengths)


@given(LENGTHS, st.integers(1, 3), st.floats(0.01, 0.99), st.integers(0, 5))
@settings(deadline=None)
def test_split_is_by_episode_disjoint_whole_and_repeatable(lengths, horizon, fraction, seed):
    lengths = [*lengths, 5, 5]
    dataset = dataset_of(lengths)
    index = ChunkIndex(dataset, horizon)
    train, validation = index.split(fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), index.starts)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    train_episodes, held_out = set(episode[train]), set(episode[validation])
    assert not train_episodes & held_out
    assert train_episodes
    assert held_out
    assert abs(len(held_out) - fraction * index.num_episodes) <= 1
    again = ChunkIndex(dataset, horizon).split(fraction, seed)
    np.testing.assert_array_equal(train, again[0])
    np.testing.assert_array_equal(validation, again[1])


@given(LENGTHS, st.integers(1, 6), st.integers(0, 100))
@settings(deadline=None)
def test_gather_agrees_with_slicing(lengths, horizon, seed):
    dataset = dataset_of([*lengths, 6])
    index = ChunkIndex(dataset, horizon)
    starts = np.random.default_rng(seed).choice(index.starts, 7)
    observations, chunks = gather_chunks(dataset.observations, dataset.actions, starts, horizon)
    assert chunks.shape == (7, horizon * 2)
    assert observations.dtype == chunks.dtype == np.float32
    for i, start in enumerate(starts):
        np.testing.assert_array_equal(observations[i], dataset.observations[start])
        np.testing.assert_array_equal(chunks[i].reshape(horizon, 2), dataset.actions[start : start + horizon])


def test_gathered_arrays_are_writable_copies_of_mapped_ones(cache):
    dataset = load_dataset("hopper-small")
    starts = ChunkIndex(dataset, 4).starts[:5]
    observations, chunks = gather_chunks(dataset.observations, dataset.actions, starts, 4)
    assert observations.flags.writeable
    assert chunks.flags.writeable
    chunks[:] = 0
    assert dataset.actions[:8].any()


def test_gather_refuses_to_run_past_the_end():
    dataset = dataset_of([6])
    with pytest.raises(IndexError):
        gather_chunks(dataset.observations, dataset.actions, np.array([3]), 4)


def test_split_differs_between_seeds():
    index = ChunkIndex(dataset_of([5] * 20), 4)
    assert index.split(0.3, 0)[1].tolist() != index.split(0.3, 1)[1].tolist()


def test_no_validation_when_the_fraction_is_zero():
    index = ChunkIndex(dataset_of([5]), 4)
    train, validation = index.split(0.0, 0)
    assert train.tolist() == [0, 1]
    assert validation.shape == (0,)


def test_episodes_shorter_than_a_chunk_are_refused_with_the_longest():
    with pytest.raises(InputError, match=r"dataset d: .*horizon 6 steps, the longest has 5"):
        ChunkIndex(dataset_of([3, 5]), 6)


@pytest.mark.parametrize("horizon", [0, -1])
def test_horizon_below_one(horizon):
    with pytest.raises(InputError, match="horizon is"):
        ChunkIndex(dataset_of([3]), horizon)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(InputError, match="validation_fraction is"):
        ChunkIndex(dataset_of([5, 5]), 4).split(fraction, 0)


def test_one_episode_cannot_be_split():
    with pytest.raises(InputError, match="validation_fraction to 0"):
        ChunkIndex(dataset_of([5, 2]), 4).split(0.2, 0)
