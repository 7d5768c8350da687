"""Data from which nothing can be learned, in every command that reads them: one sentence, status 2."""

import os

import h5py
import numpy as np
import pytest

from rllib_scoreflow.cli.main import run
from rllib_scoreflow.data import ChunkIndex, load_dataset
from rllib_scoreflow.errors import InputError


def smooth(lengths, o=4):
    rng = np.random.default_rng(0)
    n, ends = sum(lengths), np.cumsum(lengths) - 1
    starts = np.repeat(rng.normal(size=(len(lengths), o)), lengths, axis=0)
    timeouts = np.zeros(n, bool)
    timeouts[ends] = True
    return {
        "observations": (starts + 0.01 * np.cumsum(rng.normal(size=(n, o)), axis=0)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (n, 2)).astype(np.float32),
        "rewards": np.ones(n, np.float32),
        "terminals": np.zeros(n, bool),
        "timeouts": timeouts,
    }


@pytest.fixture
def command(cache, capsys):
    environment = dict(os.environ)

    def call(*words):
        capsys.readouterr()
        status = run([str(word) for word in words])
        return status, *capsys.readouterr()

    yield call
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def refused_everywhere(command, tmp_path):
    """Expect the same refusal of `dataset convert | verify | info` and of `train`."""

    def check(path, *words):
        experiment = tmp_path / "x.yaml"
        experiment.write_text(
            f"clone:\n  run: FlowBC\n  stop: {{training_iteration: 1}}\n  config: {{dataset: {path}, "
            "constant_observations: allow}\n"
        )
        for line in (
            ("dataset", "convert", path, tmp_path / "out.parquet"),
            ("dataset", "verify", path),
            ("dataset", "info", path),
            ("train", "file", experiment, "--results-dir", tmp_path / "results"),
        ):
            status, out, err = command(*line)
            assert status == 2, (line, out, err)
            assert err.count("\n") == 1, err
            assert "Traceback" not in err
            for word in (path.name, *words):
                assert word in err, line
        assert not (tmp_path / "out.parquet").exists()
        assert not (tmp_path / "results").exists()

    return check


def every_row(key):
    def change(columns):
        columns[key][:] = True

    return change


def of_type(dtype, scale=1):
    def change(columns):
        columns["actions"] = (scale * np.abs(columns["actions"])).astype(dtype)

    return change


def constant(columns):
    columns["actions"][:] = 0.25


def flags_beside(columns):
    columns["timeouts"] = np.roll(columns["timeouts"], 1)
    columns["timeouts"][0] = False


def no_flags(columns):
    columns["timeouts"][:] = False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (every_row("terminals"), ("'terminals' is set in every row",)),
        (every_row("timeouts"), ("'timeouts' is set in every row",)),
        (constant, ("'actions' never changes", "0.25")),
        (of_type(np.uint8, 255), ("'actions' is of type uint8", "float32")),
        (of_type(np.int64, 9), ("'actions' is of type int64",)),
        (flags_beside, ("lie beside the ends of episodes",)),
        (no_flags, ("set in no row",)),
    ],
)
def test_useless_columns(refused_everywhere, tmp_path, write, change, words):
    columns = smooth([40] * 6)
    change(columns)
    refused_everywhere(write(tmp_path / "d.hdf5", columns), *words)


def test_a_link_to_another_file_in_every_command(refused_everywhere, tmp_path, write):
    path = write(tmp_path / "d.hdf5", smooth([40] * 6))
    with h5py.File(path, "a") as file:
        del file["rewards"]
        file["rewards"] = h5py.ExternalLink("/etc/passwd", "/x")
    refused_everywhere(path, "'rewards' is a link to another file")


def test_declared_rows_in_every_command(refused_everywhere, tmp_path, write):
    path = write(tmp_path / "d.hdf5", {})
    with h5py.File(path, "a") as file:
        for key, values in smooth([4]).items():
            file.create_dataset(key, (20_000_000, *values.shape[1:]), values.dtype)
    refused_everywhere(path, "none was written")


