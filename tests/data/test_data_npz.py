"""The layout of DPPO's and ReinFlow's authors: train.npz and normalization.npz, in raw units here."""

import re
import zipfile

import numpy as np
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.errors import InputError

LENGTHS = [6, 4, 5]


def scaled(values, low, high):
    """The authors' own formula."""
    return 2 * (values - low) / (high - low + 1e-6) - 1


@pytest.fixture
def raw(columns_of):
    return columns_of(tuple(LENGTHS))


@pytest.fixture
def arrays(raw):
    """train.npz and normalization.npz as dictionaries."""
    states, actions = raw["observations"] * 5 + 3, raw["actions"]
    bounds = {
        "obs_min": states.min(0),
        "obs_max": states.max(0),
        "action_min": actions.min(0),
        "action_max": actions.max(0),
    }
    train = {
        "states": scaled(states, bounds["obs_min"], bounds["obs_max"]).astype(np.float32),
        "actions": scaled(actions, bounds["action_min"], bounds["action_max"]).astype(np.float32),
        "rewards": raw["rewards"],
        "terminals": raw["terminals"],
        "traj_lengths": np.array(LENGTHS),
    }
    return train, bounds


@pytest.fixture
def written(tmp_path, arrays):
    def write(**changes):
        train, bounds = arrays
        folder = tmp_path / "walker-set"
        folder.mkdir(exist_ok=True)
        np.savez_compressed(folder / "train.npz", **{k: v for k, v in (train | changes).items() if v is not None})
        np.savez(folder / "normalization.npz", **bounds)
        return folder / "train.npz"

    return write


@pytest.fixture
def refused(cache):
    def check(path, *words, **options):
        with pytest.raises(InputError) as caught:
            load_dataset(path, **options)
        message = str(caught.value)
        for word in words:
            assert word in message
        assert "\n" not in message
        assert not re.search(r"[.!?] [A-Z]", message), "one sentence"

    return check


def test_raw_units_come_back(cache, written, raw):
    dataset = load_dataset(written())
    np.testing.assert_allclose(dataset.observations, raw["observations"] * 5 + 3, atol=2e-5)
    np.testing.assert_allclose(dataset.actions, raw["actions"], atol=1e-6)
    np.testing.assert_array_equal(dataset.rewards, raw["rewards"])
    np.testing.assert_array_equal(np.diff(dataset.episode_offsets), LENGTHS)
    np.testing.assert_array_equal(dataset.terminals, raw["terminals"])
    np.testing.assert_array_equal(dataset.timeouts, raw["timeouts"])
    assert dataset.info.name == "walker-set-train"
    assert dataset.final_observations is None


def test_terminals_and_rewards_may_be_missing(cache, written):
    dataset = load_dataset(written(terminals=None, rewards=None))
    assert not dataset.terminals.any()
    np.testing.assert_array_equal(np.flatnonzero(dataset.timeouts), np.cumsum(LENGTHS) - 1)
    assert not dataset.rewards.any()


def test_a_terminal_within_an_episode_ends_nothing(cache, written, raw):
    raw["terminals"][2] = True
    np.testing.assert_array_equal(np.diff(load_dataset(written(terminals=raw["terminals"])).episode_offsets), LENGTHS)


def test_other_bounds_are_other_data(cache, written, arrays):
    first = load_dataset(written())
    arrays[1]["obs_max"] = arrays[1]["obs_max"] + 1
    second = load_dataset(written())
    assert second.info.source_sha256 != first.info.source_sha256
    assert second.observations.max() > first.observations.max()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_of_two_cameras(cache, written, arrays, save):
    pixels = np.random.default_rng(0).integers(0, 256, (15, 6, 5, 4), dtype=np.uint8)
    path = written()
    save(path, **arrays[0], images=pixels)
    dataset = load_dataset(path, cameras=["front", "hand"])
    assert dataset.images.shape == (15, 2, 5, 4, 3)
    np.testing.assert_array_equal(dataset.images[7, 1, 3, 2], pixels[7, 3:, 3, 2])
    np.testing.assert_array_equal(dataset.images[14, 0, :, :, 2], pixels[14, 2])
    assert dataset.info.cameras == ("front", "hand")
    assert load_dataset(path).images is None


