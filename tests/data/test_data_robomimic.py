"""Robomimic's layout: episodes in order, keys in order, images beside them; the same as robomimic's own reader."""

import json
import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.errors import InputError

FIXTURES = Path(__file__).parent / "fixtures"
LOWDIM, IMAGE = FIXTURES / "lift_lowdim.hdf5", FIXTURES / "lift_image.hdf5"
KEYS = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "object")
ORDER = ["demo_2", "demo_8", "demo_10", "demo_14"]
CAMERAS = ("agentview", "robot0_eye_in_hand")


def stacked(path, key, demos=ORDER):
    with h5py.File(path) as file:
        return np.concatenate([file[f"data/{demo}/{key}"][()] for demo in demos])


@pytest.fixture
def edited(tmp_path):
    """A copy of a fixture after an edit, as a path."""

    def edit(change, source=LOWDIM):
        path = tmp_path / "edited.hdf5"
        shutil.copy(source, path)
        with h5py.File(path, "a") as file:
            change(file)
        return path

    return edit


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
        assert not cache.exists() or not [p for p in cache.rglob("*") if p.is_file()]

    return check


def replace(file, key, values):
    del file[key]
    file[key] = values


def test_episodes_are_in_numerical_order_and_keys_in_the_published_one(cache):
    dataset = load_dataset(LOWDIM)
    expected = np.concatenate([stacked(LOWDIM, f"obs/{key}") for key in KEYS], axis=1)
    np.testing.assert_array_equal(dataset.observations, expected)
    np.testing.assert_array_equal(dataset.actions, stacked(LOWDIM, "actions").astype(np.float32))
    np.testing.assert_array_equal(dataset.rewards, stacked(LOWDIM, "rewards"))
    with h5py.File(LOWDIM) as file:
        assert sorted(file["data"]) != ORDER
        lengths = [len(file[f"data/{demo}/actions"]) for demo in ORDER]
        final = [np.concatenate([file[f"data/{demo}/next_obs/{key}"][-1] for key in KEYS]) for demo in ORDER]
    np.testing.assert_array_equal(np.diff(dataset.episode_offsets), lengths)
    np.testing.assert_array_equal(dataset.final_observations, np.stack(final))


def test_a_success_that_holds_ends_the_episode_once(cache):
    dataset = load_dataset(LOWDIM)
    assert stacked(LOWDIM, "dones").sum() > len(ORDER)
    np.testing.assert_array_equal(np.flatnonzero(dataset.terminals), dataset.episode_offsets[1:] - 1)
    assert not dataset.timeouts.any()


@pytest.mark.parametrize("how", ["not done", "no dones"])
def test_an_episode_that_is_not_done_ends_by_a_timeout(cache, edited, how):
    def change(file):
        if how == "no dones":
            del file["data/demo_8/dones"]
        else:
            file["data/demo_8/dones"][...] = 0

    dataset = load_dataset(edited(change))
    ends = dataset.episode_offsets[1:] - 1
    assert dataset.terminals[ends].tolist() == [True, False, True, True]
    assert dataset.timeouts[ends].tolist() == [False, True, False, False]


def test_the_environment_is_described(cache):
    info = load_dataset(LOWDIM).info
    assert info.env_id == "robomimic/lift"
    assert info.observation_keys == KEYS
    assert set(info.env_config) == {"env_args", "observation_keys", "cameras"}
    assert info.env_config["env_args"]["env_name"] == "Lift"
    assert info.env_config["env_args"]["env_kwargs"]["control_freq"] == 20
    assert info.env_config["observation_keys"] == list(KEYS)
    assert info.env_config["cameras"] == []


