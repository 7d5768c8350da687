"""HDF5 files of D4RL's, Robomimic's and Minari's layout, put together at random around the right structure."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import strategies as st

from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.schema import describe, episode_offsets
from rllib_scoreflow.data.sources import Source, read_source

# Values of the wrong kind that one place of a file may hold.
ODD_ARRAYS = st.sampled_from(
    [
        np.zeros(()),
        np.zeros(0),
        np.zeros((0, 3)),
        np.zeros((2, 2, 2)),
        np.arange(12),
        np.full((12, 3), np.nan),
        np.full((12, 3), 1e300),
        np.ones((12, 3), np.uint8),
        np.ones(12, bool),
        np.ones((12, 3), np.complex64),
        np.array([b"text"] * 12),
        np.zeros(12, [("a", "f4"), ("b", "i8")]),
        np.linspace(0, 1, 36).reshape(12, 3).astype(np.float16),
        np.linspace(0, 1, 36).reshape(12, 3).astype(">f8"),
    ]
)
LINKS = st.sampled_from(
    [
        h5py.SoftLink("/nowhere"),
        h5py.SoftLink("/"),
        h5py.ExternalLink("/etc/passwd", "/x"),
        h5py.ExternalLink("missing.hdf5", "/x"),
    ]
)
ATTRIBUTES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["{", "[" * 5000, "null", '{"env_name": 3}', '{"env_name": "Lift", "env_kwargs": {}}', "\ud800"]),
    st.just(np.zeros((1000, 8))),
    st.floats(),
)


def changes(keys):
    """A few changes of a file, each of the form (what, key, value)."""
    key = st.sampled_from(keys)
    one = st.one_of(
        st.tuples(st.just("remove"), key, st.none()),
        st.tuples(st.just("array"), key, ODD_ARRAYS),
        st.tuples(st.just("group"), key, st.none()),
        st.tuples(st.just("link"), key, LINKS),
        st.tuples(st.just("cut"), key, st.integers(0, 13)),
        st.tuples(st.just("fill"), key, st.sampled_from([0, 1, -1, np.nan, np.inf, 255])),
        st.tuples(st.just("roll"), key, st.integers(-3, 3)),
        st.tuples(st.just("unwritten"), key, st.sampled_from([(12,), (10**9,), (10**6, 3), (2**40, 2**20)])),
        st.tuples(st.just("compressed"), key, st.sampled_from([(1,), (5, 2), (10**4, 3)])),
        st.tuples(st.just("external"), key, st.none()),
        st.tuples(st.just("alias"), key, key),
        st.tuples(st.just("attribute"), st.sampled_from(["/", "data"]), ATTRIBUTES),
    )
    # Bytes turned over, at places that are shares of the file.
    damage = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=3)
    return st.tuples(st.lists(one, max_size=3), st.one_of(st.just([]), damage))


def apply(path, chosen):
    """Make the changes that the file's structure allows, in order, then turn the bytes over."""
    steps, damage = chosen
    with h5py.File(path, "a") as file:
        for what, key, value in steps:
            # A change may make another impossible (a key below an array), which leaves the file as it is.
            try:
                _change(file, what, key, value)
            except (KeyError, IndexError, ValueError, TypeError, OSError, RuntimeError, AttributeError):
                continue
    data = bytearray(path.read_bytes())
    for share, flip in damage:
        data[int(share * len(data))] ^= flip
    path.write_bytes(bytes(data))


def _change(file, what, key, value):
    if what == "attribute":
        file[key].attrs["env_args"] = value
        return
    if what == "alias":
        target = file[value]
        del file[key]
        file[key] = target
        return
    old = np.zeros((12, 3))
    if key in file and isinstance(file[key], h5py.Dataset) and file[key].nbytes < 1 << 20:
        old = file[key][()]
    if key in file:
        del file[key]
    if what == "array":
        file[key] = value
    elif what == "group":
        file.create_group(key)
    elif what == "link":
        file[key] = value
    elif what == "cut":
        file[key] = old[:value]
    elif what == "fill":
        with np.errstate(invalid="ignore"):
            file[key] = np.full(old.shape, value).astype(old.dtype)  # -1 wraps where the type has no sign
    elif what == "roll":
        file[key] = np.roll(old, value, axis=0)
    elif what == "unwritten":
        file.create_dataset(key, value, np.float32, chunks=(1,) * (len(value) - 1) + (2,))
    elif what == "compressed":
        file.create_dataset(key, data=np.zeros(value, np.float32), chunks=True, compression="gzip", shuffle=True)
    elif what == "external":
        file.create_dataset(key, (12, 3), np.uint8, external=[("/etc/passwd", 0, 36)])


def read(path: Path, options: ReadOptions = ReadOptions()):  # noqa: B008
    """Read and check what holds of every dataset that is not refused."""
    columns, info = read_source(Source(path, "fuzzed"), "0" * 64, options, None)
    n = len(columns.rewards)
    assert columns.observations.shape == (n, info.observation_dim)
    assert columns.actions.shape == (n, info.action_dim)
    assert len(columns.terminals) == len(columns.timeouts) == n
    assert (columns.terminals | columns.timeouts)[-1]
    assert not (columns.terminals & columns.timeouts).any() or path.suffix == ".hdf5"
    offsets = episode_offsets(columns.terminals, columns.timeouts)
    assert offsets[-1] == n
    assert columns.final_observations is None or columns.final_observations.shape == (
        len(offsets) - 1,
        info.observation_dim,
    )
    for values in (columns.observations, columns.actions, columns.rewards):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert b"root:" not in columns.observations.astype(np.uint8).tobytes()
    assert describe(columns, name="", source="", source_sha256="", env_id=None).num_steps == info.num_steps


