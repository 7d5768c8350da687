"""Minari's datasets: local ones made here; without a network an unknown one says what to do."""

import json
import re

import gymnasium as gym
import h5py
import numpy as np
import pytest
from gymnasium import spaces

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.errors import InputError

minari = pytest.importorskip("minari")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")
from minari.data_collector import EpisodeBuffer  # noqa: E402

LENGTHS = (6, 4, 5)


def box(size, dtype=np.float64):
    return spaces.Box(-10, 10, (size,), dtype)


NESTED = spaces.Dict({"robot": box(3), "goal": spaces.Dict({"kettle": box(2), "door": box(1)}), "arm": box(2)})


def sample(space, length, rng):
    if isinstance(space, spaces.Dict):
        return {key: sample(each, length, rng) for key, each in space.spaces.items()}
    return rng.uniform(-1, 1, (length, *space.shape)).astype(space.dtype)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


@pytest.fixture
def make():
    """Create a local dataset; episodes of even number terminate. Returns the episodes."""

    def create(dataset_id="test/arm-v0", space=NESTED, action_space=None, env=None):
        rng = np.random.default_rng(0)
        action_space = action_space or spaces.Box(-1, 1, (2,), np.float32)
        episodes = []
        for number, length in enumerate(LENGTHS):
            ends = np.arange(length) == length - 1
            episodes.append(
                EpisodeBuffer(
                    observations=sample(space, length + 1, rng),
                    actions=(
                        rng.integers(0, 2, length)
                        if isinstance(action_space, spaces.Discrete)
                        else sample(action_space, length, rng)
                    ),
                    rewards=list(rng.normal(size=length)),
                    terminations=list(ends & (number % 2 == 0)),
                    truncations=list(ends & (number % 2 == 1)),
                )
            )
        minari.create_dataset_from_buffers(
            dataset_id,
            episodes,
            env=env,
            observation_space=space,
            action_space=action_space,
            algorithm_name="none",
            author="none",
            author_email="none@example.org",
            code_permalink="none",
        )
        return episodes

    return create


@pytest.fixture
def refused(cache):
    def check(dataset, *words, **options):
        with pytest.raises(InputError) as caught:
            load_dataset(dataset, **options)
        message = str(caught.value)
        for word in words:
            assert word in message
        assert "\n" not in message
        assert not re.search(r"[.!?] [A-Z]", message), "one sentence"
        assert not cache.exists()

    return check


def test_nested_observations_in_the_order_of_the_space(cache, make):
    episodes = make()
    dataset = load_dataset("minari:test/arm-v0")
    keys = dataset.info.observation_keys
    assert keys == tuple(key for key in ("arm", "goal/door", "goal/kettle", "robot") if key in keys)
    flat = [
        [spaces.flatten(NESTED, step) for step in minari_steps(episode.observations, length + 1)]
        for episode, length in zip(episodes, LENGTHS, strict=True)
    ]
    np.testing.assert_allclose(dataset.observations, np.concatenate([each[:-1] for each in flat]), atol=1e-6)
    np.testing.assert_allclose(dataset.final_observations, np.stack([each[-1] for each in flat]), atol=1e-6)
    np.testing.assert_array_equal(dataset.actions, np.concatenate([each.actions for each in episodes]))
    np.testing.assert_allclose(dataset.rewards, np.concatenate([each.rewards for each in episodes]), rtol=1e-6)
    ends = np.cumsum(LENGTHS) - 1
    assert dataset.terminals[ends].tolist() == [True, False, True]
    assert dataset.timeouts[ends].tolist() == [False, True, False]
    assert (dataset.terminals | dataset.timeouts).sum() == 3
    assert dataset.info.name == "minari:test/arm-v0"
    assert dataset.info.env_id is None


def minari_steps(values, length):
    def at(part, i):
        return {key: at(each, i) for key, each in part.items()} if isinstance(part, dict) else part[i]

    return [at(values, i) for i in range(length)]


def test_chosen_keys(cache, make):
    episodes = make()
    dataset = load_dataset("minari:test/arm-v0", observation_keys=["robot", "goal"])
    assert dataset.info.observation_keys[0] == "robot"
    assert set(dataset.info.observation_keys[1:]) == {"goal/kettle", "goal/door"}
    assert dataset.info.observation_dim == 6
    np.testing.assert_allclose(dataset.observations[:6, :3], episodes[0].observations["robot"][:-1], atol=1e-6)


def test_one_array_and_the_recorded_environment(cache, make):
    env = gym.make("Hopper-v4", exclude_current_positions_from_observation=False)
    make("hop-v1", env.observation_space, env.action_space, env=env)
    info = load_dataset("minari:hop-v1").info
    assert info.env_id == "Hopper-v4"
    assert info.env_config == {"exclude_current_positions_from_observation": False}
    assert (info.observation_dim, info.observation_keys) == (12, ())


