"""Bad data: one sentence that names the file, the key and the remedy, and nothing written."""

import re

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.data.readers.d4rl import read_d4rl_hdf5
from rllib_scoreflow.data.schema import describe
from rllib_scoreflow.data.store import to_table, write_parquet
from rllib_scoreflow.errors import InputError


@pytest.fixture
def refused(tmp_path, cache, write):
    """Expect a refusal of these columns (or of this file) that holds every given word."""

    def check(source, *words, **options):
        path = write(tmp_path / "d.hdf5", source) if isinstance(source, dict) else source
        before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
        with pytest.raises(InputError) as caught:
            load_dataset(path, **options)
        message = str(caught.value)
        for word in words:
            assert word in message
        assert "\n" not in message
        assert not re.search(r"[.!?] [A-Z]", message), "one sentence"
        assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
        return message

    return check


@pytest.mark.parametrize("name", ["gone.hdf5", "gone.parquet", "folder/gone"])
def test_missing_file(refused, tmp_path, name):
    refused(tmp_path / name, name, "no such file")


def test_a_folder(refused, tmp_path):
    (tmp_path / "x.hdf5").mkdir()
    refused(tmp_path / "x.hdf5", "x.hdf5", "no such file")


def test_unknown_ending(refused, tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"1,2")
    refused(path, "data.csv", ".hdf5", ".npz", ".parquet")


def test_unknown_id_names_near_ones(refused):
    refused("hopper-meduim-v2", "hopper-meduim-v2", "did you mean", "hopper-medium-v2")


def test_unknown_id_without_near_ones_names_all(refused):
    refused("zzz", "hopper-small", "kitchen-mixed-v0")


def test_not_hdf5(refused, tmp_path):
    path = tmp_path / "d.hdf5"
    path.write_text("<html>404</html>")
    refused(path, "d.hdf5", "not an HDF5 file")


def test_truncated_hdf5(refused, tmp_path, columns, write):
    path = write(tmp_path / "d.hdf5", columns)
    path.write_bytes(path.read_bytes()[:-500])
    refused(path, "d.hdf5", "truncated")


@pytest.mark.parametrize("key", ["observations", "actions", "rewards", "terminals"])
def test_missing_key(refused, columns, key):
    del columns[key]
    refused(columns, "d.hdf5", f"'{key}' is missing", "timeouts")


def test_no_episode_ends(refused, columns):
    del columns["timeouts"], columns["next_observations"]
    columns["terminals"][:] = False
    refused(columns, "'timeouts' is missing", "add 'timeouts'")


@pytest.mark.parametrize("key", ["observations", "actions", "rewards", "timeouts"])
def test_ragged_lengths(refused, columns, key):
    columns[key] = columns[key][:-1]
    refused(columns, "d.hdf5", f"'{key}' 20", "'terminals' 21")


def test_wrong_number_of_axes(refused, columns):
    columns["rewards"] = columns["rewards"][:, None]
    refused(columns, "'rewards'", "[21, 1]", "[steps]")


def test_next_observations_of_another_width(refused, columns):
    columns["next_observations"] = columns["next_observations"][:, :3]
    refused(columns, "'next_observations'", "[21, 3]", "[21, 4]")


def test_no_steps(refused, columns):
    refused({key: values[:0] for key, values in columns.items()}, "[0, 4]", "at least one step")


def test_a_group_in_the_place_of_a_column(refused, tmp_path, columns, write):
    del columns["observations"]
    path = write(tmp_path / "d.hdf5", columns)
    with h5py.File(path, "a") as file:
        file["observations/arm"] = np.zeros(21)
    refused(path, "'observations'", "not a numeric array")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["observations", "actions"])
def test_not_finite(refused, columns, key, value):
    columns[key][13, 1] = value
    columns[key][17, 0] = value
    refused(columns, "d.hdf5", f"'{key}'", "row 13, dimension 1", "2 rows of 21", str(value))


def test_rewards_not_finite(refused, columns):
    columns["rewards"][4] = np.nan
    refused(columns, "'rewards'", "row 4", "1 rows of 21")


