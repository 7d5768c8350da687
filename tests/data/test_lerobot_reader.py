"""LeRobotDatasets: one that LeRobot 0.4.4 wrote (see lerobot_peer.py) is read as LeRobot itself reads it."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.errors import InputError

FIXTURES = Path(__file__).parent / "fixtures"
LENGTHS = (7, 5, 9, 6)
VIDEO, DATA = "videos/observation.images.top/chunk-000/file-000.mp4", "data/chunk-000/file-000.parquet"
EPISODES, TASKS, INFO = "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet", "meta/info.json"


@pytest.fixture
def items():
    """What LeRobot hands out, item after item."""
    with np.load(FIXTURES / "lerobot_items.npz") as file:
        return dict(file)


@pytest.fixture
def folder(tmp_path, cache):
    return Path(shutil.copytree(FIXTURES / "lerobot", tmp_path / "drawers"))


def edit_info(folder, **changes):
    path = folder / INFO
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_feature(folder, key, **changes):
    features = json.loads((folder / INFO).read_text())["features"]
    features[key] = {**features.get(key, {}), **changes}
    edit_info(folder, features=features)


def edit_table(path, **columns):
    table = pq.read_table(path)
    for name, values in columns.items():
        name = name.replace("__", "/")
        if values is None:
            table = table.drop_columns([name])
        else:
            table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(table, path)


def refusal(folder, **options):
    with pytest.raises(InputError) as caught:
        load_dataset(folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert not re.search(r"[.!] [A-Z]", message), "one sentence"
    assert len(message) < 700
    return message


def test_every_column_and_image_is_what_lerobot_itself_reads(folder, items):
    dataset = load_dataset(folder, cameras=["top", "wrist"])
    state = np.column_stack([items["observation.state"], items["observation.environment_state"]])
    np.testing.assert_array_equal(dataset.observations, state)
    np.testing.assert_array_equal(dataset.actions, items["action"])
    np.testing.assert_array_equal(dataset.rewards, items["next.reward"])
    np.testing.assert_array_equal(dataset.terminals, items["next.done"])
    assert not dataset.timeouts.any()
    np.testing.assert_array_equal(np.diff(dataset.episode_offsets), LENGTHS)
    for view, key in enumerate(("observation.images.top", "observation.images.wrist")):
        # Another release of FFmpeg may round colours otherwise.
        difference = np.abs(dataset.images[:, view].astype(int) - items[key].astype(int))
        assert difference.max() <= (2 if key.endswith("top") else 0)
    info = dataset.info
    assert (info.fps, info.cameras, info.image_size) == (20.0, ("top", "wrist"), (64, 64))
    assert info.observation_keys == ("observation.state", "observation.environment_state")
    assert (info.tasks, info.episode_tasks) == (("open the drawer", "push the cube"), (0, 1, 0, 1))
    assert info.name == info.source == "drawers"
    assert any("2 tasks" in note for note in info.notes)
    assert "2 of 4 episodes succeed" in info.notes


@pytest.mark.parametrize("task", ["push the cube", "1"])
def test_one_task_is_chosen_by_its_text_or_number(folder, items, task):
    dataset = load_dataset(folder, filter_key=task, cameras=["wrist", "top"])
    mine = np.isin(items["episode_index"], [1, 3])
    np.testing.assert_array_equal(dataset.actions, items["action"][mine])
    np.testing.assert_array_equal(dataset.images[:, 0], items["observation.images.wrist"][mine])
    assert np.abs(dataset.images[:, 1].astype(int) - items["observation.images.top"][mine].astype(int)).max() <= 2
    assert (dataset.info.tasks, dataset.info.episode_tasks) == (("push the cube",), (0, 0))


def test_chosen_observations(folder, items):
    dataset = load_dataset(folder, observation_keys=["observation.environment_state"])
    np.testing.assert_array_equal(dataset.observations[:, 0], items["observation.environment_state"])


def test_rewards_fall_back_on_success_and_ends_on_cuts(folder, items):
    features = json.loads((folder / INFO).read_text())["features"]
    for key in ("next.reward", "next.done"):
        features.pop(key)
    edit_info(folder, features=features)
    dataset = load_dataset(folder)
    np.testing.assert_array_equal(dataset.rewards, items["next.success"].astype(np.float32))
    assert not dataset.terminals.any()
    assert dataset.timeouts.sum() == len(LENGTHS)
    assert any("no rewards were recorded" in note for note in dataset.info.notes)


def test_the_folders_name_does_not_change_its_hash(folder, tmp_path):
    other = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "renamed"))
    first = load_dataset(folder).info
    assert load_dataset(other).info.source_sha256 == first.source_sha256
    edit_info(other, fps=10)
    assert load_dataset(other).info.source_sha256 != first.source_sha256


def test_a_recording_is_found_where_lerobot_keeps_it(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_LEROBOT_HOME", str(tmp_path / "home"))
    shutil.copytree(folder, tmp_path / "home" / "me" / "drawers")
    info = load_dataset("lerobot:me/drawers").info
    assert (info.name, info.num_episodes) == ("lerobot:me/drawers", 4)
    assert load_dataset(f"lerobot:{folder}").info.num_episodes == 4


@pytest.mark.parametrize("where", ["hub", "lerobot's"])
def test_a_snapshot_in_the_hubs_cache_needs_no_network(folder, tmp_path, monkeypatch, where):
    """Its files are links to `blobs` beside the snapshots."""
    home = tmp_path / "home"
    monkeypatch.setenv("HF_LEROBOT_HOME", str(home))
    cache = home / "hub" if where == "lerobot's" else tmp_path / "hf"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    place_in_hub_cache(folder, cache, "datasets--me--drawers", "v3.0")
    info = load_dataset("lerobot:me/drawers", cameras=["top"]).info
    assert (info.source, info.num_steps) == ("me/drawers", sum(LENGTHS))


def place_in_hub_cache(folder, cache, name, revision):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = cache / name
    for file in [each for each in folder.rglob("*") if each.is_file()]:
        blob = repo / "blobs" / str(abs(hash(file)))
        link = repo / "snapshots" / commit / file.relative_to(folder)
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repo / "refs").mkdir()
    (repo / "refs" / revision).write_text(commit)


@pytest.mark.parametrize("dataset", ["lerobot:me/drawers", "lerobot:me/drawers@v3.0"])
def test_without_a_network_one_sentence(cache, tmp_path, monkeypatch, dataset):
    monkeypatch.setenv("HF_LEROBOT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refusal(dataset)
    assert "cannot download me/drawers" in message
    assert str(tmp_path / "home" / "me" / "drawers") in message


@pytest.mark.parametrize("name", ["drawers", "a/b/c", "../b", "a/..", "me/drawers@", "me/drawers@../x", "", "a b/c"])
def test_what_is_no_id_is_refused_without_a_network(cache, name):
    assert "lerobot:ORG/NAME" in refusal(f"lerobot:{name}")


ALTERED = {
    "an earlier version": (lambda f: edit_info(f, codebase_version="v2.1"), {}, "convert_dataset_v21_to_v30"),
    "no version": (lambda f: (f / INFO).write_text("[]"), {}, "info.json"),
    "no JSON": (lambda f: (f / INFO).write_text("{"), {}, "info.json"),
    "no rate": (lambda f: edit_info(f, fps=0), {}, "fps"),
    "more episodes": (lambda f: edit_info(f, total_episodes=5), {}, "5"),
    "more frames": (lambda f: edit_info(f, total_frames=28), {}, "28"),
    "no data": (lambda f: (f / DATA).unlink(), {}, "no such file"),
    "cut data": (lambda f: (f / DATA).write_bytes((f / DATA).read_bytes()[:9000]), {}, "not a readable Parquet"),
    "no episodes": (lambda f: shutil.rmtree(f / "meta/episodes"), {}, "table of episodes"),
    "no tasks": (lambda f: (f / TASKS).unlink(), {}, "tasks.parquet"),
    "a task less": (lambda f: pq.write_table(pq.read_table(f / TASKS).slice(0, 1), f / TASKS), {}, "'push the cube'"),
    "other rows": (lambda f: edit_table(f / DATA, episode_index=[0] * 27), {}, "not the frames of the episodes"),
    "a row less": (lambda f: pq.write_table(pq.read_table(f / DATA).slice(1), f / DATA), {}, "26 rows"),
    "no actions": (lambda f: edit_table(f / DATA, action=None), {}, "'action' is missing"),
    "texts": (lambda f: edit_table(f / DATA, action=["a"] * 27), {}, "'action' is not what"),
    "holes": (lambda f: edit_table(f / DATA, frame_index=[None] * 27), {}, "values are missing"),
    "a narrow action": (lambda f: edit_feature(f, "action", shape=[3]), {}, "'action' is not what"),
    "a matrix": (lambda f: edit_feature(f, "action", shape=[2, 1]), {}, "shape [2, 1]"),
    "whole numbers": (lambda f: edit_table(f / DATA, action=[[1, 2]] * 26 + [[3, 4]]), {}, "float32"),
    "not finite": (lambda f: edit_table(f / DATA, **{"next.reward": [np.nan] * 27}), {}, "nan"),
    "a huge shape": (lambda f: edit_feature(f, "action", shape=[10**9]), {}, "shape"),
    "no observation": (lambda f: None, {"observation_keys": ["observation.stat"]}, "did you mean 'observation.state'"),
    "no camera": (lambda f: None, {"cameras": ["wrst"]}, "did you mean 'wrist'"),
    "no task of this name": (lambda f: None, {"filter_key": "open a drawer"}, "did you mean 'open the drawer'"),
    "no video": (lambda f: (f / VIDEO).unlink(), {"cameras": ["top"]}, "no such file"),
    "a damaged video": (lambda f: (f / VIDEO).write_bytes(b"0" * 3000), {"cameras": ["top"]}, "not a readable video"),
    "a late video": (
        lambda f: edit_table(f / EPISODES, videos__observation_images_top__from_timestamp=None),
        {"cameras": ["top"]},
        "from_timestamp",
    ),
    "other sizes": (
        lambda f: edit_feature(f, "observation.images.top", shape=[64, 32, 3]),
        {"cameras": ["top", "wrist"]},
        "different sizes",
    ),
    "frames of another size": (
        lambda f: edit_feature(f, "observation.images.top", shape=[64, 32, 3]),
        {"cameras": ["top"]},
        "64 x 64 and not 64 x 32",
    ),
    "images of another size": (
        lambda f: edit_feature(f, "observation.images.wrist", shape=[32, 64, 3]),
        {"cameras": ["wrist"]},
        "64 x 64 and not 32 x 64",
    ),
    "depth": (
        lambda f: edit_feature(f, "observation.images.top", info={"video.is_depth_map": True}),
        {"cameras": ["top"]},
        "not in colour",
    ),
    "no picture": (
        lambda f: edit_table(f / DATA, **{"observation.images.wrist": [{"bytes": b"x", "path": None}] * 27}),
        {"cameras": ["wrist"]},
        "no readable images",
    ),
}


@pytest.mark.parametrize("fault", ALTERED)
def test_damaged_or_contradictory_datasets(folder, cache, fault):
    alter, options, words = ALTERED[fault]
    if fault == "a late video":
        path = folder / EPISODES
        pq.write_table(pq.read_table(path).drop_columns(["videos/observation.images.top/from_timestamp"]), path)
    else:
        alter(folder)
    message = refusal(folder, **options)
    assert words in message
    assert not any(cache.glob("converted/*"))


ESCAPES = [
    ("data_path", "../other/file-000.parquet"),
    ("data_path", "/etc/passwd"),
    ("data_path", "data/../../other/file-{file_index:03d}.parquet"),
    ("data_path", "data/{chunk_index.__class__}.parquet"),
    ("data_path", "data/{chunk_index!r}.parquet"),
    ("data_path", "data/{file_index:9999999999d}.parquet"),
    ("data_path", "data/{"),
    ("data_path", "data/{video_key}/file.parquet"),
    ("video_path", "../{video_key}/file-000.mp4"),
    ("video_path", "{video_key:03d}"),
    ("video_path", None),
]


@pytest.mark.parametrize(("key", "template"), ESCAPES)
def test_no_path_leads_out_of_the_folder(folder, key, template):
    edit_info(folder, **{key: template})
    message = refusal(folder, cameras=["top"])
    assert "info.json" in message


def test_no_link_leads_out_of_the_folder(folder, tmp_path):
    (folder / DATA).replace(tmp_path / "other.parquet")
    (folder / DATA).symlink_to(tmp_path / "other.parquet")
    assert "leads out of the folder" in refusal(folder)


def test_a_video_that_ends_too_early(folder):
    path = folder / EPISODES
    key = "videos/observation.images.top/from_timestamp"
    table = pq.read_table(path)
    starts = table.column(key).to_pylist()
    for shift, words in ((0.2, "ends before"), (0.025, "holds no frame at")):
        shifted = pa.array([start + shift for start in starts])
        pq.write_table(table.set_column(table.schema.get_field_index(key), key, shifted), path)
        assert words in refusal(folder, cameras=["top"])


def test_rows_that_would_fill_the_memory(folder, monkeypatch):
    monkeypatch.setattr("rllib_scoreflow.data.validation._SMALL_BYTES", 1 << 16)
    monkeypatch.setattr("rllib_scoreflow.data.validation._MOST_COMPRESSED", 0)
    edit_table(folder / DATA, action=[[0.0] * 4096] * 27)
    edit_feature(folder, "action", shape=[4096])
    assert "which no recording compresses to" in refusal(folder)


def test_a_folder_of_no_known_layout(tmp_path, cache):
    (tmp_path / "empty").mkdir()
    assert "no reader knows this layout" in refusal(tmp_path / "empty")
