"""What is exported as a LeRobotDataset comes back as it was, and its statistics are those of its columns."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rllib_scoreflow.data import lerobot_writer, load_dataset
from rllib_scoreflow.data.lerobot_stats import ImageHistogram, describe_column
from rllib_scoreflow.data.lerobot_writer import write_lerobot
from rllib_scoreflow.data.schema import RawColumns, describe
from rllib_scoreflow.errors import InputError

LENGTHS = (7, 5, 9)
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def smooth_images(steps, views, size):
    """Slow gradients, which a video keeps nearly as they are."""
    t, v, y, x, c = np.ogrid[:steps, :views, : size[0], : size[1], :3]
    waves = np.sin(x / 7 + t / 3 + v) + np.cos(y / 9 + c)
    return (127 + 60 * waves).astype(np.uint8)


@pytest.fixture
def recording(columns_of):
    """Columns and info of three episodes; with a size they have two cameras."""

    def make(size=None, **changes):
        found = {key: value for key, value in columns_of(LENGTHS).items() if key != "next_observations"}
        if size is not None:
            changes = {"cameras": ("top", "wrist"), "images": smooth_images(sum(LENGTHS), 2, size), **changes}
        columns = RawColumns(**found, **{"env_id": "Hopper-v4", **changes})
        info = describe(columns, name="mine", source="a test", source_sha256="0" * 64, env_id=columns.env_id)
        return columns, info

    return make


@pytest.fixture(autouse=True)
def own_cache(cache):
    """Nothing is converted into the user's cache."""


def test_columns_come_back_as_they_were(recording, tmp_path):
    columns, info = recording(env_config={"exclude_current_positions_from_observation": False})
    write_lerobot(columns, info, tmp_path / "out", fps=125, task="hop")
    read = load_dataset(tmp_path / "out")
    for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
        np.testing.assert_array_equal(getattr(read, name), getattr(columns, name))
    assert (read.info.fps, read.info.tasks, read.info.episode_tasks) == (125.0, ("hop",), (0, 0, 0))
    assert (read.info.env_id, read.info.env_config) == (info.env_id, info.env_config)
    assert read.info.notes == ()


def test_one_action_is_a_plain_column(recording, tmp_path):
    columns, info = recording()
    narrow = dataclasses.replace(columns, actions=columns.actions[:, :1])
    write_lerobot(narrow, info, tmp_path / "out", fps=125, task="hop")
    assert str(pq.read_schema(tmp_path / "out/data/chunk-000/file-000.parquet").field("action").type) == "float"
    np.testing.assert_array_equal(load_dataset(tmp_path / "out").actions, narrow.actions)


def test_tasks_of_episodes_and_success(recording, tmp_path):
    columns, info = recording(tasks=("open", "shut"), episode_tasks=(1, 0, 1))
    success = np.array([True, False, True])
    write_lerobot(columns, info, tmp_path / "out", fps=20, task="unused", success=success)
    read = load_dataset(tmp_path / "out")
    assert (read.info.tasks, read.info.episode_tasks) == (("open", "shut"), (1, 0, 1))
    assert "2 of 3 episodes succeed" in read.info.notes
    assert load_dataset(tmp_path / "out", filter_key="shut").info.num_steps == LENGTHS[0] + LENGTHS[2]


def test_images_without_loss(recording, tmp_path):
    columns, info = recording((15, 21))
    write_lerobot(columns, info, tmp_path / "out", fps=20, task="look", videos=False)
    read = load_dataset(tmp_path / "out", cameras=["wrist", "top"])
    np.testing.assert_array_equal(read.images, columns.images[:, ::-1])
    assert not (tmp_path / "out" / "videos").exists()


def test_images_as_videos(recording, tmp_path):
    columns, info = recording((48, 64))
    write_lerobot(columns, info, tmp_path / "out", fps=20, task="look")
    read = load_dataset(tmp_path / "out", cameras=["top", "wrist"])
    difference = np.abs(read.images.astype(int) - columns.images.astype(int))
    neighbour = np.abs(np.diff(columns.images.astype(int), axis=0))
    # Every frame is its own and not its neighbour's.
    assert difference.mean() < 3 < neighbour.mean()
    assert difference.mean(axis=(1, 2, 3, 4)).max() < 4


def test_several_files(recording, tmp_path, monkeypatch):
    """A file for every episode, and two files in a folder."""
    for limit, value in (("_DATA_MB", 0), ("_VIDEO_MB", 0), ("_CHUNK", 2)):
        monkeypatch.setattr(lerobot_writer, limit, value)
    columns, info = recording((32, 32))
    write_lerobot(columns, info, tmp_path / "out", fps=20, task="look")
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    for place in ("chunk-000/file-000", "chunk-000/file-001", "chunk-001/file-000"):
        assert f"data/{place}.parquet" in files
        assert f"videos/observation.images.wrist/{place}.mp4" in files
    for task in (None, "look"):
        read = load_dataset(tmp_path / "out", cameras=["top"], filter_key=task)
        np.testing.assert_array_equal(read.actions, columns.actions)
        assert np.abs(read.images[:, 0].astype(int) - columns.images[:, 0].astype(int)).mean() < 3