def test_final_observation_not_finite(refused, columns):
    columns["next_observations"][6, 2] = np.inf
    refused(columns, "'next_observations'", "inf")


def test_infinite_in_float32_only(refused, columns):
    columns["observations"] = columns["observations"].astype(np.float64)
    columns["observations"][2, 0] = 1e60
    refused(columns, "'observations'", "row 2, dimension 0", "inf")


def test_constant_observation(refused, columns):
    columns["observations"][:, 1:3] = 0.25
    refused(columns, "d.hdf5", "'observations'", "1-2 of 4", "constant_observations: allow")


def test_constant_observation_allowed_then_refused_again(refused, tmp_path, columns, write):
    columns["observations"][:, 3] = 1.0
    path = write(tmp_path / "d.hdf5", columns)
    dataset = load_dataset(path, constant_observations="allow")
    assert dataset.observations[0, 3] == 1.0
    # The converted file lies in the cache now, and must not let it pass.
    refused(path, "dimensions 3 of 4", "constant_observations: allow")


def kitchen_columns(columns_of):
    columns = columns_of(o=60)
    columns["observations"][:, 30:] = np.arange(30)
    return columns


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("name", "attrs"), [("kitchen-mine.hdf5", {}), ("d.hdf5", {"env_id": "FrankaKitchen-v1"})])
def test_the_goal_of_a_kitchen_may_be_constant(tmp_path, columns_of, write, name, attrs):
    dataset = load_dataset(write(tmp_path / name, kitchen_columns(columns_of), attrs))
    assert dataset.observations[0, 31] == 1.0
    assert load_dataset(dataset.path).info.num_steps == 21  # the converted file, too


def test_other_constant_dimensions_of_a_kitchen_are_refused(refused, tmp_path, columns_of, write):
    columns = kitchen_columns(columns_of)
    columns["observations"][:, 4] = 0.0
    refused(write(tmp_path / "kitchen.hdf5", columns), "dimensions 4 of 60")


def test_unknown_choice(refused, columns):
    refused(columns, "'maybe'", "error, allow", constant_observations="maybe")


def test_not_parquet(refused, tmp_path):
    path = tmp_path / "d.parquet"
    path.write_text("nothing of the kind")
    refused(path, "d.parquet", "not a readable Parquet file")


def test_foreign_parquet(refused, tmp_path):
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"observation": [1.0]}), path)
    refused(path, "d.parquet", "no dataset metadata", "HDF5")


@pytest.fixture
def parquet(tmp_path, cache, columns, write):
    return load_dataset(write(tmp_path / "d.hdf5", columns)).path


def test_truncated_parquet(refused, parquet):
    parquet.write_bytes(parquet.read_bytes()[:-20])
    refused(parquet, parquet.name, "not a readable Parquet file")


def test_tampered_parquet(refused, parquet, tmp_path):
    table = pq.read_table(parquet)
    path = tmp_path / "t.parquet"
    pq.write_table(table.slice(1), path)
    refused(path, "t.parquet", "changed after", "20 rows and not 21")
    pq.write_table(table.set_column(2, table.schema.field(2), pa.array(np.ones(21, np.float32))), path)
    refused(path, "t.parquet", "changed after", "SHA-256")


def test_parquet_of_our_schema_with_values_that_are_not_finite(refused, tmp_path, columns, write):
    columns["actions"][5, 0] = np.nan
    raw = read_d4rl_hdf5(write(tmp_path / "d.hdf5", columns))
    info = describe(raw, name="d", source="", source_sha256="", env_id=None)
    path = tmp_path / "t.parquet"
    write_parquet(to_table(raw, info), path)
    refused(path, "t.parquet", "'actions'", "row 5")


def test_parquet_of_another_schema_version(refused, parquet, tmp_path):
    table = pq.read_table(parquet)
    metadata = {k: v.replace(b'"schema_version": 3', b'"schema_version": 99') for k, v in table.schema.metadata.items()}
    path = tmp_path / "t.parquet"
    pq.write_table(table.replace_schema_metadata(metadata), path)
    refused(path, "t.parquet", "version 99", "convert the original file again")
