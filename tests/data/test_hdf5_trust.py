"""A dataset of somebody else: it consists of itself, holds what it declares, and its faults are one sentence each."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.data.readers.d4rl import read_d4rl_hdf5
from rllib_scoreflow.errors import InputError

LOWDIM = Path(__file__).parent / "fixtures" / "lift_lowdim.hdf5"


@pytest.fixture
def flat(tmp_path, columns, write):
    return write(tmp_path / "d.hdf5", columns)


@pytest.fixture
def demos(tmp_path):
    path = tmp_path / "demos.hdf5"
    path.write_bytes(LOWDIM.read_bytes())
    return path


@pytest.fixture
def refused(cache):
    def check(path, *words, **options):
        with pytest.raises(InputError) as caught:
            load_dataset(path, **options)
        message = str(caught.value)
        for word in (path.name, *words):
            assert word in message
        assert "\n" not in message
        assert len(message) < 700
        assert not list(cache.rglob("*.parquet"))

    return check


@contextmanager
def edited(path, key):
    """Give the file and the values of a column that is taken out of it."""
    with h5py.File(path, "a") as file:
        values = file[key][()]
        del file[key]
        yield file, values


def secret(tmp_path, values):
    path = tmp_path / "secret.bin"
    path.write_bytes(np.ascontiguousarray(values, np.float32).tobytes())
    return path


@pytest.mark.parametrize("key", ["observations", "rewards", "terminals"])
def test_a_column_stored_in_another_file(refused, tmp_path, flat, key):
    with edited(flat, key) as (file, values):
        file.create_dataset(
            key, values.shape, np.float32, external=[(str(secret(tmp_path, values)), 0, values.size * 4)]
        )
    refused(flat, f"'{key}'", "stored in other files")


def test_a_demonstration_stored_in_another_file(refused, tmp_path, demos):
    with edited(demos, "data/demo_2/actions") as (file, values):
        outside = [(str(secret(tmp_path, values)), 0, values.size * 4)]
        file.create_dataset("data/demo_2/actions", values.shape, np.float32, external=outside)
    refused(demos, "'data/demo_2/actions'", "stored in other files")


@pytest.mark.parametrize("exists", [True, False])
def test_a_virtual_column(refused, tmp_path, flat, exists):
    with edited(flat, "observations") as (file, values):
        part = tmp_path / "part.hdf5"
        if exists:
            with h5py.File(part, "w") as other:
                other["x"] = values
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout[:] = h5py.VirtualSource(str(part), "x", values.shape)
        file.create_virtual_dataset("observations", layout)
    refused(flat, "'observations'", "stored in other files")


@pytest.mark.parametrize("what", ["data", "demo", "column"])
def test_a_link_to_another_file(refused, tmp_path, demos, what):
    other = tmp_path / "other.hdf5"
    other.write_bytes(demos.read_bytes())
    key = {"data": "data", "demo": "data/demo_2", "column": "data/demo_2/obs/object"}[what]
    with h5py.File(demos, "a") as file:
        del file[key]
        file[key] = h5py.ExternalLink(str(other), key)
    refused(demos, f"'{key}' is a link to another file", "copy what it points to")


def test_a_soft_link(refused, flat):
    with h5py.File(flat, "a") as file:
        file.move("actions", "hidden")
        file["actions"] = h5py.SoftLink("/hidden")
    refused(flat, "'actions' is a soft link")


@pytest.mark.parametrize("key", ["observations", "next_observations", "timeouts"])
def test_a_dangling_link(refused, flat, key):
    with h5py.File(flat, "a") as file:
        del file[key]
        file[key] = h5py.SoftLink("/nowhere")
    refused(flat, f"'{key}' is a soft link")


def test_a_link_that_is_not_read_is_refused_too(refused, flat):
    with h5py.File(flat, "a") as file:
        file["infos/qpos"] = h5py.ExternalLink("/etc/passwd", "/x")
    refused(flat, "'infos/qpos' is a link to another file")


@pytest.mark.parametrize("virtual", [False, True])
def test_an_array_stored_elsewhere_that_is_not_read_is_refused_too(refused, flat, virtual):
    with h5py.File(flat, "a") as file:
        if virtual:
            layout = h5py.VirtualLayout((10,), np.uint8)
            layout[:] = h5py.VirtualSource("/etc/other.hdf5", "x", (10,))
            file.create_virtual_dataset("infos/x", layout)
        else:
            file.create_dataset("infos/x", (10,), np.uint8, external=[("/etc/passwd", 0, 10)])
    refused(flat, "'infos/x' is stored in other files")


def test_hard_links_and_loops_of_them_are_the_file_itself(tmp_path, cache, flat):
    with h5py.File(flat, "a") as file:
        file["infos/again"] = file["observations"]
        file["infos/loop"] = file["infos"]
    assert load_dataset(flat).info.num_steps == 21


@pytest.mark.parametrize("chunks", [None, (1 << 16,)])
def test_rows_that_nobody_wrote(refused, tmp_path, columns, chunks):
    path = tmp_path / "d.hdf5"
    rows = 1_000_000_000
    with h5py.File(path, "w") as file:
        for key, values in columns.items():
            wide = None if chunks is None else (*chunks, *values.shape[1:])
            file.create_dataset(key, (rows, *values.shape[1:]), values.dtype, chunks=wide)
    assert path.stat().st_size < 20_000
    refused(path, "'observations'", "none was written")


def test_rows_that_were_written_in_part(refused, flat):
    with edited(flat, "rewards") as (file, values):
        column = file.create_dataset("rewards", (21,), np.float32, chunks=(7,))
        column[:7] = values[:7]
    refused(flat, "'rewards'", "1 of its 3 chunks were written")


def test_rows_in_a_hole_of_the_file(tmp_path, columns):
    path = tmp_path / "d.hdf5"
    rows = 1_000_000_000
    with h5py.File(path, "w") as file:
        for key, values in columns.items():
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple((rows, *values.shape[1:]))
            h5py.h5d.create(file.id, key.encode(), h5py.h5t.py_create(values.dtype), space, plan)
    assert path.stat().st_blocks * 512 < 1 << 20
    with pytest.raises(InputError, match="more than a file of"):  # not by its hash, for which all of it is read
        read_d4rl_hdf5(path)


def test_one_demonstration_by_many_names(refused, tmp_path, demos):
    with h5py.File(demos, "a") as file:
        rows = 100_000
        del file["data/demo_2"]
        group = file.create_group("data/demo_2")
        zeros = {"actions": (rows, 7), "rewards": (rows,), "dones": (rows,)}
        widths = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "object": 10}
        zeros |= {f"obs/{key}": (rows, width) for key, width in widths.items()}
        for key, shape in zeros.items():
            group.create_dataset(key, data=np.zeros(shape, np.float16), compression="gzip")
        for number in range(100, 1100):
            file[f"data/demo_{number}"] = group
    refused(demos, "add up to more values than a file of")


def test_a_file_that_is_being_written_is_called_that(refused, flat):
    with h5py.File(flat, "a"):
        program = (
            "from rllib_scoreflow.data import load_dataset\n"
            "try:\n"
            f"    load_dataset({str(flat)!r})\n"
            "except ValueError as error:\n"
            "    print(error)\n"
        )
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "d.hdf5: the file is locked by a program that writes it" in found
    assert "damaged" not in found


def test_a_file_whose_writer_died_names_the_tool(refused, tmp_path, flat):
    with h5py.File(tmp_path / "live.hdf5", "w", libver="latest") as file:
        file.create_dataset("observations", (10, 2), np.float32, chunks=(5, 2), maxshape=(None, 2))
        file.swmr_mode = True
        file.flush()
        copy = tmp_path / "copy.hdf5"
        copy.write_bytes((tmp_path / "live.hdf5").read_bytes())
    refused(copy, "h5clear -s copy.hdf5")


@contextmanager
def as_nobody():
    """Without the superuser's right to read everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read_is_called_that(tmp_path, columns, write):
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder.name.startswith("pytest"):
            folder.chmod(0o755)
    path = write(tmp_path / "d.hdf5", columns)
    path.chmod(0)
    with as_nobody(), pytest.raises(InputError, match=r"d\.hdf5: the file may not be read \(permission denied\)"):
        read_d4rl_hdf5(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data/demo_2/obs", np.zeros(3)),
        ("data/demo_2/actions", "group"),
        ("data/demo_2/obs/object", "group"),
        ("data/demo_2/rewards", "text"),
        ("data/demo_2/next_obs/object", "group"),
        ("data/demo_2/next_obs/object", np.zeros((41, 9))),
        ("data/demo_2/next_obs/object", np.zeros(41)),
        ("mask/train", "group"),
        ("mask/train", np.zeros(3)),
    ],
)
def test_another_thing_in_the_place_of_an_array(cache, demos, key, value):
    with h5py.File(demos, "a") as file:
        del file[key]
        if isinstance(value, str) and value == "group":
            file.create_group(key)
        else:
            file[key] = value
    options = {"filter_key": "train"} if key.startswith("mask") else {}
    if key.endswith("next_obs/object") and isinstance(value, str):
        assert load_dataset(demos).final_observations is None  # it is as good as missing
        return
    with pytest.raises(InputError, match=re.escape("demos.hdf5")):
        load_dataset(demos, **options)


