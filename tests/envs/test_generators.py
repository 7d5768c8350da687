"""``rllib dataset generate``: what is kept, recorded and refused, with a generator of a user's own."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.envs.generators import GENERATORS, Generator, generate_dataset
from rllib_scoreflow.envs.seeding import episode_seed
from rllib_scoreflow.errors import InputError

LIMIT = 6


class Line(gym.Env):
    """A point that moves by the first action; it succeeds right of 1, where the episode ends."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Box(-0.3, 0.3, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1.0, 0.5, 2)
        return self.state.copy(), {}

    def step(self, action):
        assert action.dtype == np.float32
        self.state[0] += float(action[0])
        success = self.state[0] > 1.0
        return self.state.copy(), -1.0, bool(success), False, {"success": float(success)}


class Walker(Generator):
    """Goes too fast, and from the left never arrives in time."""

    package = "numpy"
    simulator = "h5py"
    tasks = ("line-v0", "hopeless-v0")

    def begin(self, observation, info):
        self.noise = np.random.uniform(-0.2, 0.2)  # noqa: NPY002 - as published experts do

    def act(self, observation, info):
        observation[:] = 0.0  # an expert may write to it
        return np.array([-9.0 if self.task == "hopeless-v0" else 9.0, self.noise])


@pytest.fixture(autouse=True)
def walker():
    for task in Walker.tasks:
        gym.register(f"toyline/{task}", entry_point=Line, max_episode_steps=LIMIT)
    GENERATORS.register("toyline")(Walker)
    yield
    GENERATORS._entries.pop("toyline")
    for task in Walker.tasks:
        gym.registry.pop(f"toyline/{task}")


def starts(seed: int, count: int) -> np.ndarray:
    """First observations of the demonstrations that are tried, drawn without the generator."""
    seeds = [episode_seed(seed, number) for number in range(1, count + 1)]
    return np.array([np.random.Generator(np.random.PCG64(each)).uniform(-1.0, 0.5, 2) for each in seeds])


def test_failures_are_dropped_and_counted(rllib, tmp_path) -> None:
    answer = rllib("dataset", "generate", "toyline/line-v0", "new/d.parquet", "--episodes", "8", "--seed", "3")
    assert answer.status == 0, answer.err
    tried = starts(3, 40)
    arrives = tried[:, 0] + LIMIT * np.float32(0.3) > 1.0
    last = np.flatnonzero(arrives)[7]
    assert last > 7, "no demonstration fails with this seed"
    dataset = load_dataset(tmp_path / "work" / "new" / "d.parquet")
    first = dataset.episode_offsets[:-1]
    np.testing.assert_array_equal(dataset.observations[first], tried[arrives][:8].astype(np.float32))
    np.testing.assert_array_equal(dataset.actions[:, 0], np.float32(0.3))  # as executed
    assert len(set(dataset.actions[first, 1])) == 8
    np.testing.assert_array_equal(np.flatnonzero(dataset.terminals), dataset.episode_offsets[1:] - 1)
    assert not dataset.timeouts.any()
    assert (dataset.final_observations[:, 0] > 1.0).all()
    assert dataset.info.provenance == {
        "package": "numpy",
        "version": np.__version__,
        "simulator": f"h5py {__import__('h5py').__version__}",
        "task": "line-v0",
        "seed": 3,
        "episodes_tried": last + 1,
        "episodes_kept": 8,
        "successes": 8,
    }
    shown = rllib("dataset", "info", "new/d.parquet").out
    assert f"episodes_tried: {last + 1}" in shown
    assert json.loads(rllib("dataset", "info", "new/d.parquet", "--json").out)["provenance"]["package"] == "numpy"
    verified = rllib("dataset", "verify", "new/d.parquet")
    assert verified.out.endswith("in order\n"), verified
    # A copy in this package's form keeps what is known of the origin.
    rllib("dataset", "convert", "new/d.parquet", "copy.parquet")
    assert load_dataset(tmp_path / "work" / "copy.parquet").info.provenance == dataset.info.provenance


