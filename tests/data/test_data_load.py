"""load_dataset: from a file to the same values in memory, converted once."""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rllib_scoreflow.data import DatasetInfo, load_dataset
from rllib_scoreflow.data import cache as cache_module
from rllib_scoreflow.data.cache import cached_digest
from rllib_scoreflow.data.schema import METADATA_KEY
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.digest import file_digest


def test_hdf5_comes_back_unchanged(tmp_path, cache, columns, write):
    path = write(tmp_path / "d.hdf5", columns, {"env": "Hopper-v4"})
    dataset = load_dataset(str(path))
    for key in ("observations", "actions", "rewards", "terminals", "timeouts"):
        np.testing.assert_array_equal(getattr(dataset, key), columns[key])
        assert getattr(dataset, key).dtype == columns[key].dtype
    np.testing.assert_array_equal(dataset.episode_offsets, [0, 7, 12, 21])
    assert dataset.episode_offsets.dtype == np.int64
    np.testing.assert_array_equal(dataset.final_observations, columns["next_observations"][[6, 11, 20]])


def test_info_describes_the_columns(tmp_path, cache, columns, write):
    info = load_dataset(write(tmp_path / "d.hdf5", columns, {"env": "Hopper-v4"})).info
    assert (info.name, info.source, info.env_id) == ("d", "d.hdf5", "Hopper-v4")
    assert (info.num_steps, info.num_episodes) == (21, 3)
    assert (info.observation_dim, info.action_dim) == (4, 2)
    np.testing.assert_array_equal(info.observation_min, columns["observations"].min(0))
    np.testing.assert_array_equal(info.action_max, columns["actions"].max(0))
    returns = [columns["rewards"][a:b].sum() for a, b in ((0, 7), (7, 12), (12, 21))]
    assert info.mean_return == pytest.approx(np.mean(returns), rel=1e-6)


def test_info_survives_json_exactly(tmp_path, cache, columns, write):
    info = load_dataset(write(tmp_path / "d.hdf5", columns)).info
    again = DatasetInfo.from_json(info.to_json())
    assert again.to_json() == info.to_json()
    np.testing.assert_array_equal(again.observation_max, info.observation_max)
    assert again.observation_max.dtype == np.float32


def test_float_columns_are_mapped_not_copied(tmp_path, cache, columns, write):
    dataset = load_dataset(write(tmp_path / "d.hdf5", columns))
    (arrow,) = (cache / "converted").glob("*.arrow")
    mapped = [
        tuple(int(x, 16) for x in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(arrow))
    ]
    for values in (dataset.observations, dataset.actions, dataset.rewards):
        address = values.__array_interface__["data"][0]
        assert any(low <= address < high for low, high in mapped)
        assert not values.flags.writeable


def test_without_next_observations_there_are_no_final_ones(tmp_path, cache, columns, write):
    del columns["next_observations"]
    assert load_dataset(write(tmp_path / "d.hdf5", columns)).final_observations is None


def test_dangling_last_episode_is_kept_and_cut(tmp_path, cache, columns, write):
    columns["terminals"][-1] = columns["timeouts"][-1] = False
    dataset = load_dataset(write(tmp_path / "d.hdf5", columns))
    np.testing.assert_array_equal(dataset.episode_offsets, [0, 7, 12, 21])
    assert dataset.timeouts[-1]
    assert not dataset.terminals[-1]
    assert len(dataset.final_observations) == 3


def test_missing_timeouts_are_derived_from_next_observations(tmp_path, cache, columns, write):
    del columns["timeouts"]
    dataset = load_dataset(write(tmp_path / "d.hdf5", columns))
    np.testing.assert_array_equal(dataset.episode_offsets, [0, 7, 12, 21])
    np.testing.assert_array_equal(np.flatnonzero(dataset.timeouts), [11])


def test_missing_timeouts_leave_the_terminals(tmp_path, cache, columns, write):
    del columns["timeouts"], columns["next_observations"]
    dataset = load_dataset(write(tmp_path / "d.hdf5", columns))
    np.testing.assert_array_equal(dataset.episode_offsets, [0, 7, 21])


def test_float64_and_integer_flags_are_converted(tmp_path, cache, columns, write):
    columns["observations"] = columns["observations"].astype(np.float64)
    columns["terminals"] = columns["terminals"].astype(np.uint8)
    dataset = load_dataset(write(tmp_path / "d.hdf5", columns))
    assert dataset.observations.dtype == np.float32
    assert dataset.terminals.dtype == np.bool_