def test_filter_keys_choose_episodes(cache):
    train, valid = (load_dataset(LOWDIM, filter_key=key) for key in ("train", "valid"))
    assert (train.info.num_episodes, valid.info.num_episodes) == (3, 1)
    np.testing.assert_array_equal(train.observations[:, 9:], stacked(LOWDIM, "obs/object", ORDER[:1] + ORDER[2:]))
    np.testing.assert_array_equal(valid.observations[:, 9:], stacked(LOWDIM, "obs/object", ORDER[1:2]))
    assert load_dataset(LOWDIM).info.num_episodes == 4  # not the subset that lies in the cache


def test_chosen_keys_in_their_order(cache):
    keys = ("object", "robot0_joint_pos")
    dataset = load_dataset(LOWDIM, observation_keys=list(keys))
    np.testing.assert_array_equal(dataset.observations[:, :10], stacked(LOWDIM, "obs/object"))
    np.testing.assert_array_equal(dataset.observations[:, 10:], stacked(LOWDIM, "obs/robot0_joint_pos"))
    assert dataset.info.observation_keys == keys
    assert load_dataset(LOWDIM, observation_keys=keys[::-1]).observations[0, 0] != dataset.observations[0, 0]


def test_two_robots_come_before_the_object(cache, edited):
    def second_robot(file):
        for demo in ORDER:
            for key in ("eef_pos", "eef_quat", "gripper_qpos"):
                file[f"data/{demo}/obs/robot1_{key}"] = 10 + file[f"data/{demo}/obs/robot0_{key}"][()]

    info = load_dataset(edited(second_robot)).info
    assert info.observation_keys == (*KEYS[:3], *(k.replace("0", "1") for k in KEYS[:3]), "object")
    assert info.observation_dim == 28


def test_without_next_obs_there_are_no_final_observations(cache, edited):
    def change(file):
        del file["data/demo_10/next_obs"]

    assert load_dataset(edited(change)).final_observations is None


@pytest.mark.parametrize("names", [CAMERAS, ("robot0_eye_in_hand_image", "agentview_image"), ("agentview",)])
def test_images_and_proprioception_without_the_object(cache, names):
    dataset = load_dataset(IMAGE, cameras=names)
    short = tuple(name.removesuffix("_image") for name in names)
    expected = [stacked(IMAGE, f"obs/{name}_image", ["demo_1", "demo_2"]) for name in short]
    np.testing.assert_array_equal(dataset.images, np.stack(expected, axis=1))
    assert dataset.images.dtype == np.uint8
    info = dataset.info
    assert info.cameras == short
    assert info.image_size == (84, 84)
    assert info.observation_keys == KEYS[:3]
    assert info.env_config["cameras"] == list(short)
    assert info.env_config["image_size"] == [84, 84]


def test_images_are_read_only_if_asked_for(cache):
    dataset = load_dataset(IMAGE)
    assert dataset.images is None
    assert dataset.info.cameras == ()
    assert dataset.info.observation_keys == KEYS


def test_a_converted_file_keeps_its_images_and_its_options(cache, tmp_path, refused):
    dataset = load_dataset(IMAGE, cameras=CAMERAS, filter_key="train", cache_dir=tmp_path / "other")
    refused(dataset.path, "cameras", "agentview", cameras=["agentview"])
    refused(dataset.path, "observation_keys", "object", observation_keys=KEYS)
    refused(dataset.path, "filter_key", filter_key="train")
    for options in ({}, {"cameras": CAMERAS, "observation_keys": KEYS[:3]}):
        again = load_dataset(dataset.path, **options)
        np.testing.assert_array_equal(again.images, dataset.images)
        assert again.info.to_json() == dataset.info.to_json()
    assert len(list((cache / "converted").iterdir())) == 1


def test_demonstrations_without_observations(edited, refused):
    def raw(file):
        for demo in ORDER:
            for key in ("obs", "next_obs", "rewards", "dones"):
                del file[f"data/{demo}/{key}"]

    refused(edited(raw), "'data/demo_2/obs' is missing", "rllib dataset render")


