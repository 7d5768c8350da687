"""Observations with images go through chunks, resets and evaluations as states do."""

import numpy as np
import pytest

from rllib_scoreflow.envs import env_dims, make_chunk_vector_env
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation import evaluate_policy, record_video

PIXELS, LAZY = "toy_envs:ToyPixels-v0", "toy_envs:ToyLazyPixels-v0"
SHAPE = (2, 4, 6, 3)


def shown(observation):
    """What the two cameras show, [N, 2]; every camera must show one number."""
    images = observation["images"]
    assert images.dtype == np.uint8
    assert images.shape[1:] == SHAPE
    numbers = images.reshape(len(images), 2, -1)
    assert (numbers == numbers[..., :1]).all()
    return numbers[..., 0]


@pytest.mark.parametrize("env_id", [PIXELS, LAZY])
def test_images_and_states_are_of_the_same_moment(env_id):
    n, limit = 6, 9
    env = make_chunk_vector_env(env_id, n, act_steps=4, horizon=5, max_episode_steps=limit, seed=3)
    plain = make_chunk_vector_env(
        "toy_envs:ToyCountdown-v0", n, act_steps=4, horizon=5, max_episode_steps=limit, seed=3
    )
    observation, _ = env.reset()
    expected, _ = plain.reset()
    assert env.observation_space.contains(observation)
    partial = 0
    for step in range(30):
        assert observation["state"].dtype == np.float32
        np.testing.assert_array_equal(observation["state"], expected)
        np.testing.assert_array_equal(shown(observation), expected)
        active = np.arange(n) != step % n
        actions = np.zeros((n, 5), np.float32)
        observation, *outcome, info = env.step(actions, active=active)
        expected, *plain_outcome, plain_info = plain.step(actions, active=active)
        for got, wanted in zip(outcome, plain_outcome, strict=True):
            np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(info["env_steps"], plain_info["env_steps"])
        np.testing.assert_array_equal(info["final_obs"]["state"], plain_info["final_obs"])
        np.testing.assert_array_equal(shown(info["final_obs"]), plain_info["final_obs"])
        partial += int(((info["env_steps"] > 0) & (info["env_steps"] < 4)).sum())
    assert partial > 10


def test_images_nobody_looks_at_are_not_rendered():
    env = make_chunk_vector_env(LAZY, 1, act_steps=4, horizon=4, seed=0)
    observation, _ = env.reset()
    while observation["state"][0, 1] < 9:  # an episode of three chunks at least
        observation, _ = env.reset()
    before = env.envs[0].unwrapped.rendered
    for _ in range(2):
        env.step(np.zeros((1, 4), np.float32))
    assert env.envs[0].unwrapped.rendered == before + 2


def test_images_that_a_caller_keeps_or_alters_are_its_own():
    env = make_chunk_vector_env(PIXELS, 2, act_steps=1, horizon=1, seed=0)
    first, _ = env.reset()
    kept = first["images"].copy()
    second, *_ = env.step(np.zeros((2, 1), np.float32))
    np.testing.assert_array_equal(first["images"], kept)
    seen = second["images"].copy()
    second["images"][:] = 77
    third, *_ = env.step(np.zeros((2, 1), np.float32), active=np.array([False, True]))
    np.testing.assert_array_equal(third["images"][0], seen[0])


def test_dims_and_spaces():
    dims = env_dims(PIXELS)
    assert (dims.observation_dim, dims.image_shape) == (2, SHAPE)
    assert env_dims("toy_envs:ToyCountdown-v0").image_shape is None
    env = make_chunk_vector_env(PIXELS, 3, act_steps=1, horizon=1)
    assert set(env.single_observation_space) == {"state", "images"}
    assert env.observation_space["images"].shape == (3, *SHAPE)
    assert env.single_observation_space["state"].dtype == np.float32


@pytest.mark.parametrize("without", ["state", "images"])
def test_other_dictionaries_are_refused(without):
    with pytest.raises(InputError, match=r"ToyPixels.*must hold 'state'.*'images'.*\(cameras, height, width, 3\)"):
        env_dims(PIXELS, {"without": without})


def test_evaluation_and_video_hand_the_policy_both(tmp_path):
    seen = []

    def act(observations):
        np.testing.assert_array_equal(shown(observations), observations["state"])
        assert observations["state"].dtype == np.float32
        seen.append(len(observations["state"]))
        return np.zeros((seen[-1], 4), np.float32)

    options = {"seed": 1, "act_steps": 3, "horizon": 4}
    result = evaluate_policy(act, LAZY, episodes=9, num_envs=4, **options)
    state_only = evaluate_policy(
        lambda observations: np.zeros((len(observations), 4), np.float32),
        "toy_envs:ToyCountdown-v0", episodes=9, num_envs=4, **options,
    )  # fmt: skip
    assert (result.returns, result.lengths) == (state_only.returns, state_only.lengths)
    assert set(seen) == {4}
    recording = record_video(act, PIXELS, tmp_path / "a.mp4", fps=10, **options)
    assert recording.length == state_only.lengths[0]
    assert seen[-1] == 1