def test_actions_of_another_type_in_one_demonstration(refused, demos):
    with edited(demos, "data/demo_2/actions") as (file, values):
        file["data/demo_2/actions"] = (100 * (values + 1)).astype(np.uint8)
    refused(demos, "'actions' is of type uint8")


def test_next_obs_of_other_steps(refused, demos):
    with h5py.File(demos, "a") as file:
        for demo in file["data"].values():
            for column in demo["next_obs"].values():
                column[...] = np.roll(column[...], 1, axis=0)
    refused(demos, "/next_obs' is not 'obs' of the following step", "leave next_obs out")


def test_bytes_turned_over_are_refused_or_read(tmp_path, columns):
    """Every damage is one sentence or the values of the file; 200 places in a compressed file."""
    path = tmp_path / "d.hdf5"
    with h5py.File(path, "w") as file:
        for key, values in columns.items():
            file.create_dataset(key, data=values, compression="gzip", fletcher32=True)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refusals = []
    for place in rng.integers(8, len(whole), 200):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_d4rl_hdf5(path)
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert not any("\n" in message for message in refusals)


def test_a_message_repeats_little_of_a_file(refused, tmp_path, columns, write):
    del columns["observations"]
    path = write(tmp_path / "d.hdf5", columns)
    with h5py.File(path, "a") as file:
        for number in range(300):
            file[f"a\n\x1b[31m column of a very long name that fills the screen {number}"] = number
    refused(path, "'observations' is missing", "...")


@pytest.mark.parametrize("name", ["n" * 300 + ".hdf5", "~nosuchuser/d.hdf5", "d.hdf5/inner.hdf5"])
def test_paths_that_cannot_be(cache, flat, name):
    with pytest.raises(InputError) as caught:
        load_dataset(str(flat.parent / name) if not name.startswith("~") else name)
    assert "\n" not in str(caught.value)
