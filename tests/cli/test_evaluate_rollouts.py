"""``rllib evaluate`` of RLlib checkpoints with the options that Ray's command had; no Ray is started."""

import itertools
import json
import pickle
import shelve
import textwrap
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray import cloudpickle
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

POLICY = Path(__file__).parents[1] / "policy" / "fixtures" / "schema-1" / "scoreflow"
WINDOW = """
    from pathlib import Path
    from gymnasium.envs.classic_control.cartpole import CartPoleEnv
    class Shown(CartPoleEnv):
        def __init__(self, config):
            super().__init__()
            self.render_mode = config.get("render_mode")
        def render(self):
            Path("shown").write_text(str(self.render_mode))
    class Blind(CartPoleEnv):
        def __init__(self, config):
            super().__init__()
"""


def write_checkpoint(folder: Path, config: PPOConfig, runner_class: type) -> Path:
    """The parts of an untrained algorithm's checkpoint that an evaluation reads."""
    torch.manual_seed(3)
    runner = runner_class(config=config.copy(copy_frozen=False))
    module = folder / "learner_group" / "learner" / "rl_module"
    single = runner_class is SingleAgentEnvRunner
    runner.module.save_to_path(str(module / "default_policy" if single else module))
    runner.stop()
    stored = {"class": config.algo_class, "ctor_args_and_kwargs": ((config,), {})}
    (folder / "class_and_ctor_args.pkl").write_bytes(cloudpickle.dumps(stored))
    (folder / "rllib_checkpoint.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), config, SingleAgentEnvRunner)


@pytest.fixture
def found(rllib, checkpoint):
    """Evaluate the checkpoint; what is printed as JSON."""

    def command(*words):
        answer = rllib("evaluate", checkpoint, *words, "--json")
        assert answer.status == 0, answer.err
        return json.loads(answer.out)

    return command


def test_returns_are_those_of_the_greedy_policy(found, checkpoint) -> None:
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    module = config.get_rl_module_spec(env=gym.make("CartPole-v1")).build()
    module.restore_from_path(str(checkpoint / "learner_group" / "learner" / "rl_module" / "default_policy"))
    env, returns = gym.make("CartPole-v1"), []
    for episode in range(3):
        observation, ended = env.reset(seed=5 if episode == 0 else None)[0], False
        returns.append(0.0)
        while not ended:
            with torch.no_grad():
                out = module.forward_inference({Columns.OBS: torch.from_numpy(observation)[None]})
            action = int(out[Columns.ACTION_DIST_INPUTS].argmax())
            observation, reward, terminated, truncated, _ = env.step(action)
            returns[-1] += float(reward)
            ended = terminated or truncated
    assert found("--episodes", 3, "--seed", 5, "--algo", "PPO")["returns"] == returns


def test_steps_end_with_the_episode_in_which_they_are_done(found) -> None:
    result = found("--steps", 60)
    assert result["steps"] == sum(result["lengths"]) >= 60
    assert sum(result["lengths"][:-1]) < 60
    assert found("--steps", 60, "--episodes", 1)["episodes"] == 1
    assert found("--steps", 0, "--episodes", 2)["episodes"] == 2
    assert found("--steps", 60, "--episodes", 0) == result


@pytest.mark.parametrize("info", [(), ("--save-info",)])
def test_rollouts_hold_every_step(found, info) -> None:
    result = found("--episodes", 2, "--out", "rollouts.pkl", *info)
    episodes = pickle.loads(Path("rollouts.pkl").read_bytes())
    assert [len(steps) for steps in episodes] == result["lengths"]
    assert [sum(step[3] for step in steps) for steps in episodes] == result["returns"]
    for steps in episodes:
        assert {len(step) for step in steps} == {7 if info else 6}
        assert [step[4] for step in steps] == [False] * (len(steps) - 1) + [True]
        for before, after in itertools.pairwise(steps):
            np.testing.assert_array_equal(before[2], after[0])
    assert result["rollouts"] == "rollouts.pkl"


def test_a_shelf_holds_the_same_and_the_progress_is_taken_away(found) -> None:
    found("--episodes", 2, "--out", "rollouts.pkl", "--track-progress")
    found("--episodes", 2, "--out", "shelf", "--use-shelve")
    one = pickle.loads(Path("rollouts.pkl").read_bytes())
    with shelve.open("shelf") as shelf:
        assert shelf["num_episodes"] == 2
        for episode, steps in enumerate(one):
            np.testing.assert_equal(shelf[str(episode)], steps)
    assert not list(Path().glob("__progress_*"))


def test_config_is_laid_over_the_checkpoints(found) -> None:
    plain = found("--episodes", 2)
    rewarded = found("--episodes", 2, "-c", '{"env_config": {"sutton_barto_reward": true}}')
    assert rewarded["lengths"] == plain["lengths"]
    assert rewarded["returns"] == [-1.0, -1.0]
    nested = found("--episodes", 2, "--config", '{"evaluation_config": {"env_config": {"sutton_barto_reward": true}}}')
    assert nested["returns"] == rewarded["returns"]
    assert found("--episodes", 6, "--config", '{"explore": true}')["lengths"] != found("--episodes", 6)["lengths"]
    other = found("--episodes", 1, "--config", '{"env": "CartPole-v0"}')
    assert other["env_id"] == found("--episodes", 1, "-e", "CartPole-v0")["env_id"] == "CartPole-v0"


def test_a_window_is_asked_for(found, refused, checkpoint, tmp_path) -> None:
    file = tmp_path / "window.py"
    file.write_text(textwrap.dedent(WINDOW))
    found("--episodes", 1, "--env", f"{file}:Shown", "--render")
    assert Path("shown").read_text() == "human"
    Path("shown").unlink()
    found("--episodes", 1, "--env", f"{file}:Shown")
    assert not Path("shown").exists()
    assert "opens no window" in refused("evaluate", checkpoint, "--env", f"{file}:Blind", "--render")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--algo", "DQN"), ["--algo 'DQN'", "is of PPO"]),
        (("--run", "DQN"), ["is of PPO"]),
        (("--local-mode",), ["the command's own process"]),
        (("--video-dir", "x"), ["--video FILE.mp4"]),
        (("--episodes", "0"), ["without end", "--steps"]),
        (("--save-info",), ["--save-info", "--out FILE"]),
        (("--use-shelve",), ["--use-shelve", "--out FILE"]),
        (("--track-progress",), ["--track-progress", "--out FILE"]),
        (("--out", "no/such/folder.pkl"), ["--out", "no folder"]),
        (("--config", '{"lr": 0.1}'), ["'lr' has no effect on an evaluation"]),
        (("--config", '{"explore": 3}'), ["explore is 3", "true or false"]),
        (("--config", '{"evaluation_config": 3}'), ["evaluation_config is 3"]),
        (("--config", "[1]"), ["--config must be a mapping"]),
    ],
)
def test_what_has_no_effect_is_refused(refused, checkpoint, options, words) -> None:
    sentence = refused("evaluate", checkpoint, *options)
    assert all(word in sentence for word in words), sentence


