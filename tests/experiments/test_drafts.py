"""``rllib init``: files that run as they are, for every layout of data, each choice with the figure it follows from."""

import json
import re
import shutil
from pathlib import Path

import gymnasium as gym
import h5py
import numpy as np
import pytest

from rllib_scoreflow.cli.init_command import file_name
from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.data.analysis import Analysis, Foresight, Modes, analyse_dataset
from rllib_scoreflow.experiments.drafts import speed
from rllib_scoreflow.experiments.drafts.start import choose_chunk, choose_start
from rllib_scoreflow.experiments.yaml import read_yaml
from rllib_scoreflow.runs.plan import check_experiments

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"
SHORT = ("--minutes", 2)


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    """A cache of the test's own, and speeds that are measured for a moment only."""
    monkeypatch.setenv("RLLIB_SCOREFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    for name in ("_SIMULATOR_SECONDS", "_GRADIENT_SECONDS"):
        monkeypatch.setattr(speed, name, 0.02)


def play(env_id, episodes=12, longest=40):
    """Episodes of random actions: observations (one more than actions), actions, rewards, and whether it terminated."""
    env, rng, found = gym.make(env_id), np.random.default_rng(0), []
    for seed in range(episodes):
        observations, actions, rewards, terminated = [env.reset(seed=seed)[0]], [], [], False
        while len(actions) < longest and not terminated:
            actions.append(rng.uniform(env.action_space.low, env.action_space.high).astype(np.float32))
            observation, reward, terminated, truncated, _ = env.step(actions[-1])
            observations.append(observation)
            rewards.append(reward)
            if truncated:
                break
        found.append((np.array(observations), np.array(actions), np.array(rewards), terminated))
    env.close()
    return found


def write_flat(path, env_id, /, **attributes):
    """The episodes in D4RL's layout."""
    episodes = play(env_id)
    with h5py.File(path, "w") as file:
        file["observations"] = np.concatenate([o[:-1] for o, _, _, _ in episodes]).astype(np.float32)
        file["next_observations"] = np.concatenate([o[1:] for o, _, _, _ in episodes]).astype(np.float32)
        file["actions"] = np.concatenate([a for _, a, _, _ in episodes])
        file["rewards"] = np.concatenate([r for _, _, r, _ in episodes]).astype(np.float32)
        lasts = [np.arange(len(a)) == len(a) - 1 for _, a, _, _ in episodes]
        ended = [done for _, _, _, done in episodes]
        file["terminals"] = np.concatenate([last & done for last, done in zip(lasts, ended, strict=True)])
        file["timeouts"] = np.concatenate([last & (not done) for last, done in zip(lasts, ended, strict=True)])
        file.attrs.update(attributes)
    return path


def make_flat(folder):
    return write_flat(folder / "hopper_mine.hdf5", "Hopper-v4"), "Hopper-v4"


def make_minari(folder):
    minari = pytest.importorskip("minari")
    from minari.data_collector import EpisodeBuffer

    buffers = []
    for observations, actions, rewards, _ in play("Reacher-v5", longest=50):
        ends = np.arange(len(actions)) == len(actions) - 1
        buffers.append(
            EpisodeBuffer(
                observations=observations,
                actions=actions,
                rewards=list(rewards),
                terminations=[False] * len(actions),
                truncations=list(ends),
            )
        )
    minari.create_dataset_from_buffers("test/reach-v0", buffers, env="Reacher-v5", eval_env="Reacher-v5")
    return "minari:test/reach-v0", "Reacher-v5"


def make_lerobot(folder):
    return shutil.copytree(FIXTURES / "lerobot", folder / "drawers"), None


def make_robomimic(folder):
    """Demonstrations of a task that is none of ours."""
    path = folder / "stack.hdf5"
    shutil.copy(FIXTURES / "lift_lowdim.hdf5", path)
    with h5py.File(path, "a") as file:
        about = json.loads(file["data"].attrs["env_args"])
        file["data"].attrs["env_args"] = json.dumps({**about, "env_name": "StackOfMine"})
    return path, None


def make_lift(folder):
    pytest.importorskip("robosuite")
    return FIXTURES / "lift_lowdim.hdf5", "robomimic/lift"


def make_shipped(folder):
    return "hopper-small", "Hopper-v4"


def comments_of(text):
    """Key -> the comment above it, of all keys that have one."""
    found, above = {}, []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            above.append(stripped.removeprefix("#").strip())
        else:
            if above and ":" in stripped:
                found.setdefault(stripped.partition(":")[0], []).append(" ".join(above))
            above = []
    return found


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
@pytest.mark.parametrize(
    "make",
    [
        make_flat,
        make_minari,
        make_lerobot,
        make_robomimic,
        make_shipped,
        pytest.param(make_lift, marks=pytest.mark.slow),  # the simulator takes half a minute to begin
    ],
)
def test_the_file_passes_the_checks_of_the_command_and_every_choice_has_a_reason(make, tmp_path, rllib):
    dataset, env_id = make(tmp_path)
    answer = rllib("init", dataset, *SHORT)
    assert answer.status == 0, answer.err
    (file,) = Path.cwd().glob("*.yaml")
    assert f"rllib train file {file.name}" in answer.out
    text, experiments = file.read_text(encoding="utf-8"), read_yaml(file)
    check_experiments(experiments, str(file), file.stem)
    assert [body["run"] for body in experiments.values()] == (["FlowBC"] if env_id is None else ["FlowBC", "ScoreFlow"])
    assert all(body.get("env") == env_id for body in experiments.values())
    assert max(map(len, text.splitlines())) <= 120
    comments = comments_of(text)
    for body in experiments.values():
        for key in ({*body} | {*body["config"]}) - {"run", "config"}:
            assert len(comments[key][0].rstrip(".").split()) >= 2, key
    # Figures of the comments are the data's own.
    info = load_dataset(dataset, constant_observations="allow").info
    assert f"{info.num_steps:,} steps in {info.num_episodes:,} episodes" in text
    assert f"{info.observation_dim} numbers are observed" in text
    # Nothing is overwritten.
    again = rllib("init", dataset, *SHORT)
    assert again.status == 2
    assert "exists and is not overwritten" in again.err
    assert file.read_text(encoding="utf-8") == text


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
def test_a_minari_dataset_is_taken_by_its_folder_too(tmp_path, rllib):
    make_minari(tmp_path)
    for folder, file in (("reach-v0", "one.yaml"), ("reach-v0/data", "two.yaml")):
        answer = rllib("init", tmp_path / "minari" / "test" / folder, "-o", file, *SHORT)
        assert answer.status == 0, answer.err
        assert {body["env"] for body in read_yaml(Path(file)).values()} == {"Reacher-v5"}


@pytest.mark.parametrize(("ways", "start"), [((1.0,), "zero"), ((-1.0, 1.0), "normal")])
def test_the_start_follows_from_the_demonstrations(ways, start, tmp_path, rllib):
    """Passing an obstacle on one side or on both, as far as the observation does not tell."""
    rng, episodes, length = np.random.default_rng(0), 50, 30
    along = np.tile(np.linspace(0, 1, length), episodes)[:, None] + 0.01 * rng.normal(size=(episodes * length, 1))
    side = np.repeat(rng.choice(ways, episodes), length)[:, None]
    actions = np.hstack([side * np.cos(np.pi * along), 0.5 * along]) + 0.02 * rng.normal(size=(len(along), 2))
    ends = np.arange(len(along)) % length == length - 1
    with h5py.File(tmp_path / "passing.hdf5", "w") as file:
        file["observations"], file["actions"] = along, np.clip(actions, -1.2, 1.2)
        file["rewards"], file["terminals"], file["timeouts"] = np.zeros(len(along)), np.zeros(len(along)), ends
    answer = rllib("init", tmp_path / "passing.hdf5", *SHORT)
    assert answer.status == 0, answer.err
    (body,) = read_yaml(Path("passing.yaml")).values()
    assert body["config"]["chain"] == {"start": start}
    (reason,) = comments_of(Path("passing.yaml").read_text())["chain"]
    assert "two groups in" in reason


def test_of_one_episode_nothing_is_held_out_and_little_is_repeated_without_end(tmp_path, rllib):
    path = tmp_path / "one.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = rng.normal(size=(30, 3)), rng.uniform(-1, 1, (30, 1))
        file["rewards"], file["terminals"], file["timeouts"] = np.zeros(30), np.zeros(30), np.arange(30) == 29
    answer = rllib("init", path, "--minutes", 60)
    assert answer.status == 0, answer.err
    (body,) = read_yaml(Path("one.yaml")).values()
    assert body["config"]["validation_fraction"] == 0.0
    # Batches of 64 of at most 30 chunks: an epoch is one step, and 1500 the longest published cloning.
    assert body["stop"]["gradient_steps"] <= 1500


def test_a_path_stays_right_in_another_folder_and_options_are_kept(tmp_path, rllib):
    shutil.copytree(FIXTURES / "lerobot", Path("drawers"))
    answer = rllib("init", "drawers", "--observation-keys", "observation.state", "-o", "state.yml", *SHORT)
    assert answer.status == 0, answer.err
    (experiment,) = read_yaml(Path("state.yml")).items()
    assert experiment[0] == "state-pretrain"
    config = experiment[1]["config"]
    assert config["dataset"] == str(Path("drawers").absolute())
    assert config["observation_keys"] == ["observation.state"]
    assert "`env: ID`" in Path("state.yml").read_text()


def test_an_environment_that_the_user_names_is_taken(tmp_path, rllib):
    path = write_flat(tmp_path / "mine.hdf5", "InvertedPendulum-v5")
    answer = rllib("init", path, "--env", "InvertedPendulum-v5", *SHORT)
    assert answer.status == 0, answer.err
    experiments = read_yaml(Path("mine.yaml"))
    assert experiments["mine-finetune"]["env"] == "InvertedPendulum-v5"
    assert experiments["mine-finetune"]["weights_from"] == "mine-pretrain"


def test_what_registers_an_environment_goes_into_the_file(tmp_path, rllib):
    Path("cart_of_mine.py").write_text(
        "import gymnasium\n"
        "cart = 'gymnasium.envs.mujoco.inverted_pendulum_v5:InvertedPendulumEnv'\n"
        "gymnasium.register('Mine/Cart-v0', cart, max_episode_steps=50)\n"
    )
    path = write_flat(tmp_path / "mine.hdf5", "InvertedPendulum-v5", env_id="Mine/Cart-v0")
    answer = rllib("init", path, "--plugins", "cart_of_mine", *SHORT)
    assert answer.status == 0, answer.err
    assert "environment: Mine/Cart-v0" in answer.out
    bodies = list(read_yaml(Path("mine.yaml")).values())
    assert [(body["env"], body["config"]["plugins"]) for body in bodies] == [("Mine/Cart-v0", ["cart_of_mine"])] * 2


def test_episodes_without_end_are_as_long_as_the_longest_recorded_one(tmp_path, rllib):
    Path("endless_cart.py").write_text(
        "import gymnasium\n"
        "cart = 'gymnasium.envs.mujoco.inverted_pendulum_v5:InvertedPendulumEnv'\n"
        "gymnasium.register('Mine/Endless-v0', cart)\n"
    )
    path = write_flat(tmp_path / "mine.hdf5", "InvertedPendulum-v5")
    answer = rllib("init", path, "--env", "endless_cart:Mine/Endless-v0", *SHORT)
    assert answer.status == 0, answer.err
    clone, tuned = read_yaml(Path("mine.yaml")).values()
    longest = int(np.diff(load_dataset(path).episode_offsets).max())
    assert clone["config"]["max_episode_steps"] == longest
    assert "max_episode_steps" not in tuned["config"]  # the policy's own


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--env", "InvertedPendulumm-v5"), "unknown environment 'InvertedPendulumm-v5': did you mean"),
        (("--env", "Hopper-v4"), "has 4 observation and 1 action dimensions, the environment 'Hopper-v4' has 11"),
        (("-o", "file.txt"), "file.txt: the output is an experiment file; give a name that ends in .yaml"),
        (("-o", "missing/file.yaml"), "no such folder"),
        (("-o", "a b.yaml"), "use letters, digits and -_.+=@ only"),
        (("--filter-key", "train"), "the option 'filter_key' does not apply to a file of D4RL's layout"),
        (("--minutes", "1"), "--minutes"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(words, expected, tmp_path, refused):
    path = write_flat(tmp_path / "mine.hdf5", "InvertedPendulum-v5")
    assert expected in refused("init", path, *words)


def test_no_module_that_a_dataset_names_is_imported(tmp_path, rllib):
    """A dataset is somebody's file; the environment that it names runs code only where the user names it."""
    Path("evil.py").write_text("raise SystemExit('imported')\n")
    path = write_flat(tmp_path / "mine.hdf5", "InvertedPendulum-v5", env_id="evil:Drone-v0")
    answer = rllib("init", path, *SHORT)
    assert answer.status == 0, answer.err
    assert [body["run"] for body in read_yaml(Path("mine.yaml")).values()] == ["FlowBC"]
    assert "evil:Drone-v0, whose module is imported only where you name it" in answer.out


def test_an_environment_that_does_not_fit_is_said_and_not_taken(tmp_path, rllib):
    path = write_flat(tmp_path / "hopper-of-mine.hdf5", "InvertedPendulum-v5")
    answer = rllib("init", path, *SHORT)
    assert answer.status == 0, answer.err
    assert "environment: none" in answer.out
    assert "has 4 observation and 1 action dimensions" in answer.out


def test_a_layout_of_d4rls_is_taken_where_the_named_environment_does_not_fit(tmp_path, rllib):
    """Ant's observations padded to D4RL's 111 numbers, recorded in gymnasium's Ant-v4 of 27."""
    path = write_flat(tmp_path / "ant-mine.hdf5", "Ant-v4", env_id="Ant-v4")
    with h5py.File(path, "a") as file:
        for key in ("observations", "next_observations"):
            values = file[key][:]
            del file[key]
            file[key] = np.pad(values, [(0, 0), (0, 111 - values.shape[1])])
    answer = rllib("init", path, *SHORT)
    assert answer.status == 0, answer.err
    experiments = read_yaml(Path("ant-mine.yaml"))
    assert {body["env"] for body in experiments.values()} == {"ant-medium-v2"}
    assert experiments["ant-mine-pretrain"]["config"]["constant_observations"] == "allow"


@pytest.mark.e2e
@pytest.mark.timeout(280)
def test_what_is_written_trains(tmp_path, rllib, rllib_process):
    path = write_flat(tmp_path / "mine.hdf5", "InvertedPendulum-v5", env_id="InvertedPendulum-v5")
    assert rllib("init", path, *SHORT).status == 0
    toy = {
        "mine-pretrain.stop.gradient_steps": 4,
        "mine-pretrain.config.evaluation_duration": 2,
        "mine-finetune.stop.env_steps": 8,
        "mine-finetune.config.num_envs_per_env_runner": 2,
        "mine-finetune.config.rollout_fragment_length": 4,
        "mine-finetune.config.minibatch_size": 4,
        "mine-finetune.config.evaluation_duration": 2,
    }
    sets = [word for key, value in toy.items() for word in ("--set", f"{key}={value}")]
    trained = rllib_process("train", "file", "mine.yaml", *sets)
    assert trained.status == 0, trained.err
    played = rllib("evaluate", "results/mine", "--attribute", "--episodes", 2, "--json")
    assert played.status == 0, played.err
    assert [row["row"] for row in json.loads(played.out)["rows"]] == list("abcdefg")


def analysis(*, spread=(0.3,) * 8, share=0.0, explained=0.0, start=0.0, states=1000, distance=0.1, median=100):
    """An analysis of which only what is asked for matters."""
    return Analysis(
        lengths=(median, median, median),
        terminal_share=0.0,
        constant_observations=(),
        constant_actions=(),
        bound_share=0.0,
        action_std=np.ones(1),
        return_mean=0.0,
        return_std=0.0,
        return_max=0.0,
        has_rewards=True,
        success_share=None,
        foresight=Foresight(states, distance, spread),
        modes=Modes(share, explained, start),
    )


@pytest.mark.parametrize(
    ("found", "start"),
    [
        (analysis(), "zero"),
        (analysis(share=0.5), "normal"),
        (analysis(share=0.5, explained=1.0), "zero"),
        (analysis(start=0.5), "normal"),
        (analysis(distance=2.0), "normal"),
        (analysis(states=0, distance=float("inf")), "normal"),
    ],
)
def test_the_start_is_random_where_there_is_something_to_choose_or_nobody_knows(found, start):
    choice = choose_start(found)
    assert choice.value == {"start": start}
    assert re.search(r"\d", choice.reason) or "missing" in choice.reason


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        (analysis(), 4),
        (analysis(spread=(0.1, 0.2, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6)), 2),
        (analysis(spread=(0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9)), 1),
        (analysis(median=5), 2),
        (analysis(median=1), 1),
        (analysis(states=0, median=3), 1),
    ],
)
def test_a_chunk_is_as_long_as_the_observation_foretells(found, steps):
    assert choose_chunk(found).steps == steps


def test_the_shipped_dataset_is_described_as_its_own_example_has_it():
    """hopper-demo.yaml, which was measured, has chunks of 4."""
    found = analyse_dataset(load_dataset("hopper-small"))
    assert choose_chunk(found).steps == 4


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mine", "mine.yaml"),
        ("minari:D4RL/door/human-v2", "D4RL_door_human-v2.yaml"),
        ("robomimic/can-ph", "robomimic_can-ph.yaml"),
        ("ORG/drawers of mine", "ORG_drawers_of_mine.yaml"),
        ("...", "dataset.yaml"),
    ],
)
def test_the_file_is_named_after_the_dataset(name, file):
    assert file_name(name) == file
