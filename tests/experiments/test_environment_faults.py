"""What a run that has failed says of its environment."""

import gymnasium as gym
import pytest
from ray.tune import register_env

from rllib_scoreflow.experiments.checks.env import find_fault


class Robot(gym.Env):
    def __init__(self, config):
        if config["joints"] != 6:
            raise LookupError(f"no joint {config['joints']} in {object()}")


@pytest.mark.parametrize("env", [Robot, "robot-of-a-name"])
def test_what_the_constructor_raises_is_found(env) -> None:
    register_env("robot-of-a-name", Robot)
    assert find_fault(env, {"joints": 7}) == "LookupError: no joint 7 in <object object>"
    assert find_fault(env, {"joints": 6}) is None


def test_ids_of_gymnasium_are_made_with_their_arguments() -> None:
    assert find_fault("CartPole-v1", {"sutton_barto_reward": True}) is None
    assert "unexpected keyword argument 'colour'" in find_fault("CartPole-v1", {"colour": 3})
    assert find_fault(None, {}) is None