def test_humanoids_constant_dimensions_are_known(cache, tmp_path):
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (10, 376))
    states[:, 60:] = -1.0
    for name in ("humanoid-medium-v3", "robot"):
        folder = tmp_path / name
        folder.mkdir()
        arrays = {"states": states, "actions": rng.uniform(-1, 1, (10, 17)), "traj_lengths": [10]}
        np.savez(folder / "train.npz", **arrays)
        low, high = np.full(376, -2.0), np.full(376, 2.0)
        high[60:] = -2.0
        bounds = {"obs_min": low, "obs_max": high, "action_min": -np.ones(17), "action_max": np.ones(17)}
        np.savez(folder / "normalization.npz", **bounds)
    assert load_dataset(tmp_path / "humanoid-medium-v3" / "train.npz").observations[3, 100] == -2.0
    with pytest.raises(InputError, match="60-375 of 376"):
        load_dataset(tmp_path / "robot" / "train.npz")


@pytest.mark.parametrize("key", ["states", "actions", "traj_lengths"])
def test_missing_array(refused, written, key):
    refused(written(**{key: None}), "train.npz", f"'{key}' is missing", "traj_lengths")


def test_missing_normalization(refused, written):
    path = written()
    path.with_name("normalization.npz").unlink()
    refused(path, "normalization.npz: no such file", "in the same folder")


def test_missing_bound(refused, written, arrays):
    del arrays[1]["action_max"]
    refused(written(), "normalization.npz", "'action_max' is missing")


def test_bounds_of_another_set(refused, written, arrays):
    arrays[1]["obs_min"] = arrays[1]["obs_min"][:3]
    refused(written(), "'states' has 4 dimensions", "[3]", "beside it")


@pytest.mark.parametrize("lengths", [[6, 4, 4], [6, 9, 0], [6.0, 4.0, 5.0]])
def test_lengths_that_do_not_divide_the_steps(refused, written, lengths):
    refused(written(traj_lengths=np.array(lengths)), "'traj_lengths' does not divide the 15 steps")


def test_ragged(refused, written, raw):
    refused(written(rewards=raw["rewards"][:-1]), "'rewards' 14", "'states' 15")


def test_wrong_axes(refused, written, arrays):
    refused(written(states=arrays[0]["states"][0]), "'states' has shape [4]")


def test_not_finite(refused, written, arrays):
    arrays[0]["actions"][3, 1] = np.nan
    refused(written(), "'actions' holds nan at row 3, dimension 1")