def test_hardly_an_episode_as_long_as_a_chunk(tmp_path, cache, write, command):
    path = write(tmp_path / "d.hdf5", smooth([3] * 98 + [50] * 2))
    dataset = load_dataset(path)
    with pytest.raises(InputError, match="98 of 100 episodes are shorter than a chunk of horizon 4 steps"):
        ChunkIndex(dataset, 4)
    assert ChunkIndex(dataset, 3).note() is None
    experiment = tmp_path / "x.yaml"
    experiment.write_text(f"c:\n  run: FlowBC\n  stop: {{training_iteration: 1}}\n  config: {{dataset: {path}}}\n")
    status, _, err = command("train", "file", experiment, "--results-dir", tmp_path / "results")
    assert status == 2
    assert "98 of 100 episodes are shorter than a chunk" in err


def test_some_episodes_shorter_than_a_chunk_are_said(tmp_path, cache, write):
    dataset = load_dataset(write(tmp_path / "d.hdf5", smooth([3] * 4 + [50] * 6)))
    assert ChunkIndex(dataset, 4).note() == "4 of 10 episodes are shorter than a chunk of 4 steps and are not used"


def test_notes_are_shown_and_travel_with_the_converted_file(tmp_path, write, command):
    columns = smooth([50] * 6)
    columns["next_observations"] = np.roll(columns["observations"], -1, axis=0)
    path, out = write(tmp_path / "d.hdf5", columns), tmp_path / "out.parquet"
    said = "note: 'next_observations' are the following rows' 'observations'"
    assert said in command("dataset", "convert", path, out)[1]
    assert said in command("dataset", "info", out)[1]
    status, shown, _ = command("dataset", "verify", out)
    assert status == 0
    assert "'next_observations'" in shown
    assert load_dataset(out).info.notes == load_dataset(path).info.notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"obs_min": np.full(4, 2.0), "obs_max": np.full(4, -2.0)}, ("normalization.npz", "'states'", "from 2 to -2")),
        ({"action_max": np.full(2, np.nan)}, ("normalization.npz", "'actions'", "nan")),
        ({"states": 40}, ("'states' holds", "far outside")),
        ({"obs_max": np.full(4, 1e39)}, ("'observations' holds inf",)),
        ({"actions": -9}, ("'actions' holds -9", "far outside")),
    ],
)
def test_values_that_were_not_scaled_by_their_bounds(tmp_path, cache, change, words):
    columns = smooth([20] * 4)
    low, high = {"obs": columns["observations"].min(0), "action": columns["actions"].min(0)}, {}
    high = {"obs": columns["observations"].max(0), "action": columns["actions"].max(0)}
    bounds = {f"{key}_min": value for key, value in low.items()} | {f"{key}_max": value for key, value in high.items()}
    arrays = {
        key: (2 * (columns[column] - low[name]) / (high[name] - low[name] + 1e-6) - 1).astype(np.float32)
        for key, column, name in (("states", "observations", "obs"), ("actions", "actions", "action"))
    }
    for key, value in change.items():
        if key in bounds:
            bounds[key] = value
        else:
            arrays[key][7, 1] = value
    np.savez(tmp_path / "train.npz", **arrays, traj_lengths=np.full(4, 20))
    np.savez(tmp_path / "normalization.npz", **bounds)
    with pytest.raises(InputError) as caught:
        load_dataset(tmp_path / "train.npz")
    for word in words:
        assert word in str(caught.value)


def test_a_recorded_environment_cannot_steer_the_terminal(tmp_path, write, command):
    path = write(tmp_path / "d.hdf5", smooth([50] * 6), {"env_id": "Hopper\x1b[31m-v4" + "x" * 10_000})
    status, shown, _ = command("dataset", "info", path)
    assert status == 0
    assert "[31m-v4x" in shown
    assert "\x1b" not in shown
    assert shown.count("x") < 300