def test_images_that_are_not_there(refused):
    refused(LOWDIM, "agentview_image' is missing", "rllib dataset render", "--cameras agentview", cameras=["agentview"])
    refused(IMAGE, "frontview_image' is missing", "agentview", "robot0_eye_in_hand", cameras=["frontview"])


def test_unknown_filter_key(edited, refused):
    refused(LOWDIM, "'mask/20_percent' is missing", "train, valid", filter_key="20_percent")

    def change(file):
        replace(file, "mask/train", np.array([b"demo_2", b"demo_77"]))
        replace(file, "mask/valid", np.array([], dtype="S8"))

    path = edited(change)
    refused(path, "'mask/train' names demo_77", filter_key="train")
    refused(path, "'mask/valid' names no episode", filter_key="valid")


def test_a_file_without_masks(edited, refused):
    def change(file):
        del file["mask"]

    refused(edited(change), "no filter keys", filter_key="train")


def test_unknown_observation_key(refused):
    refused(
        LOWDIM, "'data/demo_2/obs/robot0_eef_qat' is missing", "robot0_eef_quat", observation_keys=["robot0_eef_qat"]
    )


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"observation_keys": "object"}, "observation_keys is 'object'"),
        ({"observation_keys": ["object", "object"]}, "different names"),
        ({"cameras": ["agentview", "agentview_image"]}, "different names"),
    ],
)
def test_lists_of_names(refused, options, word):
    refused(LOWDIM, word, **options)


def test_options_that_a_format_has_not(tmp_path, columns, write, refused):
    path = write(tmp_path / "d.hdf5", columns)
    refused(path, "'filter_key' does not apply", filter_key="train")
    refused(path, "'cameras' does not apply", cameras=["agentview"])
    refused(path, "'observation_keys' does not apply", observation_keys=["object"])


def shorten(key):
    return lambda file: replace(file, f"data/demo_8/{key}", file[f"data/demo_8/{key}"][:-1])


def not_a_number(file):
    file["data/demo_10/obs/object"][4, 2] = np.nan


def widen(file):
    for group in ("obs", "next_obs"):
        key = f"data/demo_10/{group}/object"
        replace(file, key, np.zeros((len(file[key]), 11), np.float32))


def bad_env_args(file):
    file["data"].attrs["env_args"] = "{not json"


def no_episodes(file):
    for demo in ORDER:
        del file[f"data/{demo}"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shorten("actions"), ("'demo_8/actions' ", "different numbers of steps")),
        (shorten("obs/object"), ("'demo_8/object' ", "different numbers of steps")),
        (lambda file: file.pop("data/demo_8/rewards"), ("'data/demo_8/rewards' is missing", "Robomimic's layout")),
        (not_a_number, ("'observations' holds nan",)),
        (widen, ("demo_10 have 20 dimensions", "demo_2 19")),
        (bad_env_args, ("'env_args'", "not a JSON object")),
        (no_episodes, ("'data' holds no episodes",)),
    ],
)
def test_damaged_contents(edited, refused, change, words):
    refused(edited(change), "edited.hdf5", *words)


def float_images(file):
    replace(file, "data/demo_2/obs/agentview_image", np.zeros((16, 84, 84, 3), np.float32))


def smaller_images(file):
    replace(file, "data/demo_2/obs/agentview_image", np.zeros((16, 64, 84, 3), np.uint8))


def fewer_images(file):
    replace(file, "data/demo_2/obs/agentview_image", np.zeros((15, 84, 84, 3), np.uint8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (float_images, ("'data/demo_2/obs/agentview_image' is float32", "uint8")),
        (smaller_images, ("[64, 84]", "[84, 84]", "one size")),
        (fewer_images, ("'demo_2/agentview_image' 15",)),
    ],
)
def test_damaged_images(edited, refused, change, words):
    refused(edited(change, IMAGE), *words, cameras=CAMERAS)