def test_pickled_objects_are_not_loaded(refused, written, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    refused(written(rewards=np.array([Trap()] * 15, dtype=object)), "pickled objects")
    assert not (tmp_path / "sprung").exists()


def test_text(refused, written):
    refused(written(rewards=np.array(["a"] * 15)), "'rewards' is of type <U1")


@pytest.mark.parametrize("content", [b"", b"PK", b"not an archive"])
def test_not_an_archive(refused, written, content):
    path = written()
    path.write_bytes(content)
    refused(path, "train.npz", "not a readable .npz file")


def test_truncated(refused, written):
    path = written()
    path.write_bytes(path.read_bytes()[:-200])
    refused(path, "train.npz", "not a readable .npz file")


@pytest.mark.parametrize(
    ("images", "cameras", "word"),
    [
        (None, ["a"], "'images' is missing"),
        (np.zeros((15, 6, 2, 2), np.uint8), ["a"], "holds 2 cameras but 1 are named"),
        (np.zeros((15, 6, 2, 2), np.float32), ["a", "b"], "'images' is float32"),
        (np.zeros((14, 6, 2, 2), np.uint8), ["a", "b"], "[14, 6, 2, 2]"),
        (np.zeros((15, 4, 2, 2), np.uint8), ["a"], "3 * cameras"),
        (np.full((15, 3, 2, 2), None), ["a"], "'images' is object"),
    ],
)
def test_unusable_images(refused, written, images, cameras, word):
    refused(written(images=images), word, cameras=cameras)


def test_other_options_do_not_apply(refused, written):
    refused(written(), "'filter_key' does not apply", filter_key="train")


def header(text, version=b"\x01\x00"):
    body = text.encode("latin-1")
    return b"\x93NUMPY" + version + len(body).to_bytes(2 if version == b"\x01\x00" else 4, "little") + body


def member(shape, descr="'<f4'", fortran="False"):
    return header(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n")


MEMBERS = {
    "10^9 rows": member("(1000000000, 4)"),
    "negative": member("(-5, 4)"),
    "10^30": member("(1" + 30 * "0" + ", 4)"),
    "no axis": member("()") + bytes(4),
    "a deep header": header("(" * 5000 + ")" * 5000),
    "a long header": header("{'descr': '<f4', " + "'x': 1, " * 5000 + "}", b"\x02\x00"),
    "an open string": header("{'descr': '<f4\n"),
    "tokens": header("{'descr': '<f4', 'fortran_order': False, 'shape': (15L, 4), \x00(((\n"),
    "a type of many": member("(15, 4)", "('<f4', (100, 100))"),
    "fields": member("(15,)", "[('a', '<f4'), ('b', '<f4')]"),
    "text": member("(15, 4)", "'<U2'") + bytes(15 * 4 * 8),
    "objects": member("(15, 4)", "'|O'") + b"cos\nsystem\n(S'true'\ntR.",
    "times": member("(15, 4)", "'<M8[s]'") + bytes(15 * 4 * 8),
    "cut": member("(15, 4)") + bytes(100),
    "version 9": b"\x93NUMPY\x09\x00" + bytes(50),
    "nothing": b"",
}


@pytest.mark.parametrize("what", MEMBERS)
def test_a_hostile_array_is_one_sentence(refused, written, what):
    path = written(states=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("states.npy", MEMBERS[what])
    refused(path, "train.npz")


def test_an_archive_that_zipfile_cannot_read_is_one_sentence(refused, written):
    for flag in (b"\x01\x00", b"\x20\x00"):
        path = written()
        content = bytearray(path.read_bytes())
        at = content.index(b"PK\x01\x02")
        while at >= 0:  # the general purpose flags of every entry
            content[at + 8 : at + 10] = flag
            at = content.find(b"PK\x01\x02", at + 4)
        path.write_bytes(content)
        refused(path, "not a readable")
    path = written()
    with zipfile.ZipFile(path) as archive:
        stored = archive.getinfo("states.npy").header_offset
    content = bytearray(path.read_bytes())
    content[stored + 60 : stored + 200] = bytes(140)
    path.write_bytes(content)
    refused(path, "not a readable")


def test_zeros_that_would_fill_the_memory_are_refused(refused, written, monkeypatch):
    monkeypatch.setattr("rllib_scoreflow.data.readers.npz._HARMLESS_BYTES", 1 << 20)
    path = written(states=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_BZIP2) as archive, archive.open("states.npy", "w") as file:
        file.write(member("(1000000, 1)"))
        for _ in range(4):
            file.write(bytes(1_000_000))
    assert path.stat().st_size < 3_000
    refused(path, "'states' is compressed as NumPy never does it")


def test_lengths_whose_sum_overflows_to_the_right_number_are_refused(refused, written):
    wrapped = np.array([2**63, 2**63 + 5, 10], np.uint64)
    refused(written(traj_lengths=wrapped), "'traj_lengths' does not divide")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_compression_that_numpy_never_writes_is_refused(refused, written, arrays, method):
    path = written(states=None)
    with zipfile.ZipFile(path, "a", method) as archive, archive.open("states.npy", "w") as member:
        np.save(member, arrays[0]["states"])
    refused(path, "train.npz", "compressed")