def test_the_file_has_the_tasks_name_unless_told_otherwise(rllib, tmp_path) -> None:
    answer = rllib("dataset", "generate", "toyline/line-v0", "--episodes", "2")
    assert answer.out.startswith("toyline-line-v0.parquet: ")
    assert [file.name for file in (tmp_path / "work").iterdir()] == ["toyline-line-v0.parquet"]
    assert "exists already" in rllib("dataset", "generate", "toyline/line-v0", "--episodes", "2").err


def test_failures_are_kept_when_asked_for(tmp_path) -> None:
    info = generate_dataset("toyline/line-v0", tmp_path / "d.parquet", episodes=12, seed=3, keep_failures=True)
    dataset = load_dataset(tmp_path / "d.parquet")
    arrives = starts(3, 12)[:, 0] + LIMIT * np.float32(0.3) > 1.0
    ends = dataset.episode_offsets[1:] - 1
    np.testing.assert_array_equal(dataset.terminals[ends], arrives)
    np.testing.assert_array_equal(dataset.timeouts[ends], ~arrives)
    assert (info.provenance["episodes_tried"], info.provenance["successes"]) == (12, int(arrives.sum()))


def test_the_seed_determines_the_content_and_fewer_episodes_are_the_first_of_more(tmp_path) -> None:
    def content(name: str, episodes: int, seed: int) -> str:
        return generate_dataset(
            "toyline/line-v0", tmp_path / f"{name}.parquet", episodes=episodes, seed=seed
        ).content_sha256

    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert content("a", 5, 0) == content("b", 5, 0) != content("c", 5, 1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    content("d", 9, 0)
    five, nine = (load_dataset(tmp_path / f"{name}.parquet") for name in "ad")
    np.testing.assert_array_equal(five.observations, nine.observations[: len(five.observations)])


def test_an_interruption_leaves_nothing_and_an_existing_file_stays(tmp_path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_dataset("toyline/line-v0", tmp_path / "d.parquet", episodes=3, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "d.parquet"
    file.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        generate_dataset("toyline/line-v0", file, episodes=3, progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        generate_dataset("toyline/line-v0", file, episodes=3, overwrite=True, progress=interrupt)
    assert file.read_text() == "mine"
    generate_dataset("toyline/line-v0", file, episodes=3, overwrite=True)
    assert load_dataset(file).info.num_episodes == 3


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("toyline/line-v1", "d.parquet"), ["toyline", "'line-v1'", "did you mean 'line-v0'?"]),
        (("toyline/hopeless-v0", "d.parquet"), ["of 20 demonstrations", "only 0", "--keep-failures"]),
        (("Hopper-v4",), ["'Hopper-v4'", "metaworld/"]),
        (("Hopper-v4", "d.parquet"), ["'Hopper-v4'", "metaworld/", "ogbench/"]),
        (("metaword/door-open-v3", "d.parquet"), ["did you mean 'metaworld/door-open-v3'?"]),
        (("ogbench/scene-singletask-v0", "d.parquet"), ["no expert of ogbench plays 'scene-singletask-v0'"]),
        (("toyline/line-v0", "d.hdf5"), ["d.hdf5", ".parquet"]),
        (("toyline/line-v0", "d.parquet", "--episodes", "0"), ["--episodes", "1"]),
        (("toyline/line-v0", "d.parquet", "--seed", "-1"), ["--seed", "0"]),
        (("toyline/line-v0", "/proc/none/d.parquet"), ["cannot write", "/proc/none/d.parquet"]),
    ],
)
def test_refusals(refused, words, parts) -> None:
    sentence = refused("dataset", "generate", *words)
    assert all(part in sentence for part in parts), sentence


def test_a_task_whose_package_is_missing_names_the_extra(refused, monkeypatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    missing = {"metaworld", "ogbench"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, package=None: None if name in missing else found(name, package)
    )
    for env_id in ("metaworld/door-open-v3", "ogbench/cube-single-singletask-v0"):
        package = env_id.partition("/")[0]
        sentence = refused("dataset", "generate", env_id, Path("d.parquet"))
        assert f"pip install 'rllib-scoreflow[{package}]'" in sentence