def test_a_file_of_rollouts_is_a_new_one(rllib, checkpoint) -> None:
    Path("rollouts.pkl").write_text("mine")
    answer = rllib("evaluate", checkpoint, "--out", "rollouts.pkl")
    assert answer.status == 2
    assert "rollouts.pkl exists" in answer.err
    assert Path("rollouts.pkl").read_text() == "mine"


@pytest.mark.parametrize(
    "option", [("--steps", 5), ("--render",), ("--out", "x.pkl"), ("--config", '{"explore": true}')]
)
def test_exported_policies_say_what_does_the_same(refused, option) -> None:
    sentence = refused("evaluate", POLICY, "--env", "Hopper-v4", *option)
    assert f"{option[0]} is for checkpoints of RLlib's own algorithms" in sentence
    assert "of ScoreFlow; leave --algo out" in refused("evaluate", POLICY, "--algo", "PPO")


def test_several_agents_are_stored_by_name(rllib, tmp_path) -> None:
    from ray.rllib.examples.envs.classes.multi_agent import MultiAgentCartPole

    config = (
        PPOConfig()
        .environment(MultiAgentCartPole, env_config={"num_agents": 2})
        .env_runners(num_env_runners=0)
        .multi_agent(policies={"p0", "p1"}, policy_mapping_fn=choose)
    )
    folder = tmp_path / "agents"
    folder.mkdir()
    write_checkpoint(folder, config, MultiAgentEnvRunner)
    answer = rllib("evaluate", folder, "--episodes", 1, "--out", "rollouts.pkl", "--json")
    assert answer.status == 0, answer.err
    (steps,) = pickle.loads(Path("rollouts.pkl").read_bytes())
    assert set(steps[0][0]) == {0, 1}
    total = sum(sum(step[3].values()) for step in steps)
    assert total == json.loads(answer.out)["returns"][0]


def choose(agent_id: int, *given: object, **named: object) -> str:
    return f"p{agent_id}"
