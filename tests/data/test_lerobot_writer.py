"""What `rllib dataset export` writes is what it was made of, read again; LeRobot reads it in test_lerobot_peer.py."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rllib_scoreflow.cli.main import run
from rllib_scoreflow.data import lerobot_writer, load_dataset
from rllib_scoreflow.data.lerobot_stats import ImageHistogram, describe_column
from rllib_scoreflow.data.lerobot_writer import write_lerobot
from rllib_scoreflow.data.schema import RawColumns, describe
from rllib_scoreflow.errors import InputError

LENGTHS, VIEWS, SIZE = (5, 3, 4), ("left", "right"), (32, 48)
FIXTURES = Path(__file__).parent / "fixtures"
LEFT = "videos/observation.images.left"
PLACES = ["data/chunk_index", "data/file_index", f"{LEFT}/chunk_index", f"{LEFT}/file_index"]


def flat_images(numbers, views, size=SIZE):
    """Frames that differ by their step and camera, in colours that a video keeps."""
    colours = np.stack([np.stack([20 + 17 * numbers, 230 - 15 * numbers, 90 + 40 * v + 0 * numbers], 1) for v in views])
    return np.broadcast_to(colours.swapaxes(0, 1)[:, :, None, None], (len(numbers), len(views), *size, 3)).astype(
        np.uint8
    )


@pytest.fixture
def recording():
    rng, n = np.random.default_rng(0), sum(LENGTHS)
    ends = np.cumsum(LENGTHS) - 1
    terminals, timeouts = np.zeros(n, bool), np.zeros(n, bool)
    terminals[ends[[0, 2]]], timeouts[ends[1]] = True, True
    return RawColumns(
        observations=rng.normal(size=(n, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (n, 1)).astype(np.float32),
        rewards=rng.normal(size=n).astype(np.float32),
        terminals=terminals,
        timeouts=timeouts,
        cameras=VIEWS,
        images=flat_images(np.arange(n), range(2)),
        env_id="Hopper-v4",
        env_config={"frame_skip": 4},
        tasks=("open the drawer", "push the cube"),
        episode_tasks=(1, 0, 1),
    )


def info_of(columns):
    return describe(columns, name="mine", source="mine", source_sha256="0" * 64, env_id=columns.env_id)


def write_to(columns, folder, **options):
    write_lerobot(columns, info_of(columns), folder, **{"fps": 25, "task": "hop", **options})
    return folder


@pytest.mark.parametrize("videos", [True, False])
def test_what_is_read_again_is_what_was_written(recording, tmp_path, cache, videos):
    folder = write_to(recording, tmp_path / "out", videos=videos)
    found = load_dataset(folder, cameras=list(VIEWS))
    for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(recording, name))
    difference = np.abs(found.images.astype(int) - recording.images.astype(int))
    assert difference.max() <= (4 if videos else 0)
    info = found.info
    assert (info.fps, info.tasks, info.episode_tasks) == (25.0, recording.tasks, recording.episode_tasks)
    assert (info.env_id, info.env_config, info.cameras) == ("Hopper-v4", {"frame_skip": 4}, VIEWS)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "cache"}
    assert (folder / "videos").is_dir() is videos


def test_success_and_one_task_for_all(recording, tmp_path, cache):
    columns = replace(recording, tasks=(), episode_tasks=(), cameras=(), images=None)
    folder = write_to(columns, tmp_path / "out", success=np.array([True, False, False]))
    info = load_dataset(folder).info
    assert (info.tasks, info.episode_tasks, info.cameras) == (("hop",), (0, 0, 0), ())
    assert "1 of 3 episodes succeed" in info.notes
    assert json.loads((folder / "meta/info.json").read_text())["video_path"] is None


def test_many_files_and_folders(recording, tmp_path, cache, monkeypatch):
    """A new file for every episode, two of them a folder."""
    # The encoder holds so short an episode back, so that no byte of it is counted yet.
    for name, value in (("_DATA_MB", 0), ("_VIDEO_MB", -1), ("_CHUNK", 2)):
        monkeypatch.setattr(lerobot_writer, name, value)
    folder = write_to(recording, tmp_path / "out")
    table = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet")
    for name, places in zip(PLACES, ([0, 0, 1], [0, 1, 0]) * 2, strict=True):
        assert table.column(name).to_pylist() == places
    assert len(list(folder.glob("data/*/*.parquet"))) == len(list(folder.glob("videos/*right/*/*.mp4"))) == 3
    found = load_dataset(folder, cameras=["right"])
    np.testing.assert_array_equal(found.actions, recording.actions)
    assert np.abs(found.images[:, 0].astype(int) - recording.images[:, 1].astype(int)).max() <= 4


def test_statistics_of_columns():
    values = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 30.0], [3.0, 60.0]])
    found = describe_column(values)
    assert (found["min"], found["max"], found["mean"], found["count"]) == ([0, 10], [3, 60], [1.5, 30.0], [4])
    np.testing.assert_allclose(found["std"], [np.sqrt(1.25), np.sqrt(350)])
    np.testing.assert_allclose([found["q10"], found["q50"]], [[0.3, 13.0], [1.5, 25.0]])
    assert describe_column(np.array([True, False]))["mean"] == [0.5]


def test_statistics_of_images_are_those_of_all_their_pixels():
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 20, 3), np.uint8)
    found = ImageHistogram.sum([ImageHistogram.of(images[:3]), ImageHistogram.of(images[3:])]).describe()
    pixels = np.sort(images.reshape(-1, 3), axis=0) / 255
    assert np.shape(found["mean"]) == (3, 1, 1)
    for name, expected in {
        "mean": pixels.mean(axis=0),
        "std": pixels.std(axis=0),
        "min": pixels[0],
        "max": pixels[-1],
        "q10": pixels[len(pixels) // 10 - 1],
        "q50": pixels[len(pixels) // 2 - 1],
    }.items():
        np.testing.assert_allclose(np.ravel(found[name]), expected, atol=1e-12, err_msg=name)
    assert found["count"] == [8]


def test_nothing_is_replaced_unasked_or_left_half_written(recording, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    for overwrite, words in ((False, "--overwrite"), (True, "is no LeRobotDataset")):
        with pytest.raises(InputError, match=words):
            write_to(recording, tmp_path / "mine", overwrite=overwrite)
    folder = write_to(recording, tmp_path / "out")
    first = (folder / "meta/info.json").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        write_to(recording, folder)
    with monkeypatch.context() as patch:
        patch.setattr(lerobot_writer, "tasks_table", lambda tasks: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_to(recording, folder, overwrite=True, fps=10)
    assert (folder / "meta/info.json").read_bytes() == first
    write_to(recording, folder, overwrite=True, fps=10)
    assert json.loads((folder / "meta/info.json").read_text())["fps"] == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]
    with pytest.raises(InputError, match="make it first"):
        write_to(recording, tmp_path / "no" / "out")


def test_images_that_no_video_holds(recording, tmp_path, cache):
    images = flat_images(np.arange(sum(LENGTHS)), range(2), (31, 48))
    columns = replace(recording, images=images)
    with pytest.raises(InputError, match=r"31 x 48 fit in no video.*--lossless"):
        write_to(columns, tmp_path / "out")
    write_to(columns, tmp_path / "out", videos=False)
    np.testing.assert_array_equal(load_dataset(tmp_path / "out", cameras=list(VIEWS)).images, images)
    for name in ("a/b", "..", "{x}"):
        with pytest.raises(InputError, match="no folder can have"):
            write_to(replace(recording, cameras=(name, "b")), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.fixture
def export(tmp_path, cache, monkeypatch, capsys):
    """Run `rllib dataset export` in a folder of its own: status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        capsys.readouterr()
        return run(["dataset", "export", *map(str, words)]), *capsys.readouterr()

    return command


