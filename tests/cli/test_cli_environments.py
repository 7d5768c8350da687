"""``rllib evaluate`` in environments that break their contract, have no time limit, or do not fit the policy."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rllib_scoreflow.flow.config import SDEConfig, VelocityConfig, apply_variant
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig, PolicyMetadata

FAULTY = "toy_envs:ToyFaulty-v0"


@pytest.fixture(autouse=True)
def toy_envs_importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "envs"), *sys.path])


@pytest.fixture
def policy(tmp_path):
    """Save a policy for an environment, by default one of two numbers to observe and one to act with."""

    def save(env_id, observation_dim=2, action_low=(-1.0,), action_high=(2.0,), **env_config):
        torch.manual_seed(0)
        score, noise = apply_variant("flow")
        velocity = VelocityConfig(hidden_dim=16)
        config = PolicyConfig(
            observation_dim=observation_dim,
            action_dim=len(action_low),
            sde=SDEConfig(velocity=velocity, score=score, noise=noise),
        )
        return FlowPolicy(
            config,
            observation_low=np.full(observation_dim, -12, np.float32),
            observation_high=np.full(observation_dim, 12, np.float32),
            action_low=np.array(action_low, np.float32),
            action_high=np.array(action_high, np.float32),
            metadata=PolicyMetadata(variant="flow", env_id=env_id, env_config=env_config),
        ).save(tmp_path / "policy")

    return save


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("constructor raises", ["LookupError", "no license for this simulator"]),
        ("reset without info", ["an array of shape (2,)", "(observation, info)"]),
        ("four values", ["a tuple of 4", "terminated and truncated"]),
        ("observation of one number", ["shape (1,)", "shape (2,)"]),
        ("reward is text", ["one number as reward"]),
        ("step raises", ["ArithmeticError: joint 3 has left its socket", "step 1 of an episode"]),
        ("reward is NaN", ["non-finite reward", "end the episode"]),
        ("success of two", ["info['success']"]),
    ],
)
def test_a_breach_of_the_contract_ends_in_one_sentence(refused, policy, fault, words):
    folder = policy(FAULTY, fault=fault)
    message = refused("evaluate", folder, "--env", FAULTY, "--episodes", 2)
    for word in ("ToyFaulty-v0", *words):
        assert word in message


def test_an_environment_that_ends_the_process_does_not_do_so_in_silence(refused, policy):
    message = refused("evaluate", policy(FAULTY, fault="step exits"), "--env", FAULTY, "--episodes", 2)
    assert "an environment ended the process (SystemExit: 0)" in message


def test_a_module_that_raises_ends_in_one_sentence(refused, policy, tmp_path, monkeypatch):
    (tmp_path / "module_without_device.py").write_text("raise ConnectionError('no robot at 10.0.0.1')")
    monkeypatch.syspath_prepend(tmp_path)
    message = refused("evaluate", policy(FAULTY), "--env", "module_without_device:Robot-v0")
    assert "ConnectionError: no robot at 10.0.0.1" in message


def test_no_time_limit_names_the_option_that_gives_one(rllib, refused, policy):
    folder = policy("toy_envs:ToyEndless-v0", limit=9)
    words = ("evaluate", folder, "--env", "toy_envs:ToyEndless-v0", "--episodes", 2)
    assert "--max-episode-steps" in refused(*words)
    found = json.loads(rllib(*words, "--max-episode-steps", 5, "--json").out)
    assert found["lengths"] == [5, 5]
    assert refused(*words, "--max-episode-steps", 0)


def test_the_rule_of_success_is_an_option_and_is_printed(rllib, refused, policy):
    folder = policy("toy_envs:ToyBriefly-v0", limit=7)
    words = ("evaluate", folder, "--env", "toy_envs:ToyBriefly-v0", "--episodes", 2)
    rates = {
        rule: json.loads(rllib(*words, "--success", rule, "--json").out)["success_rate"] for rule in ("last", "any")
    }
    assert rates == {"last": 0.0, "any": 1.0}
    assert json.loads(rllib(*words, "--json").out)["success_rate"] == 0.0
    assert "success           100.0 % (in any step of an episode)" in rllib(*words, "--success", "any").out
    assert "did you mean 'any'" in refused(*words, "--success", "ani")


@pytest.mark.parametrize(("low", "high"), [(-0.01, 0.01), (-1.0, 1.0), (0.0, 2.0)])
def test_a_policy_whose_actions_lie_outside_the_bounds_is_refused(refused, policy, low, high):
    folder = policy("toy_envs:ToyStrict-v0", low=low, high=high)
    message = refused("evaluate", folder, "--env", "toy_envs:ToyStrict-v0")
    assert "has actions from -1 to 2 in dimension 0" in message
    assert f"outside the bounds {low:g} to {high:g}" in message


def test_an_environment_that_asserts_its_space_lives(rllib, policy):
    """The bounds have more digits than float32."""
    folder = policy(
        "toy_envs:ToyStrict-v0", action_low=(-0.1,), action_high=(0.7,), low=-0.1, high=0.7, dtype="float64"
    )
    answer = rllib("evaluate", folder, "--env", "toy_envs:ToyStrict-v0", "--episodes", 20)
    assert answer.status == 0, answer.err


@pytest.mark.parametrize(
    ("env_config", "scored"),
    [
        ({}, True),
        ({"forward_reward_weight": 1.0, "num_threads": 1}, True),
        ({"max_episode_steps": 1000}, True),
        ({"forward_reward_weight": 5.0}, False),
        ({"terminate_when_unhealthy": False, "max_episode_steps": 4}, False),
        ({"max_episode_steps": 4}, False),
    ],
)
@pytest.mark.filterwarnings("ignore:.*out of date.*")
def test_a_normalised_score_is_that_of_the_published_environment(rllib, policy, env_config, scored):
    folder = policy("Hopper-v4", 11, (-1.0,) * 3, (1.0,) * 3, **env_config)
    found = json.loads(rllib("evaluate", folder, "--episodes", 1, "--json").out)
    assert (found["normalized_score"] is not None) == scored