def test_an_unknown_task_has_no_environment_of_ours(cache, edited):
    def change(file):
        file["data"].attrs["env_args"] = json.dumps({"env_name": "ToolHang", "env_kwargs": {}})

    info = load_dataset(edited(change)).info
    assert info.env_id is None
    assert info.env_config["env_args"]["env_name"] == "ToolHang"


@pytest.mark.parametrize("filter_key", [None, "train"])
def test_it_agrees_with_robomimics_own_reader(cache, filter_key):
    pytest.importorskip("robomimic")
    from robomimic.utils import obs_utils
    from robomimic.utils.dataset import SequenceDataset

    obs_utils.initialize_obs_utils_with_obs_specs([{"obs": {"low_dim": list(KEYS)}}])
    theirs = SequenceDataset(
        hdf5_path=str(LOWDIM),
        obs_keys=KEYS,
        dataset_keys=("actions", "rewards", "dones"),
        seq_length=1,
        frame_stack=1,
        pad_seq_length=True,
        load_next_obs=True,
        hdf5_cache_mode=None,
        filter_by_attribute=filter_key,
    )
    ours = load_dataset(LOWDIM, filter_key=filter_key)
    assert len(theirs) == ours.info.num_steps
    offsets, dims = ours.episode_offsets, {key: theirs[0]["obs"][key].shape[-1] for key in KEYS}
    theirs_by_episode = {demo: theirs.get_dataset_for_ep(demo, "actions")[()] for demo in theirs.demos}
    for number, demo in enumerate(theirs.demos):
        np.testing.assert_array_equal(
            ours.actions[offsets[number] : offsets[number + 1]], theirs_by_episode[demo].astype(np.float32)
        )
    for row in range(0, len(theirs), 7):
        item, at = theirs[row], 0
        for key in KEYS:
            np.testing.assert_array_equal(ours.observations[row, at : at + dims[key]], item["obs"][key][0])
            if row + 1 in offsets:
                final = ours.final_observations[list(offsets).index(row + 1) - 1]
                np.testing.assert_array_equal(final[at : at + dims[key]], item["next_obs"][key][0])
            at += dims[key]
        assert at == ours.info.observation_dim
        np.testing.assert_array_equal(ours.actions[row], item["actions"][0].astype(np.float32))
        assert ours.rewards[row] == item["rewards"][0]
    theirs.close_and_delete_hdf5_handle()


def test_images_agree_with_robomimics_own_reader(cache):
    pytest.importorskip("robomimic")
    from robomimic.utils import obs_utils
    from robomimic.utils.dataset import SequenceDataset

    rgb = [f"{camera}_image" for camera in CAMERAS]
    obs_utils.initialize_obs_utils_with_obs_specs([{"obs": {"low_dim": list(KEYS[:3]), "rgb": rgb}}])
    theirs = SequenceDataset(
        hdf5_path=str(IMAGE),
        obs_keys=(*KEYS[:3], *rgb),
        dataset_keys=("actions",),
        load_next_obs=False,
        hdf5_cache_mode=None,
    )
    ours = load_dataset(IMAGE, cameras=CAMERAS)
    for row in range(len(theirs)):
        for view, key in enumerate(rgb):
            np.testing.assert_array_equal(ours.images[row, view], np.asarray(theirs[row]["obs"][key][0]))
    theirs.close_and_delete_hdf5_handle()


@pytest.mark.skipif("SCOREFLOW_SHARED_DATA" not in os.environ, reason="needs the full recordings")
@pytest.mark.parametrize(
    ("name", "steps", "episodes", "dims"), [("lift", 4749, 60, 19), ("can", 10617, 60, 23), ("square", 7198, 40, 23)]
)
def test_the_full_recordings(cache, name, steps, episodes, dims):
    info = load_dataset(Path(os.environ["SCOREFLOW_SHARED_DATA"]) / f"{name}_lowdim.hdf5").info
    assert (info.num_steps, info.num_episodes, info.observation_dim) == (steps, episodes, dims)
    assert info.env_id == f"robomimic/{name}"
    assert info.mean_return >= 10
