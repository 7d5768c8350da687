"""A policy's recorded episodes: what the simulator does again when the recorded actions are repeated."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.envs import sub_env_seeds
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation import evaluate_policy
from rllib_scoreflow.evaluation.recording import frames_per_second, record_episodes

OPTIONS = {"act_steps": 2, "horizon": 3, "seed": 3}


def wave(observations):
    """Actions of Hopper that depend on what is seen; some lie outside of the bounds."""
    return np.tile(2 * np.sin(7 * observations[:, :3]), (1, 3)).astype(np.float32)


def test_repeating_the_recorded_actions_gives_the_recorded_observations(tmp_path):
    config = {"max_episode_steps": 30}
    columns = record_episodes(wave, "Hopper-v4", episodes=3, scratch=tmp_path, env_config=config, **OPTIONS).columns
    ends = np.flatnonzero(columns.terminals | columns.timeouts)
    assert len(ends) == len(columns.final_observations) == 3
    assert columns.fps == 125
    assert np.abs(columns.actions).max() <= 1
    env = gym.make("Hopper-v4")
    observation, _ = env.reset(seed=sub_env_seeds(3, 1)[0])
    for row in range(ends[0] + 1):
        np.testing.assert_allclose(columns.observations[row], observation, atol=1e-6)
        observation, reward, terminated, _, _ = env.step(columns.actions[row])
        assert columns.rewards[row] == pytest.approx(reward, abs=1e-5)
        assert columns.terminals[row] == terminated
    np.testing.assert_allclose(columns.final_observations[0], observation, atol=1e-6)
    starts = columns.observations[[0, *(ends[:-1] + 1)]]
    assert len(np.unique(starts, axis=0)) == 3, "every episode has its own start"


def test_the_same_episodes_as_an_evaluation_of_one_environment(tmp_path):
    played = record_episodes(wave, "Hopper-v4", episodes=3, scratch=tmp_path, **OPTIONS)
    ends = np.flatnonzero(played.columns.terminals | played.columns.timeouts)
    returns = np.add.reduceat(played.columns.rewards.astype(float), [0, *(ends[:-1] + 1)])
    evaluated = evaluate_policy(wave, "Hopper-v4", episodes=3, num_envs=1, backend="gymnasium", **OPTIONS)
    np.testing.assert_allclose(returns, evaluated.returns, rtol=1e-4)
    assert played.success is None


def test_cameras_successes_and_cuts(tmp_path):
    def still(observation):
        return np.zeros((len(observation["state"]), 3), np.float32)

    played = record_episodes(still, "toy_envs:ToyPixels-v0", episodes=6, scratch=tmp_path, **OPTIONS)
    columns = played.columns
    count, limit = columns.observations.T
    np.testing.assert_array_equal(columns.images[:, 0, 0, 0, 0], count)
    np.testing.assert_array_equal(columns.images[:, 1, -1, -1, -1], limit)
    assert columns.images.shape == (len(count), 2, 4, 6, 3)
    assert columns.cameras == ("camera_0", "camera_1")
    np.testing.assert_array_equal(columns.terminals, count == limit - 1)
    np.testing.assert_array_equal(played.success, limit[columns.terminals] % 2 == 0)
    cut = record_episodes(
        still,
        "toy_envs:ToyPixels-v0",
        episodes=2,
        scratch=tmp_path,
        env_config={"limit": 9, "max_episode_steps": 5},
        **OPTIONS,
    ).columns
    assert (cut.timeouts.sum(), cut.terminals.sum(), len(cut.rewards)) == (2, 0, 10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("given", "known", "rate"), [(20, None, 20), (20, 30.0, 20), (None, 29.99999999, 30)])
def test_the_rate_is_what_the_user_or_else_the_recording_says(given, known, rate):
    assert frames_per_second(given, known, "it") == rate


@pytest.mark.parametrize(("known", "words"), [(None, "does not say"), (29.97, "whole numbers"), (0.2, "whole numbers")])
def test_an_unknown_or_broken_rate_has_to_be_given(known, words):
    with pytest.raises(InputError, match=words):
        frames_per_second(None, known, "it")


def test_the_command_records_a_policy(rllib, refused, tmp_path, make_policy, monkeypatch):
    monkeypatch.setenv("RLLIB_SCOREFLOW_CACHE", str(tmp_path / "cache"))
    policy = make_policy(0.1, variant="flow", steps=1).save(tmp_path / "run" / "policy")
    named = ("--env", "toy_envs:ToyCountdown-v0")
    assert "--env" in refused("dataset", "export", policy.parent, "out", "--fps", 10)
    assert "--fps" in refused("dataset", "export", policy.parent, "out", *named)
    assert "filter_key" in refused("dataset", "export", policy.parent, "out", *named, "--filter-key", "x")
    answer = rllib("dataset", "export", policy.parent, "out", *named, "--fps", 10, "--episodes", 4, "--seed", 1)
    assert answer.status == 0, answer
    info = json.loads(Path("out/meta/info.json").read_text())
    assert (info["total_episodes"], info["fps"], info["robot_type"]) == (4, 10, "toy_envs:ToyCountdown-v0")
    dataset = load_dataset("out", constant_observations="allow")
    np.testing.assert_array_equal(dataset.terminals, dataset.observations[:, 0] == dataset.observations[:, 1] - 1)
    assert any("episodes succeed" in note for note in dataset.info.notes)