def test_the_second_episode_alone_is_found_within_the_file(recording, tmp_path, monkeypatch):
    """Its frames are looked for, and not decoded on the way."""
    monkeypatch.setattr("rllib_scoreflow.data.video._SEEK_SECONDS", 0.1)
    columns, info = recording((32, 32), tasks=("first", "other", "last"), episode_tasks=(0, 1, 2))
    write_lerobot(columns, info, tmp_path / "out", fps=20, task="look")
    for task, rows in (("other", slice(7, 12)), ("last", slice(12, 21))):
        read = load_dataset(tmp_path / "out", cameras=["top"], filter_key=task)
        difference = np.abs(read.images[:, 0].astype(int) - columns.images[rows, 0].astype(int))
        assert difference.mean(axis=(1, 2, 3)).max() < 4


def test_statistics_of_columns(recording, tmp_path):
    columns, info = recording()
    write_lerobot(columns, info, tmp_path / "out", fps=20, task="hop")
    written = json.loads((tmp_path / "out/meta/stats.json").read_text())["observation.state"]
    for name, expected in {
        "min": columns.observations.min(axis=0),
        "max": columns.observations.max(axis=0),
        "mean": columns.observations.mean(axis=0),
        "std": columns.observations.std(axis=0),
        **{name: np.quantile(columns.observations, q, axis=0) for name, q in QUANTILES.items()},
    }.items():
        np.testing.assert_allclose(written[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)
    assert written["count"] == [sum(LENGTHS)]
    episodes = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet")
    second = columns.observations[LENGTHS[0] : LENGTHS[0] + LENGTHS[1]]
    found = episodes.column("stats/observation.state/mean")[1].as_py()
    np.testing.assert_allclose(found, second.mean(axis=0), rtol=1e-5)
    assert describe_column(np.array([True, False]))["mean"] == [0.5]


def test_statistics_of_images():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (4, 9, 8, 3)).astype(np.uint8), rng.integers(50, 90, (3, 9, 8, 3)).astype(np.uint8)]
    found = ImageHistogram.sum(map(ImageHistogram.of, images)).describe()
    pixels = np.concatenate([each.reshape(-1, 3) for each in images]) / 255
    assert found["count"] == [7]
    for name, expected in {
        "min": pixels.min(axis=0),
        "max": pixels.max(axis=0),
        "mean": pixels.mean(axis=0),
        "std": pixels.std(axis=0),
        **{name: np.quantile(pixels, q, axis=0, method="inverted_cdf") for name, q in QUANTILES.items()},
    }.items():
        np.testing.assert_allclose(np.array(found[name]), expected.reshape(3, 1, 1), atol=1e-9, err_msg=name)


def test_nothing_existing_is_lost(recording, tmp_path):
    columns, info = recording()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years")
    for overwrite, words in ((False, "exists already"), (True, "no LeRobotDataset")):
        with pytest.raises(InputError, match=words):
            write_lerobot(columns, info, tmp_path / "thesis", fps=20, task="hop", overwrite=overwrite)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years"
    for task in ("hop", "jump"):
        write_lerobot(columns, info, tmp_path / "out", fps=20, task=task, overwrite=task == "jump")
    assert load_dataset(tmp_path / "out", cache_dir=tmp_path / "cache").info.tasks == ("jump",)


def test_odd_sizes_fit_in_no_video(recording, tmp_path):
    columns, info = recording((15, 20))
    with pytest.raises(InputError, match="--lossless"):
        write_lerobot(columns, info, tmp_path / "out", fps=20, task="look")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("camera", ["../top", "a/b", "..", "{x}"])
def test_a_cameras_name_is_no_path(recording, tmp_path, camera):
    columns, info = recording((16, 16))
    info = dataclasses.replace(info, cameras=(camera, "wrist"))
    with pytest.raises(InputError, match="no folder"):
        write_lerobot(columns, info, tmp_path / "out", fps=20, task="look")
    assert not list(tmp_path.iterdir())


def test_the_command_exports_a_dataset(rllib, refused, columns, write, tmp_path):
    source = write(tmp_path / "mine.hdf5", columns)
    assert "--fps" in refused("dataset", "export", source, "out")
    assert "--format" in refused("dataset", "export", source, "out", "--fps", 10, "--format", "robomimic")
    assert "--episodes" in refused("dataset", "export", source, "out", "--fps", 10, "--episodes", 3)
    answer = rllib("dataset", "export", source, "out", "--fps", 10, "--task", "reach the cup")
    assert answer.status == 0, answer
    assert answer.out.startswith("out: 21 steps, 3 episodes")
    answer = rllib("dataset", "info", "out", "--json")
    assert json.loads(answer.out)["tasks"] == ["reach the cup"]
    assert rllib("dataset", "verify", "out").status == 0
    assert json.loads((Path("out") / "meta/info.json").read_text())["fps"] == 10


def test_the_rate_of_a_registered_environment_is_known(rllib, columns, write, tmp_path):
    """A file of this name was recorded on Hopper-v4, which makes 125 steps in a second."""
    answer = rllib("dataset", "export", write(tmp_path / "hopper_medium-v2.hdf5", columns), "hop")
    assert answer.status == 0, answer
    assert json.loads(Path("hop/meta/info.json").read_text())["fps"] == 125
