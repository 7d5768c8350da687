import gymnasium as gym
import numpy as np

from rllib_scoreflow.envs import env_dims, make_single_env, resolve_env


def test_the_ant_of_d4rl_is_gymnasiums_followed_by_zeros():
    padded, plain = make_single_env(resolve_env("ant-medium-v2")), gym.make("Ant-v4").unwrapped
    assert padded.observation_space.shape == (111,)
    assert env_dims("ant-medium-v2").observation_dim == 111
    action = np.linspace(-1, 1, 8)
    for found, expected in (
        (padded.reset(seed=3)[0], plain.reset(seed=3)[0]),
        (padded.step(action)[0], plain.step(action)[0]),
    ):
        assert expected.shape == (27,)
        np.testing.assert_array_equal(found, np.concatenate([expected, np.zeros(84)]))
        assert padded.observation_space.contains(found)
    padded.close()
    plain.close()
