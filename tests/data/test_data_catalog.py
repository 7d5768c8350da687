"""Published ids, addresses and scores; what is known of published layouts."""

import os
import shutil
from pathlib import Path

import pytest

from rllib_scoreflow.data import (
    D4RL_DATASETS,
    ROBOMIMIC_DATASETS,
    find_dataset,
    load_dataset,
    normalized_score,
    reference_score,
)
from rllib_scoreflow.data.catalog import first_constant_dimension
from rllib_scoreflow.errors import InputError


def test_every_id_has_its_own_address():
    assert len(D4RL_DATASETS) == 4 * 6 + 4 * 3 + 3
    assert len({entry.url for entry in D4RL_DATASETS.values()}) == len(D4RL_DATASETS)
    assert len({entry.file_name for entry in D4RL_DATASETS.values()}) == len(D4RL_DATASETS)
    assert all(entry.url.endswith("/" + entry.file_name) for entry in D4RL_DATASETS.values())


@pytest.mark.parametrize(
    ("dataset", "ending", "env_id"),
    [
        ("hopper-medium-replay-v2", "gym_mujoco_v2/hopper_medium_replay-v2.hdf5", "Hopper-v4"),
        ("halfcheetah-expert-v2", "gym_mujoco_v2/halfcheetah_expert-v2.hdf5", "HalfCheetah-v4"),
        ("pen-human-v1", "hand_dapg_v1/pen-human-v1.hdf5", "AdroitHandPen-v1"),
        (
            "kitchen-complete-v0",
            "kitchen/mini_kitchen_microwave_kettle_light_slider-v0.hdf5",
            "kitchen-complete-v0",
        ),
    ],
)
def test_address_and_environment(dataset, ending, env_id):
    entry = find_dataset(dataset)
    assert entry.url == f"http://rail.eecs.berkeley.edu/datasets/offline_rl/{ending}"
    assert entry.env_id == env_id


def test_scores_by_dataset_and_by_environment():
    assert reference_score("hopper-expert-v2") == reference_score("Hopper-v4")
    assert reference_score("ant-random-v2") == reference_score("Ant-v4") == (-325.6, 3879.7)
    assert reference_score("kitchen-mixed-v0") == (0.0, 4.0)
    assert reference_score("door-cloned-v1") == (-56.512833, 2880.5693087298737)
    assert reference_score("Humanoid-v4") is None


def test_normalized_score_is_in_percent():
    assert normalized_score("Hopper-v4", -20.272305) == pytest.approx(0.0)
    assert normalized_score("hopper-medium-v2", 3234.3) == pytest.approx(100.0)
    assert normalized_score("kitchen-partial-v0", 3.0) == pytest.approx(75.0)
    assert normalized_score("my_package:MyEnv-v0", 3.0) is None


def test_robomimics_ids_and_addresses():
    assert len(ROBOMIMIC_DATASETS) == 8
    entry = find_dataset("robomimic/can-mh")
    assert entry.url == "http://downloads.cs.stanford.edu/downloads/rt_benchmark/can/mh/low_dim_v141.hdf5"
    assert entry.env_id == "robomimic/can"
    assert reference_score("robomimic/can-mh") is None
    assert {each.url.endswith("/" + each.file_name) for each in ROBOMIMIC_DATASETS.values()} == {True}


def test_an_unknown_robomimic_id_names_near_ones(cache):
    with pytest.raises(InputError, match=r"unknown dataset 'robomimic/can-hp': did you mean .*robomimic/can-ph"):
        load_dataset("robomimic/can-hp")


def test_images_of_a_robomimic_id_are_refused_before_the_download(cache):
    with pytest.raises(InputError, match=r"published without images; download .*/lift/ph/demo_v141\.hdf5.*render"):
        load_dataset("robomimic/lift-ph", cameras=["agentview"])
    assert not cache.exists()


def test_a_robomimic_file_placed_by_hand_serves_the_id(cache):
    target = cache / "downloads" / "lift" / "ph" / "low_dim_v141.hdf5"
    target.parent.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "fixtures" / "lift_lowdim.hdf5", target)
    info = load_dataset("robomimic/lift-ph").info
    assert (info.name, info.env_id, info.num_episodes) == ("robomimic/lift-ph", "robomimic/lift", 4)


def test_without_a_network_the_file_to_place_by_hand_is_named(cache, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no server here has https
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"place it as low_dim_v141\.hdf5 in the folder .*downloads/square/mh"):
        load_dataset("robomimic/square-mh")


@pytest.mark.parametrize(
    ("name", "env_id", "dims", "first"),
    [
        ("kitchen-complete-scripted", None, 60, 30),
        ("mine", "FrankaKitchen-v1", 60, 30),
        ("mini_kitchen_microwave_kettle_light_slider-v0", None, 60, 30),
        ("ant_medium_expert-v2", "Ant-v4", 111, 27),
        ("mine", "Ant-v4", 111, 27),
        ("mine", "Ant-v4", 27, 27),
        ("mine", "Ant-v5", 105, 105),
        ("mine", None, 60, 60),
        ("important", "Elephant-v4", 111, 111),
        ("humanoid-medium-v3", None, 376, 45),
    ],
)
def test_layouts_with_known_constant_dimensions(name, env_id, dims, first):
    assert first_constant_dimension((name, env_id), dims) == first


@pytest.mark.skipif("SCOREFLOW_SHARED_DATA" not in os.environ, reason="needs the full recordings")
@pytest.mark.parametrize("name", ["kitchen-complete-scripted", "kitchen-mixed-scripted", "ant_medium_expert-v2"])
def test_full_recordings_with_constant_dimensions_load_as_they_are(cache, name):
    info = load_dataset(Path(os.environ["SCOREFLOW_SHARED_DATA"]) / f"{name}.hdf5").info
    assert (info.observation_min == info.observation_max).any()
