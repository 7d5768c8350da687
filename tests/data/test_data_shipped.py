"""The dataset shipped in the package, and the script that makes it."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import rllib_scoreflow.data
from rllib_scoreflow.data import ChunkIndex, load_dataset
from rllib_scoreflow.envs import env_dims
from rllib_scoreflow.interface import check_fits

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_shipped_dataset.py"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    return load_dataset("hopper-small", cache_dir=tmp_path_factory.mktemp("cache"))


def test_it_is_what_it_says(shipped):
    info = shipped.info
    assert (info.name, info.env_id) == ("hopper-small", "Hopper-v4")
    assert info.source == "rollouts of our own on Hopper-v4"
    assert info.num_steps >= 50_000
    assert shipped.path.stat().st_size < 6_000_000
    # The mean return of the recording it was drawn from is 1260.
    assert info.mean_return == pytest.approx(1260, rel=0.03)
    assert "d4rl" not in info.to_json().lower()


def test_it_fits_its_environment(shipped):
    check_fits(shipped.info.interface(), env_dims("Hopper-v4"))


def test_its_episodes_are_whole_episodes_of_hopper(shipped):
    lengths = np.diff(shipped.episode_offsets)
    assert lengths.max() <= 1000
    assert np.all(lengths[shipped.timeouts[shipped.episode_offsets[1:] - 1]] == 1000)
    # Hopper starts near its reset pose: height 1.25, everything within 5e-3 of it.
    starts = shipped.observations[shipped.episode_offsets[:-1]]
    assert np.abs(starts[:, 0] - 1.25).max() <= 5.1e-3
    assert np.abs(starts[:, 1:]).max() <= 5.1e-3
    # A healthy Hopper is higher than 0.7, and a terminal one has just left the healthy range.
    assert shipped.observations[:, 0].min() > 0.7
    assert shipped.final_observations.shape == (shipped.info.num_episodes, 11)


def test_most_of_it_is_used_with_chunks_of_four(shipped):
    index = ChunkIndex(shipped, 4)
    assert len(index) > 0.98 * shipped.info.num_steps


def test_it_lies_in_row_groups_that_can_be_streamed_and_is_compressed(shipped):
    group = pq.ParquetFile(shipped.path).metadata.row_group(0)
    assert group.num_rows <= 65_536
    assert group.column(0).compression == "ZSTD"


def test_it_is_part_of_the_package():
    folder = Path(rllib_scoreflow.data.__file__).parent / "shipped"
    assert [p.name for p in folder.glob("*.parquet")] == ["hopper-small.parquet"]


def test_the_script_takes_whole_episodes_and_keeps_the_mean(tmp_path, cache, columns_of, write):
    source = write(tmp_path / "source.hdf5", columns_of((5,) * 40))
    output = tmp_path / "out.parquet"
    command = [sys.executable, SCRIPT, source, output, "--env-id", "X-v0", "--episodes", "10"]
    root = SCRIPT.parents[1]
    done = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, check=False)
    assert done.returncode == 0
    dataset, whole = load_dataset(output), load_dataset(source)
    assert np.diff(dataset.episode_offsets).tolist() == [5] * 10
    assert dataset.info.mean_return == pytest.approx(whole.info.mean_return, abs=0.5)
    rows = {row.tobytes() for row in whole.observations}
    assert all(row.tobytes() in rows for row in dataset.observations)
    assert len(dataset.final_observations) == 10


def test_the_script_does_not_overwrite(tmp_path, columns, write, monkeypatch, capsys):
    source = write(tmp_path / "source.hdf5", columns)
    output = tmp_path / "out.parquet"
    output.write_text("mine")
    arguments = [str(SCRIPT), str(source), str(output), "--env-id", "X-v0", "--episodes", "2"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert caught.value.code == 2
    assert "exists already" in capsys.readouterr().err
    assert output.read_text() == "mine"