def test_a_changed_dataset_is_read_again(cache, make, folder):
    make()
    first = load_dataset("minari:test/arm-v0")
    minari.delete_dataset("test/arm-v0")
    make(space=spaces.Dict({"robot": box(3)}))
    assert load_dataset("minari:test/arm-v0").info.source_sha256 != first.info.source_sha256


def test_unknown_key(make, refused):
    make()
    refused("minari:test/arm-v0", "'goal/kitten' is missing", "robot", observation_keys=["goal/kitten"])


def test_keys_of_one_array(make, refused):
    make(space=box(4))
    refused("minari:test/arm-v0", "one array", observation_keys=["robot"])


def test_discrete_actions(make, refused):
    make(action_space=spaces.Discrete(2))
    refused("minari:test/arm-v0", "the actions are of the space Discrete(2)")


def test_images(make, refused):
    make(space=spaces.Dict({"eye": spaces.Box(0, 255, (8, 8, 3), np.uint8), "robot": box(2)}))
    refused("minari:test/arm-v0", "the observations 'eye'", "without images")


def test_the_other_arrays_of_a_dataset_with_images(cache, make):
    make(space=spaces.Dict({"eye": spaces.Box(0, 255, (8, 8, 3), np.uint8), "robot": box(2)}))
    assert load_dataset("minari:test/arm-v0", observation_keys=["robot"]).info.observation_dim == 2


def test_damaged(make, refused, folder):
    make()
    file = folder / "test" / "arm-v0" / "data" / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:-4000])
    refused("minari:test/arm-v0", "not a readable Minari dataset")


def test_malformed_id(refused):
    refused("minari:no version", "not an id of Minari's", "namespace/name-v0")


def test_no_network(refused, folder, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    refused(
        "minari:D4RL/nothing/like-this-v7", "cannot download the Minari dataset D4RL/nothing/like-this-v7", str(folder)
    )


def test_what_the_set_says_of_its_environment(cache, make):
    env = gym.make("Hopper-v4", max_episode_steps=77)
    env = gym.wrappers.ClipReward(gym.wrappers.FlattenObservation(env), -1, 5)
    make("hop-v1", env.observation_space, env.action_space, env=env)
    config = load_dataset("minari:hop-v1").info.env_config
    assert config["max_episode_steps"] == 77
    names = [each["name"] for each in config["additional_wrappers"]]
    assert names == ["FlattenObservation", "ClipReward"]
    assert config["additional_wrappers"][1]["entry_point"].startswith("gymnasium.wrappers")


def test_actions_of_whole_numbers(make, refused):
    make(action_space=spaces.Box(-5, 5, (2,), np.int64))
    refused("minari:test/arm-v0", "'actions' is of type int64")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"total_episodes": 10**10}, ("'total_episodes' is 10000000000", "holds 3 episodes")),
        ({"total_episodes": "3"}, ("'total_episodes' is '3'",)),
        ({"observation_space": None}, ("no observation_space and action_space",)),
        ({"observation_space": "{"}, ("cannot be read as JSON",)),
        ({"data_format": "pickle"}, ("not a readable Minari dataset",)),
    ],
)
def test_metadata_that_is_not_the_folders(make, refused, folder, change, words):
    make()
    path = folder / "test" / "arm-v0" / "data" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    refused("minari:test/arm-v0", *words)


def test_links_and_foreign_storage(make, refused, folder, tmp_path):
    make()
    path = folder / "test" / "arm-v0" / "data" / "main_data.hdf5"
    whole = path.read_bytes()
    with h5py.File(path, "a") as file:
        file["episode_0/infos/x"] = h5py.ExternalLink("/etc/passwd", "/x")
    refused("minari:test/arm-v0", "'episode_0/infos/x' is a link to another file")
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        length = len(file["episode_1/rewards"])
        del file["episode_1/rewards"]
        file.create_dataset("episode_1/rewards", (length,), np.uint8, external=[("/etc/passwd", 0, length)])
    refused("minari:test/arm-v0", "'episode_1/rewards' is stored in other files")


def test_rewards_of_another_shape(make, refused, folder):
    make()
    with h5py.File(folder / "test" / "arm-v0" / "data" / "main_data.hdf5", "a") as file:
        values = file["episode_2/rewards"][()]
        del file["episode_2/rewards"]
        file["episode_2/rewards"] = np.stack([values, values], axis=1)
    refused("minari:test/arm-v0", "the rewards of episode 2 have shape [5, 2]")
