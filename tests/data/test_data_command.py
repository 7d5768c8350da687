"""`rllib dataset convert | info | verify | render`, through the real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from rllib_scoreflow.cli.main import run
from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.data.readers.d4rl import read_d4rl_hdf5
from rllib_scoreflow.data.schema import RawColumns, describe
from rllib_scoreflow.data.store import to_table, write_arrow

FIXTURES = Path(__file__).parent / "fixtures"
LOWDIM, IMAGE = FIXTURES / "lift_lowdim.hdf5", FIXTURES / "lift_image.hdf5"


@pytest.fixture
def rllib(cache, capsys):
    """Run the command in this process; returns status, stdout, stderr."""
    environment = dict(os.environ)

    def command(*words):
        capsys.readouterr()
        status = run([str(word) for word in ("dataset", *words)])
        return status, *capsys.readouterr()

    yield command
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def refused(rllib):
    """Run a command that must be refused with one sentence; returns it."""

    def command(*words):
        status, out, err = rllib(*words)
        assert (status, out) == (2, ""), err
        assert err.startswith("rllib: ")
        assert err.count("\n") == 1
        return err

    return command


@pytest.fixture
def flat(tmp_path, columns, write):
    return write(tmp_path / "mine.hdf5", columns, {"env": "Hopper-v4"})


def test_the_installed_command_converts(tmp_path, flat, columns):
    command = [sys.executable, "-m", "rllib_scoreflow.cli", "dataset", "convert", flat, tmp_path / "out" / "d.parquet"]
    environment = {**os.environ, "RLLIB_SCOREFLOW_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "21 steps, 3 episodes" in done.stdout
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["d.parquet"]
    assert not (tmp_path / "cache").exists()
    dataset = load_dataset(tmp_path / "out" / "d.parquet", cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(dataset.actions, columns["actions"])
    assert dataset.info.source == "mine.hdf5"


def test_convert_takes_the_options(rllib, tmp_path):
    output = tmp_path / "d.parquet"
    options = ("--filter-key", "train", "--cameras", "robot0_eye_in_hand,agentview", "--observation-keys", "object")
    assert rllib("convert", IMAGE, output, *options)[0] == 0
    dataset = load_dataset(output)
    assert dataset.info.num_episodes == 1
    assert dataset.info.cameras == ("robot0_eye_in_hand", "agentview")
    assert dataset.info.observation_keys == ("object",)
    with h5py.File(IMAGE) as file:
        np.testing.assert_array_equal(dataset.images[:, 1], file["data/demo_1/obs/agentview_image"][()])


def test_convert_keeps_constant_dimensions_for_loading_to_judge(rllib, tmp_path, columns, write):
    columns["observations"][:, 1] = 0
    assert rllib("convert", write(tmp_path / "d.hdf5", columns), tmp_path / "d.parquet")[0] == 0
    assert (load_dataset(tmp_path / "d.parquet", constant_observations="allow").observations[:, 1] == 0).all()


def test_convert_never_overwrites_unless_told(rllib, refused, tmp_path, flat):
    output = tmp_path / "d.parquet"
    output.write_text("mine")
    assert "exists already" in refused("convert", flat, output)
    assert output.read_text() == "mine"
    assert rllib("convert", flat, output, "--overwrite")[0] == 0
    assert load_dataset(output).info.num_steps == 21
    assert "is the source itself" in refused("convert", output, output, "--overwrite")
    assert load_dataset(output).info.num_steps == 21


def test_a_failing_conversion_leaves_the_former_file(refused, tmp_path, columns, write):
    output = tmp_path / "d.parquet"
    output.write_text("mine")
    columns["actions"][2, 0] = np.nan
    assert "'actions' holds nan" in refused("convert", write(tmp_path / "d.hdf5", columns), output, "--overwrite")
    assert output.read_text() == "mine"
    assert {p.name for p in tmp_path.iterdir()} == {"d.hdf5", "d.parquet"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("convert", "gone.hdf5", "d.parquet"), "no such file"),
        (("convert", LOWDIM, "d.hdf5"), "ends in .parquet"),
        (("convert", LOWDIM, "d.parquet", "--filter-key", "x"), "mask/x"),
        (("convert", LOWDIM, "d.parquet", "--cameras", "agentview"), "rllib dataset render"),
        (("convert", LOWDIM, "d.parquet", "--cameras", "a,,b"), "different names"),
        (("info", "hopper-meduim-v2"), "did you mean"),
        (("verify", "gone.parquet"), "no such file"),
        (("render", "gone.hdf5", "out.hdf5"), "no such file"),
        (("render", LOWDIM, "out.mp4"), "ends in .hdf5"),
        (("render", LOWDIM, "gone/out.hdf5"), "no such folder"),
        (("render", LOWDIM, IMAGE), "exists already"),
    ],
)
def test_mistakes(refused, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    before = IMAGE.read_bytes()
    assert said in refused(*words)
    assert list(tmp_path.iterdir()) == []
    assert IMAGE.read_bytes() == before


def test_info_as_json(rllib):
    status, out, _ = rllib("info", IMAGE, "--cameras", "agentview", "--json")
    found = json.loads(out)
    assert status == 0
    assert found["num_steps"] == 32
    assert (found["observation_dim"], found["action_dim"]) == (9, 7)
    assert (found["cameras"], found["image_size"]) == (["agentview"], [84, 84])
    assert found["env_id"] == "robomimic/lift"
    assert len(found["content_sha256"]) == 64
    assert len(found["observation_min"]) == 9


def test_info_as_a_table(rllib):
    status, out, _ = rllib("info", "hopper-small")
    assert status == 0
    for word in ("Hopper-v4", "episodes", "180", "mean return", "content SHA-256", "action max"):
        assert word in out


@pytest.mark.parametrize("options", [(), ("--cameras", "agentview"), ("--filter-key", "valid")])
def test_verify_a_good_one(rllib, options):
    status, out, _ = rllib("verify", IMAGE, *options)
    assert status == 0
    assert "in order" in out
    assert "chunks" in out


def test_verify_a_converted_one(rllib, tmp_path):
    assert rllib("convert", IMAGE, tmp_path / "d.parquet", "--cameras", "agentview")[0] == 0
    assert rllib("verify", tmp_path / "d.parquet")[0] == 0


def test_verify_finds_changed_columns(rllib, refused, tmp_path, flat):
    path = tmp_path / "d.parquet"
    rllib("convert", flat, path)
    table = pq.read_table(path)
    pq.write_table(table.slice(3), path)
    assert "changed after" in refused("verify", path)


def test_verify_finds_a_cache_that_is_not_the_source(rllib, refused, cache, columns, flat):
    dataset = load_dataset(flat)
    (arrow,) = (cache / "converted").glob("*.arrow")
    raw = read_d4rl_hdf5(flat)
    other = RawColumns(raw.observations, raw.actions + 1, raw.rewards, raw.terminals, raw.timeouts)
    info = describe(other, name="d", source="", source_sha256=dataset.info.source_sha256, env_id=None)
    write_arrow(to_table(other, info), arrow)
    assert "is not the source's" in refused("verify", flat)


def test_verify_finds_a_download_that_was_changed(refused, cache, columns, write):
    folder = cache / "downloads"
    folder.mkdir(parents=True)
    write(folder / "hopper_medium-v2.hdf5", columns)
    (folder / "hopper_medium-v2.hdf5.sha256").write_text("0" * 64)
    assert "changed after its download" in refused("verify", "hopper-medium-v2")


def test_render_gives_a_recording_images(rllib, refused, tmp_path):
    pytest.importorskip("robosuite")
    recording = FIXTURES.parents[1] / "envs" / "fixtures" / "lift.hdf5"
    target = tmp_path / "rendered.hdf5"
    status, out, err = rllib("render", recording, target, "--cameras", "agentview", "--size", "32")
    assert status == 0, err
    assert "rendered.hdf5" in out
    recorded, rendered = load_dataset(recording), load_dataset(target, cameras=["agentview"])
    assert rendered.info.cameras == ("agentview",)
    assert rendered.images.shape == (len(rendered.observations), 1, 32, 32, 3)
    assert rendered.images.std() > 10.0  # not one colour
    np.testing.assert_array_equal(rendered.actions, recorded.actions)
    assert rendered.observations.shape[1] == 9  # proprioception: the object is to be seen
    difference = np.abs(rendered.observations - recorded.observations[:, :9])
    assert (difference < 5e-3).mean() > 0.98
    assert "exists already" in refused("render", recording, target)
