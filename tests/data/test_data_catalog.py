"""D4RL's ids, addresses and scores."""

import pytest

from rllib_scoreflow.data import D4RL_DATASETS, find_dataset, normalized_score, reference_score


def test_every_id_has_its_own_address():
    assert len(D4RL_DATASETS) == 4 * 6 + 3
    assert len({entry.url for entry in D4RL_DATASETS.values()}) == len(D4RL_DATASETS)
    assert len({entry.file_name for entry in D4RL_DATASETS.values()}) == len(D4RL_DATASETS)
    assert all(entry.url.endswith("/" + entry.file_name) for entry in D4RL_DATASETS.values())


@pytest.mark.parametrize(
    ("dataset", "ending", "env_id"),
    [
        ("hopper-medium-replay-v2", "gym_mujoco_v2/hopper_medium_replay-v2.hdf5", "Hopper-v4"),
        ("halfcheetah-expert-v2", "gym_mujoco_v2/halfcheetah_expert-v2.hdf5", "HalfCheetah-v4"),
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
    assert reference_score("Humanoid-v4") is None


def test_normalized_score_is_in_percent():
    assert normalized_score("Hopper-v4", -20.272305) == pytest.approx(0.0)
    assert normalized_score("hopper-medium-v2", 3234.3) == pytest.approx(100.0)
    assert normalized_score("kitchen-partial-v0", 3.0) == pytest.approx(75.0)
    assert normalized_score("my_package:MyEnv-v0", 3.0) is None
