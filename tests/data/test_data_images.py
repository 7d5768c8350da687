"""Images in the store: uint8 on disk and in memory, mapped, in small row groups, never a copy of all."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rllib_scoreflow.data import DatasetInfo
from rllib_scoreflow.data import store as store_module
from rllib_scoreflow.data.images import with_images
from rllib_scoreflow.data.readers.d4rl import read_d4rl_hdf5
from rllib_scoreflow.data.schema import METADATA_KEY, ImageSource, content_sha256, describe
from rllib_scoreflow.data.store import open_arrow, read_parquet, to_table, write_arrow, write_parquet
from rllib_scoreflow.errors import InputError

SHAPE = (21, 2, 5, 4, 3)


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8)


@pytest.fixture
def raw(tmp_path, columns, write, pixels):
    state = read_d4rl_hdf5(write(tmp_path / "d.hdf5", columns))
    return replace(state, cameras=("left", "right"), images=pixels, env_config={"cameras": ["left", "right"]})


@pytest.fixture
def info(raw):
    return describe(raw, name="d", source="s", source_sha256="", env_id="X-v0")


def test_the_arrow_file_gives_a_mapped_view(tmp_path, raw, info, pixels):
    path = tmp_path / "d.arrow"
    write_arrow(to_table(raw, info), path)
    dataset = open_arrow(path, tmp_path / "d.parquet")
    np.testing.assert_array_equal(dataset.images, pixels)
    assert dataset.images.dtype == np.uint8
    assert not dataset.images.flags.writeable
    assert dataset.info.image_size == (5, 4)
    assert dataset.info.cameras == ("left", "right")
    ranges = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    low, high = (int(x, 16) for x in ranges[0].split("-"))
    assert low <= dataset.images.__array_interface__["data"][0] < high


def test_parquet_holds_images_in_small_row_groups(tmp_path, raw, info, pixels, monkeypatch):
    monkeypatch.setattr(store_module, "_IMAGE_BYTES_PER_GROUP", 4 * 2 * 5 * 4 * 3)
    path = tmp_path / "d.parquet"
    write_parquet(to_table(raw, info), path)
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4, 4, 4, 4, 4, 1]
    assert metadata.row_group(0).column(metadata.num_columns - 1).compression == "ZSTD"
    columns, again = read_parquet(path, tmp_path / "scratch")
    np.testing.assert_array_equal(columns.images, pixels)
    assert again.to_json() == info.to_json()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_changed_images_are_noticed(tmp_path, raw, info, pixels):
    pixels[3, 1, 2, 2, 0] ^= 1
    path = tmp_path / "d.parquet"
    write_parquet(to_table(raw, info), path)
    with pytest.raises(InputError, match="changed after"):
        read_parquet(path)


def test_the_content_hash_covers_images_and_the_order_of_cameras(raw):
    other = raw.images.copy()
    other[0, 0, 0, 0, 0] ^= 1
    variants = [raw, replace(raw, images=other), replace(raw, cameras=("right", "left")), replace(raw, images=None)]
    hashes = [content_sha256(each) for each in variants]
    assert all(a != b for a, b in itertools.combinations(hashes, 2))


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_are_read_block_by_block(tmp_path, raw, pixels, in_memory):
    scratch = None if in_memory else tmp_path / "scratch"
    source = ImageSource(SHAPE, lambda: iter([pixels[:2], pixels[2:15], pixels[15:]]))
    read = with_images(replace(raw, images=None, image_source=source), scratch)
    np.testing.assert_array_equal(read.images, pixels)
    assert isinstance(read.images, np.memmap) is not in_memory
    assert read.image_source is None


def test_too_little_space_is_an_error_and_not_the_end_of_the_process(tmp_path, raw):
    source = ImageSource((1 << 40, 2, 84, 84, 3), lambda: iter([]))
    with pytest.raises(OSError, match=r"the images need 46\d{6}\.\d GB of space"):
        with_images(replace(raw, images=None, image_source=source), tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_file_of_the_first_schema_version_is_read(tmp_path, columns, write):
    state = read_d4rl_hdf5(write(tmp_path / "d.hdf5", columns))
    info = describe(state, name="d", source="s", source_sha256="", env_id="X-v0")
    values = json.loads(info.to_json())
    for key in ("observation_keys", "cameras", "image_size", "env_config", "sha256"):
        del values[key]
    values["schema_version"] = 1
    path = tmp_path / "old.parquet"
    pq.write_table(to_table(state, info).replace_schema_metadata({METADATA_KEY: json.dumps(values).encode()}), path)
    columns, again = read_parquet(path)
    assert again.to_json() == info.to_json()
    assert columns.images is None
    assert DatasetInfo.from_json(json.dumps(values)).schema_version == 3


def test_a_part_of_a_column_of_images_is_its_own_part(raw, info, pixels):
    part = to_table(raw, info).column("images").chunk(0).slice(5, 3)
    np.testing.assert_array_equal(store_module._image_view(part, SHAPE[1:]), pixels[5:8])