def test_a_second_load_converts_nothing(tmp_path, cache, columns, write):
    path = write(tmp_path / "d.hdf5", columns)
    first = load_dataset(path)
    before = {p: p.stat().st_mtime_ns for p in cache.rglob("*")}
    assert len(before) == 3  # folder, Parquet, Arrow
    second = load_dataset(path)
    assert {p: p.stat().st_mtime_ns for p in cache.rglob("*")} == before
    np.testing.assert_array_equal(first.observations, second.observations)


def test_a_changed_source_is_converted_again(tmp_path, cache, columns, write):
    path = write(tmp_path / "d.hdf5", columns)
    load_dataset(path)
    columns["rewards"][3] = 77
    changed = load_dataset(write(path, columns))
    assert changed.rewards[3] == 77


def test_a_damaged_cache_is_made_again(tmp_path, cache, columns, write):
    path = write(tmp_path / "d.hdf5", columns)
    load_dataset(path)
    (arrow,) = (cache / "converted").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes()[:100])
    np.testing.assert_array_equal(load_dataset(path).observations, columns["observations"])


def test_converted_parquet_loads_to_the_same_data(tmp_path, cache, columns, write):
    dataset = load_dataset(write(tmp_path / "d.hdf5", columns, {"env": "Hopper-v4"}))
    again = load_dataset(dataset.path, cache_dir=tmp_path / "other")
    assert again.info.to_json() == dataset.info.to_json()
    assert again.path == dataset.path
    for key in ("observations", "actions", "rewards", "timeouts", "final_observations"):
        np.testing.assert_array_equal(getattr(again, key), getattr(dataset, key))


def test_parquet_carries_its_info(tmp_path, cache, columns, write):
    dataset = load_dataset(write(tmp_path / "d.hdf5", columns))
    metadata = pq.read_schema(dataset.path).metadata
    assert DatasetInfo.from_json(metadata[METADATA_KEY]).num_episodes == 3


def test_source_hash_names_the_file_and_content_hash_the_data(tmp_path, cache, columns, write):
    one = load_dataset(write(tmp_path / "one.hdf5", columns)).info
    two = load_dataset(write(tmp_path / "two.hdf5", columns, {"note": "x"})).info
    assert one.source_sha256 != two.source_sha256
    assert one.content_sha256 == two.content_sha256
    columns["actions"][0, 0] += 0.5
    assert load_dataset(write(tmp_path / "three.hdf5", columns)).info.content_sha256 != (one.content_sha256)


def test_environment_of_a_file_with_d4rls_name(tmp_path, cache, columns, write):
    info = load_dataset(write(tmp_path / "walker2d_medium_replay-v2.hdf5", columns)).info
    assert info.env_id == "Walker2d-v4"


def test_a_file_placed_by_hand_serves_the_id(cache, columns, write):
    (cache / "downloads").mkdir(parents=True)
    columns["observations"][:, 1] = 0.0  # ant's padding is allowed by its id
    write(cache / "downloads" / "ant_medium-v2.hdf5", columns)
    info = load_dataset("ant-medium-v2").info
    assert (info.name, info.env_id) == ("ant-medium-v2", "ant-medium-v2")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_an_unwritable_cache_is_named(tmp_path, columns, write):
    path = write(tmp_path / "d.hdf5", columns)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(InputError, match="RLLIB_SCOREFLOW_CACHE"):
        load_dataset(path, cache_dir=locked)


def test_a_file_in_the_place_of_the_cache_is_named(tmp_path, columns, write):
    path = write(tmp_path / "d.hdf5", columns)
    with pytest.raises(InputError, match="RLLIB_SCOREFLOW_CACHE"):
        load_dataset(path, cache_dir=path)


def test_the_hash_of_a_large_file_is_remembered_until_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_REMEMBER_BYTES", 10)
    path, folder = tmp_path / "large.bin", tmp_path / "cache"
    path.write_bytes(b"a" * 20)
    first = cached_digest(path, folder)
    assert first == file_digest(path)
    (note,) = (folder / "digests").iterdir()
    note.write_text(note.read_text().replace(first, "remembered"))
    assert cached_digest(path, folder) == "remembered"
    path.write_bytes(b"b" * 20)
    assert cached_digest(path, folder) == file_digest(path)
    note.write_text("{damaged")
    assert cached_digest(path, folder) == file_digest(path)