def motion(steps, o=3):
    return np.cumsum(np.full((steps + 1, o), 0.1) + np.arange(o), axis=0).astype(np.float32)


FLAT = ["observations", "actions", "rewards", "terminals", "timeouts", "next_observations", "dones", "truncations"]


def write_flat(chosen, folder):
    path = folder / "d.hdf5"
    states = np.concatenate([motion(6)[:-1], motion(6)[:-1]])
    with h5py.File(path, "w") as file:
        file["observations"] = states
        file["next_observations"] = np.concatenate([motion(6)[1:], motion(6)[1:]])
        file["actions"] = np.linspace(-1, 1, 24).reshape(12, 2).astype(np.float32)
        file["rewards"] = np.ones(12, np.float32)
        file["terminals"] = np.arange(12) == 5
        file["timeouts"] = np.arange(12) == 11
    apply(path, chosen)
    return path


def test_flat_files(fuzz):
    fuzz(changes(FLAT), write_flat, read)


DEMOS = [
    *(f"data/demo_{n}/{key}" for n in (0, 1) for key in ("actions", "rewards", "dones", "obs", "next_obs")),
    *(f"data/demo_0/{group}/{key}" for group in ("obs", "next_obs") for key in ("object", "robot0_eef_pos")),
    "data",
    "data/demo_1",
    "data/demo_0/obs/front_image",
    "mask/train",
    "mask",
]
LOW_DIM = {"object": 5, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}


def write_demos(example, folder):
    chosen, options = example
    path = folder / "d.hdf5"
    with h5py.File(path, "w") as file:
        for number, steps in enumerate((12, 7)):
            group = file.create_group(f"data/demo_{number}")
            group["actions"] = np.linspace(-1, 1, 2 * steps).reshape(steps, 2)
            group["rewards"] = np.ones(steps)
            group["dones"] = np.arange(steps) == steps - 1
            for key, width in LOW_DIM.items():
                group[f"obs/{key}"], group[f"next_obs/{key}"] = motion(steps, width)[:-1], motion(steps, width)[1:]
            group["obs/front_image"] = np.zeros((steps, 4, 4, 3), np.uint8)
        file["mask/train"] = np.array([b"demo_0"])
        file["data"].attrs["env_args"] = '{"env_name": "Lift"}'
    apply(path, chosen)
    return path, options


OPTIONS = st.sampled_from(
    [
        ReadOptions(),
        ReadOptions(filter_key="train"),
        ReadOptions(cameras=("front",)),
        ReadOptions(observation_keys=("object",)),
        ReadOptions(observation_keys=("../obs/object", "nowhere")),
    ]
)


def test_demonstrations(fuzz):
    fuzz(st.tuples(changes(DEMOS), OPTIONS), write_demos, lambda written: read(*written))


EPISODES = [
    *(f"episode_{n}/{key}" for n in (0, 1) for key in ("observations", "actions", "rewards", "terminations")),
    "episode_0/truncations",
    "episode_0/infos/x",
    "episode_1",
]
METADATA = st.dictionaries(
    st.sampled_from(["total_episodes", "total_steps", "observation_space", "action_space", "data_format", "env_spec"]),
    st.one_of(
        st.none(),
        st.integers(-2, 2**70),
        st.text(max_size=10),
        st.sampled_from(['{"type": "Box"}', '{"type": "Discrete", "n": 3}', "[" * 3000, "arrow", "nothing"]),
        st.just({"a": []}),
    ),
    max_size=2,
)


def space(size):
    bounds = {"low": [-100.0] * size, "high": [100.0] * size}
    return json.dumps({"type": "Box", "dtype": "float32", "shape": [size], **bounds})


def write_minari(example, folder):
    chosen, metadata = example
    folder = folder / "data"
    folder.mkdir()
    path = folder / "main_data.hdf5"
    with h5py.File(path, "w") as file:
        for number in range(2):
            group = file.create_group(f"episode_{number}")
            group["observations"], group["actions"] = motion(12), np.linspace(-1, 1, 24).reshape(12, 2)
            group["rewards"], group["infos/x"] = np.ones(12), np.zeros(12)
            group["terminations"], group["truncations"] = np.arange(12) == 11, np.zeros(12, bool)
    apply(path, chosen)
    content = {
        "total_episodes": 2,
        "total_steps": 24,
        "observation_space": space(3),
        "action_space": space(2),
        "data_format": "hdf5",
        "dataset_id": "test/fuzz-v0",
        "minari_version": pytest.importorskip("minari").__version__,
        **metadata,
    }
    (folder / "metadata.json").write_text(json.dumps(content))
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
def test_minari_folders(fuzz, tmp_path, monkeypatch):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    fuzz(st.tuples(changes(EPISODES), METADATA), write_minari, read)
