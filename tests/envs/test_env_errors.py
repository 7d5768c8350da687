"""Bad input and misbehaving simulators."""

import subprocess
import sys

import numpy as np
import pytest

from rllib_scoreflow.envs import env_dims, make_chunk_vector_env
from rllib_scoreflow.errors import InputError


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Hoper-v4", "did you mean Hopper-v"),
        ("Hopper-v9", "did you mean Hopper-v"),
        ("hopper-medum-v2", "did you mean hopper-medium-v2"),
        ("zzzzzzzz", "nothing has a similar name"),
        ("no_such_module:Thing-v0", "module 'no_such_module' cannot be imported"),
        ("toy_envs:ToyCountdwn-v0", "did you mean ToyCountdown-v0"),
        ("CartPole-v1", r"action space Discrete\(2\).*one-dimensional Box"),
        ("Blackjack-v1", "observation space.*one-dimensional Box"),
        ("toy_envs:ToyUnflat-v0", "observation space.*one-dimensional Box"),
    ],
)
def test_an_unsuitable_id_is_named_with_a_remedy(env_id, message):
    with pytest.raises(InputError, match=message) as caught:
        env_dims(env_id)
    assert repr(env_id) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"act_steps": 5}, "act_steps is 5: choose 1 to horizon, which is 4"),
        ({"act_steps": 0}, "act_steps is 0"),
        ({"num_envs": 0}, "num_envs is 0"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0"),
        ({"backend": "jax"}, "backend is 'jax'"),
        ({"env_config": {"gravty": 1}}, "refuses env_config.*gravty"),
        ({"env_id": "Pendulum-v1", "backend": "envpool"}, "parity with gymnasium.*use 'auto'"),
    ],
)
def test_options_that_do_not_fit(options, message):
    options = {"env_id": "Hopper-v4", "num_envs": 2, "act_steps": 2, "horizon": 4} | options
    with pytest.raises(InputError, match=message):
        make_chunk_vector_env(**options)


@pytest.mark.parametrize("backend", ["gymnasium", "auto"])
def test_a_non_finite_action_names_the_sub_environment(backend):
    env = make_chunk_vector_env("Hopper-v4", 3, act_steps=2, horizon=3, backend=backend, seed=0)
    with pytest.raises(RuntimeError, match=r"before reset"):
        env.step(np.zeros((3, 9), np.float32))
    env.reset()
    actions = np.zeros((3, 9), np.float32)
    actions[2, 8] = np.nan  # of the third action, which is not executed
    env.step(actions)
    actions[2, 5] = np.inf
    with pytest.raises(RuntimeError, match=r"non-finite action for sub environment 2"):
        env.step(actions)
    with pytest.raises(ValueError, match=r"actions have shape \(3, 8\), expected \(3, 9\)"):
        env.step(np.zeros((3, 8), np.float32))


def test_a_non_finite_reward_names_the_sub_environment():
    env = make_chunk_vector_env("toy_envs:ToyCountdown-v0", 8, act_steps=4, horizon=4, env_config={"nan_at": 3})
    observation, _ = env.reset(seed=0)
    first = int(np.flatnonzero(observation[:, 1] >= 3)[0])
    with pytest.raises(RuntimeError, match=f"non-finite reward from sub environment {first} of"):
        env.step(np.zeros((8, 4), np.float32))


WITHOUT_EXTRA = """
import sys
sys.modules["gymnasium_robotics"] = None  # the import system's way to say: not there
from rllib_scoreflow.envs import resolve_env
from rllib_scoreflow.errors import InputError
resolve_env("hopper-medium-v2")
try:
    resolve_env("kitchen-mixed-v0")
except InputError as error:
    print(error)
"""


def test_without_gymnasium_robotics_one_sentence_names_the_extra():
    result = subprocess.run([sys.executable, "-c", WITHOUT_EXTRA], capture_output=True, text=True, check=True)
    assert result.stdout == (
        "environment 'kitchen-mixed-v0' needs gymnasium-robotics, which is not installed: "
        "pip install 'rllib-scoreflow[kitchen]'\n"
    )
