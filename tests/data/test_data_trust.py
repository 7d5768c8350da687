"""What a converted file says of itself is recomputed from its columns, and the cached form is what was written."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.data.convert import convert_dataset, verify_dataset
from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.schema import METADATA_KEY
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.digest import json_digest


@pytest.fixture
def parquet(tmp_path, cache, columns, write):
    path = tmp_path / "mine.parquet"
    convert_dataset(str(write(tmp_path / "d.hdf5", columns, {"env": "Hopper-v4"})), path, ReadOptions())
    return path


def rewrite(path, change, *, rehash):
    """Change the JSON in a Parquet file, and let its own hash be right if wanted."""
    table = pq.read_table(path)
    values = json.loads(table.schema.metadata[METADATA_KEY])
    change(values)
    if rehash:
        values["sha256"] = json_digest({key: value for key, value in values.items() if key != "sha256"})
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(values).encode()}), path)


def times(key, factor):
    return lambda values: values.update({key: [factor * value for value in values[key]]})


def swap(values):
    values["observation_min"], values["observation_max"] = values["observation_max"], values["observation_min"]


BOUNDS = {
    "times 100": times("observation_max", 100.0),
    "actions times 100": times("action_min", 100.0),
    "swapped": swap,
    "NaN": times("observation_min", float("nan")),
    "infinite": times("action_max", float("inf")),
    "short": lambda values: values.update(observation_max=values["observation_max"][:2]),
    "one number": lambda values: values.update(observation_max=3.0),
    "nested": lambda values: values.update(action_max=[values["action_max"]]),
    "texts": lambda values: values.update(action_max=["a" * 1000, "b"]),
    "one digit": lambda values: values["observation_min"].__setitem__(0, values["observation_min"][0] - 1e-3),
    "episodes": lambda values: values.update(num_episodes=4),
    "steps": lambda values: values.update(num_steps=10**9),
    "return": lambda values: values.update(mean_return=values["mean_return"] + 1.0),
    "dimensions": lambda values: values.update(observation_dim=10**9),
    "dimensions of 30 digits": lambda values: values.update(action_dim=10**30),
    "images": lambda values: values.update(cameras=["a"], image_size=[8192, 8192]),
}


@pytest.mark.parametrize("what", BOUNDS)
def test_bounds_that_are_not_the_columns_are_refused_although_their_hash_is_right(parquet, what):
    rewrite(parquet, BOUNDS[what], rehash=True)
    for use in (load_dataset, lambda path: verify_dataset(str(path), ReadOptions())):
        with pytest.raises(InputError, match=r"mine\.parquet: ") as error:
            use(parquet)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 700


ORIGIN = {
    "environment": lambda values: values.update(env_id="Walker2d-v4"),
    "its options": lambda values: values.update(env_config={"frame_skip": 1}),
    "source": lambda values: values.update(source_sha256="0" * 64),
    "no hash": lambda values: values.pop("sha256"),
    "a list as hash": lambda values: values.update(sha256=["x"]),
}


@pytest.mark.parametrize("what", ORIGIN)
def test_the_origin_is_under_a_hash(parquet, what):
    rewrite(parquet, ORIGIN[what], rehash=False)
    with pytest.raises(InputError, match="is not what was written"):
        load_dataset(parquet)


def test_a_file_of_the_second_schema_version_is_read_and_its_bounds_are_recomputed(parquet):
    def to_second(values):
        values["schema_version"] = 2
        del values["sha256"]

    rewrite(parquet, to_second, rehash=False)
    assert load_dataset(parquet).info.num_steps == 21
    rewrite(parquet, times("observation_max", 100.0), rehash=False)
    with pytest.raises(InputError, match="observation_max is"):
        load_dataset(parquet)


@pytest.fixture
def remember(request, monkeypatch):
    """A large file, whose hash is remembered until the file changes, or a small one."""
    if request.param == "large":
        monkeypatch.setattr("rllib_scoreflow.data.cache._REMEMBER_BYTES", 0)


@pytest.mark.usefixtures("remember")
@pytest.mark.parametrize("remember", ["small", "large"], indirect=True)
@pytest.mark.parametrize("where", ["column", "bounds", "cut off", "another file"])
def test_an_altered_cache_is_made_again(tmp_path, cache, columns, write, where):
    source = write(tmp_path / "d.hdf5", columns)
    load_dataset(source)
    load_dataset(source)
    (arrow,) = (cache / "converted").glob("*.arrow")
    content = arrow.read_bytes()
    if where == "column":
        at = content.index(columns["observations"].tobytes())
        content = content[:at] + np.float32(0.5).tobytes() + content[at + 4 :]
    elif where == "bounds":
        batch = pa.ipc.open_file(content).get_batch(0)
        values = json.loads(batch.schema.metadata[METADATA_KEY])
        values["observation_max"] = [100.0 * value for value in values["observation_max"]]
        del values["sha256"]
        values["sha256"] = json_digest(values)
        batch = batch.replace_schema_metadata({METADATA_KEY: json.dumps(values).encode()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        content = sink.getvalue().to_pybytes()
    elif where == "cut off":
        content = content[: len(content) // 2]
    else:
        other = write(tmp_path / "other.hdf5", {**columns, "rewards": columns["rewards"] + 1})
        shutil.copytree(cache, tmp_path / "other")
        load_dataset(other, cache_dir=tmp_path / "other")
        content = next(path for path in (tmp_path / "other" / "converted").glob("other*.arrow")).read_bytes()[:-1]
    arrow.unlink()  # a new inode: readers may still map the old one
    arrow.write_bytes(content)
    opened = load_dataset(source)
    for key in ("observations", "actions", "rewards"):
        np.testing.assert_array_equal(getattr(opened, key), columns[key])
    np.testing.assert_array_equal(opened.info.observation_max, columns["observations"].max(0))


def test_a_file_that_would_fill_the_memory_is_refused_before_it_is_read(parquet, monkeypatch):
    monkeypatch.setattr("rllib_scoreflow.data.validation._SMALL_BYTES", 1 << 20)
    n, schema = 1 << 19, pq.read_schema(parquet)
    values = json.loads(schema.metadata[METADATA_KEY])
    values["num_steps"] = n
    values["sha256"] = json_digest({key: value for key, value in values.items() if key != "sha256"})
    zeros, no = np.zeros(4 * n, np.float32), pa.array(np.zeros(n, bool))
    columns = [
        pa.FixedSizeListArray.from_arrays(pa.array(zeros), type=schema.field(0).type),
        pa.FixedSizeListArray.from_arrays(pa.array(zeros[: 2 * n]), type=schema.field(1).type),
        *(pa.array(zeros[:n]), no, no),
        pa.ListArray.from_arrays(np.zeros(n + 1, np.int32), pa.array(zeros[:0]), type=schema.field(5).type),
    ]
    schema = schema.with_metadata({METADATA_KEY: json.dumps(values).encode()})
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), parquet, compression="zstd")
    assert parquet.stat().st_size < 24_000
    with pytest.raises(InputError, match="which no recording compresses to"):
        load_dataset(parquet)


def test_a_column_whose_name_is_no_text_is_one_sentence(parquet):
    content = parquet.read_bytes()
    place = content.rindex(b"\x18\x0bobservation")  # in the footer's schema
    parquet.write_bytes(content[: place + 2] + b"\x80" + content[place + 3 :])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        load_dataset(str(parquet))