def test_the_command_exports_every_dataset_that_can_be_read(export, tmp_path):
    words = (
        FIXTURES / "lift_image.hdf5",
        "out",
        "--cameras",
        "agentview",
        "--filter-key",
        "train",
        "--task",
        "lift it",
    )
    status, out, err = export(*words)
    assert (status, err) == (0, "")
    original = load_dataset(FIXTURES / "lift_image.hdf5", cameras=["agentview"], filter_key="train")
    assert out.startswith(f"out: {original.info.num_steps} steps, 1 episodes, ")
    found = load_dataset(tmp_path / "out", cameras=["agentview"], constant_observations="allow")
    np.testing.assert_array_equal(found.observations, original.observations)
    assert np.abs(found.images.astype(int) - original.images.astype(int)).mean() < 4
    info = found.info
    # robosuite's frequency of control, which stands in the file.
    assert (info.fps, info.tasks, info.env_id) == (20.0, ("lift it",), original.info.env_id)
    assert info.env_config == original.info.env_config


def test_a_dataset_of_tasks_keeps_them(export, tmp_path):
    assert export(FIXTURES / "lerobot", "out", "--format", "lerobot")[0] == 0
    assert load_dataset(tmp_path / "out").info.tasks == ("open the drawer", "push the cube")
    assert "--task is for a dataset without tasks" in export(FIXTURES / "lerobot", "other", "--task", "hop")[2]


@pytest.fixture
def flat(tmp_path, columns, write):
    return write(tmp_path / "mine.hdf5", columns)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("mine.hdf5", "out"), "dataset mine does not say how many steps it makes in a second; give --fps N"),
        (("mine.hdf5", "out", "--format", "lerobt"), "did you mean 'lerobot'"),
        (("mine.hdf5", "out", "--episodes", "2"), "--episodes is for policies"),
        (("mine.hdf5", "out", "--seed", "0"), "--seed is for policies"),
        (("mine.hdf5", "out", "--env", "Hopper-v4"), "--env is for policies"),
        (("mine.hdf5", "out", "--fps", "0"), "--fps"),
        (("mine.hdf5", "."), "exists already"),
        (("other.hdf5", "out"), "no such file"),
    ],
)
def test_refusals(export, flat, words, expected):
    status, out, err = export(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert expected in err
    assert not flat.with_name("out").exists()
