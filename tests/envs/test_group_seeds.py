"""Sub environments that share seeds: the n-th episodes of a group start alike, whatever has happened before."""

import gymnasium as gym
import numpy as np
import pytest

from rllib_scoreflow.envs import make_chunk_vector_env
from rllib_scoreflow.envs.seeding import group_seeds, sub_env_seeds


class Gamble(gym.Env):
    """Starts anywhere, draws as many random numbers in a step as the action says, and ends after as many steps."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gym.spaces.Box(1.0, 5.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._start, self._count = float(self.np_random.normal()), 0
        return np.array([self._start, 0.0]), {}

    def step(self, action):
        self._count += 1
        self.np_random.normal(size=int(action[0]))
        return np.array([self._start, self._count]), 0.0, self._count >= int(action[0]), False, {}


gym.register("GroupGamble-v0", Gamble)


def starts_of(env, actions, steps: int) -> list[list[float]]:
    """First numbers of the episodes that every sub environment has begun."""
    observation, _ = env.reset()
    found = [[float(row[0])] for row in observation]
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(actions)
        for i in np.flatnonzero(terminated | truncated):
            found[i].append(float(observation[i, 0]))
    return found


@pytest.mark.parametrize("seed", [5, None])
def test_episodes_of_a_group_start_alike_though_their_steps_draw_differently(seed) -> None:
    env = make_chunk_vector_env("GroupGamble-v0", 4, act_steps=1, horizon=1, seed=seed, group_size=2)
    found = starts_of(env, np.array([[1.0], [3.0], [2.0], [5.0]], np.float32), 15)
    for one, other in ((found[0], found[1]), (found[2], found[3])):
        both = min(len(one), len(other))
        assert both >= 4
        assert one[:both] == other[:both]
        assert len(set(one)) == len(one)
    assert not set(found[0]) & set(found[2])
    env.close()


def test_without_groups_nothing_is_shared() -> None:
    env = make_chunk_vector_env("GroupGamble-v0", 4, act_steps=1, horizon=1, seed=5)
    firsts = [each[0] for each in starts_of(env, np.full((4, 1), 2.0, np.float32), 3)]
    assert len(set(firsts)) == 4
    env.close()


def test_another_reset_gives_other_episodes_and_the_same_seed_the_same() -> None:
    env = make_chunk_vector_env("GroupGamble-v0", 2, act_steps=1, horizon=1, group_size=2)
    first, again, other = (env.reset(seed=seed)[0][0, 0] for seed in (1, 1, 2))
    assert first == again != other
    env.close()


def test_seeds_are_those_of_fewer_environments_repeated() -> None:
    assert group_seeds(7, 5, 1) == sub_env_seeds(7, 5)
    one, two = sub_env_seeds(7, 2)
    assert group_seeds(7, 6, 3) == [one] * 3 + [two] * 3


@pytest.mark.filterwarnings("ignore:.*out of date.*")
def test_envpool_shares_them_too() -> None:
    pytest.importorskip("envpool", reason="envpool is not installed")
    env = make_chunk_vector_env("Hopper-v4", 4, act_steps=4, horizon=4, backend="envpool", seed=3, group_size=2)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (4, 12)).astype(np.float32)
    found = starts_of(env, actions, 80)
    for one, other in ((found[0], found[1]), (found[2], found[3])):
        both = min(len(one), len(other))
        assert both >= 2
        assert one[:both] == other[:both]
        assert len(set(one)) == len(one)
    assert found[0][0] != found[2][0]
    env.close()
