"""Parquet metadata of any content, and npz files of any headers and bytes."""

import io
import json
import shutil
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.data.schema import METADATA_KEY, RawColumns, describe
from rllib_scoreflow.data.store import to_table
from rllib_scoreflow.files.digest import json_digest

STEPS = 12


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    ends = np.arange(STEPS) % 6 == 5
    columns = RawColumns(
        observations=rng.normal(size=(STEPS, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (STEPS, 2)).astype(np.float32),
        rewards=rng.normal(size=STEPS).astype(np.float32),
        terminals=ends,
        timeouts=np.zeros(STEPS, bool),
        final_observations=rng.normal(size=(2, 3)).astype(np.float32),
    )
    return to_table(columns, describe(columns, name="d", source="s", source_sha256="", env_id="Hopper-v4"))


def load(path):
    dataset = load_dataset(path)
    info = dataset.info
    assert np.array_equal(info.observation_min, dataset.observations.min(0))
    assert np.array_equal(info.action_max, dataset.actions.max(0))
    assert (info.num_steps, info.num_episodes) == (len(dataset.rewards), len(dataset.episode_offsets) - 1)


def test_parquet_metadata(fuzz, damage, table):
    content = json.loads(table.schema.metadata[METADATA_KEY])

    def write(example, folder):
        text, version, rehash = example
        if rehash:
            try:
                values = json.loads(text)
                values["schema_version"] = version
                values["sha256"] = json_digest({key: value for key, value in values.items() if key != "sha256"})
                text = json.dumps(values).encode()
            except (ValueError, TypeError, RecursionError):
                pass
        path = folder / "mine.parquet"
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: text}), path)
        return path

    fuzz(st.tuples(damage(content), st.sampled_from([1, 2, 3]), st.booleans()), write, load)


@st.composite
def altered_bytes(draw, content):
    """Bytes with some of them altered, moved or missing."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(data[: draw(st.sampled_from([len(data), len(data) // 2, len(data)]))])


def test_parquet_bytes(fuzz, table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)

    def write(content, folder):
        (folder / "mine.parquet").write_bytes(content)
        return folder / "mine.parquet"

    fuzz(altered_bytes(buffer.getvalue()), write, load)


def test_arrow_bytes_in_the_cache(fuzz, table, tmp_path):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    source, cache = tmp_path / "mine.parquet", tmp_path / "kept"
    source.write_bytes(buffer.getvalue())
    right = load_dataset(source, cache_dir=cache)
    (name,) = [path.name for path in (cache / "converted").glob("*.arrow")]
    content = (cache / "converted" / name).read_bytes()

    def write(altered, folder):
        (folder / "converted").mkdir()
        (folder / "converted" / name).write_bytes(altered)
        return folder

    def read(folder):
        found = load_dataset(source, cache_dir=folder)
        for key in ("observations", "actions", "rewards", "terminals", "episode_offsets", "final_observations"):
            assert np.array_equal(getattr(found, key), getattr(right, key))
        assert found.info.to_json() == right.info.to_json()

    fuzz(altered_bytes(content), write, read)


ARRAYS = {"states": (STEPS, 3), "actions": (STEPS, 2), "rewards": (STEPS,), "terminals": (STEPS,), "traj_lengths": (2,)}
DESCR = st.sampled_from(
    ["<f4", "<f8", ">f4", "|b1", "|u1", "<i8", "<u8", "|O", "<U3", "<M8[s]", "<c8", "<f2", "<f16", "x"]
)
SIZE = st.sampled_from([0, 1, 2, 3, STEPS, STEPS, 10**6, 10**9, 10**30, -1])


@st.composite
def member(draw, name):
    """The bytes of one array of the archive: right, of another header, or of other bytes."""
    rng, shape = np.random.default_rng(draw(st.integers(0, 3))), ARRAYS[name]
    kind = draw(st.sampled_from(["right"] * 8 + ["header", "text", "bytes", "other"]))
    values = np.full(shape, STEPS // 2) if name == "traj_lengths" else rng.uniform(-1, 1, shape).astype(np.float32)
    if kind == "other":
        values = draw(st.sampled_from([values * 3, values * np.nan, values[:5], values[None], np.float32(1)]))
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(values), allow_pickle=False)
    content = buffer.getvalue()
    if kind == "bytes":
        return draw(altered_bytes(content))
    if kind in ("header", "text"):
        given = tuple(draw(st.lists(SIZE, max_size=3)))
        header = f"{{'descr': '{draw(DESCR)}', 'fortran_order': {draw(st.booleans())}, 'shape': {given}, }}"
        if kind == "text":
            header = draw(st.text(st.characters(max_codepoint=255), max_size=40)) + header[draw(st.integers(0, 30)) :]
        text = header.encode("latin-1") + b"\n"
        content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content[-50:]
    return content


def test_npz(fuzz):
    members = st.fixed_dictionaries({name: member(name) for name in ARRAYS})
    damage = st.one_of(*[st.none()] * 4, st.integers(0, 2**31))

    def write(example, folder):
        arrays, seed, method = example
        path = folder / "train.npz"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in arrays.items():
                archive.writestr(f"{name}.npy", content)
        bounds = {
            f"{key}_{end}": np.full(size, value)
            for key, size in (("obs", 3), ("action", 2))
            for end, value in (("min", -2.0), ("max", 2.0))
        }
        np.savez(folder / "normalization.npz", **bounds)
        if seed is not None:
            rng, content = np.random.default_rng(seed), bytearray(path.read_bytes())
            for at in rng.integers(0, len(content), 4):
                content[at] = rng.integers(256)
            path.write_bytes(content)
        return path

    def read(path):
        shutil.rmtree(path.parent.parent / "cache", ignore_errors=True)
        load(path)

    methods = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    fuzz(st.tuples(members, damage, methods), write, read)
