"""Exactly N episodes, by fixed quotas, against a plain loop."""

import json
import math

import gymnasium as gym
import numpy as np
import pytest

from rllib_scoreflow.envs import sub_env_seeds
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation import EvaluationResult, evaluate_policy

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date.*")

TOY = "toy_envs:ToyCountdown-v0"


def do_nothing(observations):
    return np.zeros((len(observations), 4), np.float32)


@pytest.mark.parametrize(("episodes", "num_envs"), [(23, 5), (8, 8), (3, 40), (60, None), (1, 1)])
def test_every_episode_of_the_quota_and_no_other(episodes, num_envs):
    result = evaluate_policy(do_nothing, TOY, episodes=episodes, seed=4, act_steps=3, horizon=4, num_envs=num_envs)
    n = min(episodes, num_envs or 40)
    limits = []
    for i, seed in enumerate(sub_env_seeds(4, n)):
        env = gym.make(TOY)
        observation, _ = env.reset(seed=seed)
        for _ in range(episodes // n + (i < episodes % n)):
            limits.append(int(observation[1]))
            observation, _ = env.reset()
    assert result.lengths == tuple(limits)
    assert result.returns == tuple(limit * (limit + 1) / 2 for limit in limits)
    assert result.successes == tuple(float(limit % 2 == 0) for limit in limits)
    assert result.metrics == {"limit": tuple(map(float, limits))}
    assert result.to_dict()["metrics"] == {"limit": pytest.approx(np.mean(limits))}
    assert result.episodes == episodes
    assert result.success_rate == pytest.approx(np.mean([limit % 2 == 0 for limit in limits]))


def test_short_episodes_are_not_favoured():
    """Lengths are uniform on 1..11; counting the first to end would give a mean far below 6."""
    result = evaluate_policy(do_nothing, TOY, episodes=1200, seed=0, act_steps=4, horizon=4, num_envs=300)
    assert abs(result.length_mean - 6) < 4 * math.sqrt(10 / 1200)
    assert abs(result.return_mean - 26) < 4 * result.return_stderr


@pytest.mark.parametrize("backend", ["gymnasium", "envpool"])
def test_same_seed_same_result(backend):
    if backend == "envpool":
        pytest.importorskip("envpool", reason="envpool is not installed")

    def act(observations):
        assert observations.dtype == np.float32
        assert observations.shape == (4, 11)
        return np.tanh(np.tile(observations[:, 5:8], 2))

    def evaluate(seed):
        return evaluate_policy(
            act, "hopper-medium-v2", episodes=6, num_envs=4, seed=seed, act_steps=2, horizon=2,
            backend=backend,
        )  # fmt: skip

    first = evaluate(1)
    assert first == evaluate(1)
    assert first.returns != evaluate(2).returns
    assert first.backend == backend
    assert first.success_rate is None
    low, high = -20.272305, 3234.3
    assert first.normalized_score == pytest.approx(100 * (first.return_mean - low) / (high - low))


def test_bad_options():
    options = {"episodes": 2, "seed": 0, "act_steps": 4, "horizon": 4}
    with pytest.raises(InputError, match="episodes is 0"):
        evaluate_policy(do_nothing, TOY, **options | {"episodes": 0})
    with pytest.raises(InputError, match=r"no time limit.*give max_episode_steps"):
        evaluate_policy(do_nothing, "toy_envs:ToyEndless-v0", **options)
    limited = evaluate_policy(do_nothing, "toy_envs:ToyEndless-v0", **options, max_episode_steps=3)
    assert max(limited.lengths) <= 3


def test_result_statistics_and_json():
    result = EvaluationResult("Hopper-v4", "gymnasium", 7, (1.0, 2.0, 6.0), (4, 5, 9), (None,) * 3)
    assert result.return_mean == 3.0
    assert result.return_stderr == pytest.approx(np.std([1, 2, 6], ddof=1) / math.sqrt(3))
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values["returns"] == [1.0, 2.0, 6.0]
    assert values["env_steps"] == 18
    assert values["success_rate"] is None
    single = EvaluationResult("Pendulum-v1", "gymnasium", 7, (1.0,), (4,), (1.0,))
    assert math.isnan(single.return_stderr)
    assert json.loads(json.dumps(single.to_dict(), allow_nan=False))["return_stderr"] is None
    assert single.normalized_score is None
    assert single.success_rate == 1.0
