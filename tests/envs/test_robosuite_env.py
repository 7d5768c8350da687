"""Robomimic's tasks as environments: shapes, seeds, images, ends and refusals."""

import subprocess
import sys

import numpy as np
import pytest

from rllib_scoreflow.envs import env_dims, make_chunk_vector_env, make_single_env, resolve_env
from rllib_scoreflow.envs.robosuite.tasks import TASKS
from rllib_scoreflow.errors import InputError

pytest.importorskip("robosuite", reason="robosuite is not installed")

CAMERAS = {"cameras": ["agentview", "robot0_eye_in_hand"], "image_size": [48, 64]}


def make(env_id="robomimic/lift", render_mode=None, **config):
    return make_single_env(resolve_env(env_id), config, render_mode=render_mode)


@pytest.mark.parametrize(
    ("task", "observation_dim", "action_dim", "limit"),
    [("lift", 19, 7, 300), ("can", 23, 7, 300), ("square", 23, 7, 400), ("transport", 59, 14, 800)],
)
def test_dims_are_the_published_ones(task, observation_dim, action_dim, limit):
    dims = env_dims(f"robomimic/{task}")
    assert (dims.observation_dim, dims.action_dim) == (observation_dim, action_dim)
    assert dims.max_episode_steps == limit
    assert dims.image_shape is None
    np.testing.assert_array_equal([dims.action_low, dims.action_high], [[-1] * action_dim, [1] * action_dim])


def play(env, steps, seed=0):
    actions = np.random.default_rng(seed).uniform(-1, 1, (steps, env.action_space.shape[0]))
    return np.stack([env.step(action)[0] for action in actions])


def test_a_seed_determines_everything_whatever_happens_outside():
    first, second = make(), make()
    starts = [first.reset(seed=5)[0], first.reset()[0]]
    np.random.seed(0)  # noqa: NPY002
    outside = np.random.get_state()[1].copy()  # noqa: NPY002
    np.testing.assert_array_equal(second.reset(seed=5)[0], starts[0])
    played = play(second, 20)  # what happened in an episode does not reach the next one
    np.testing.assert_array_equal(second.reset()[0], starts[1])
    np.testing.assert_array_equal(np.random.get_state()[1], outside)  # noqa: NPY002
    assert np.abs(starts[0] - starts[1]).max() > 1e-3
    np.testing.assert_array_equal(play(first, 5), play(second, 5))
    first.reset(seed=5)
    np.testing.assert_array_equal(play(first, 20), played)
    assert np.abs(make().reset()[0] - make().reset()[0]).max() > 1e-3


def test_a_seed_draws_the_cube_too():
    env = make()
    sizes = set()
    for seed in (0, 1, 0):
        env.reset(seed=seed)
        model = env.unwrapped._sim._env.sim.model._model
        sizes.add(tuple(model.geom("cube_g0").size))
    assert len(sizes) == 2


def test_images_are_upright_and_of_their_own_environment():
    """The robot hangs from above in agentview; two environments in one process do not see each other."""
    alone = make(**CAMERAS)
    expected = alone.reset(seed=1)[0]["images"]
    alone.close()
    envs = [make(**CAMERAS) for _ in range(2)]
    images = [env.reset(seed=seed)[0]["images"] for env, seed in zip(envs, (1, 2), strict=True)]
    again = envs[0].reset(seed=1)[0]["images"]
    np.testing.assert_array_equal(images[0], expected)
    np.testing.assert_array_equal(again, expected)
    assert expected.shape == (2, 48, 64, 3)
    assert (images[1] != expected).any(axis=(1, 2, 3)).all()
    for view in expected.astype(int):
        red = view[..., 0] - view[..., 1] > 60  # the cube
        assert 4 < red.sum() < 400
    table, hand = expected.mean(axis=-1)
    assert table[-20:].mean() > 200 > table[:8].mean()  # wall above, white table below
    assert hand[-8:].mean() < 100 < hand[:20].mean()  # the hand is at the lower edge of its own camera


def test_what_is_not_wanted_is_not_rendered():
    env = make(**CAMERAS)
    start = env.reset(seed=0)[0]["images"]
    env.unwrapped.images_wanted = False
    down = np.array([0, 0, -1, 0, 0, 0, 0])
    for _ in range(3):
        assert env.step(down)[0]["images"] is start
    env.unwrapped.images_wanted = True
    assert (env.step(down)[0]["images"] != start).any()


def test_frames_of_the_video_camera():
    env = make(render_mode="rgb_array", **CAMERAS)
    observation, _ = env.reset(seed=0)
    frame = env.render()
    assert (frame.shape, frame.dtype) == ((512, 512, 3), np.uint8)
    # The same camera at another size and shape of pixels: about the same colours.
    assert np.abs(frame.mean(axis=(0, 1)) - observation["images"][0].mean(axis=(0, 1))).max() < 25
    assert env.metadata["render_fps"] == 20


@pytest.mark.parametrize("terminate", [True, False])
def test_success_is_rewarded_and_ends_the_episode_unless_told_otherwise(terminate):
    env = make(terminate_on_success=terminate)
    env.reset(seed=0)
    lifted = env.unwrapped._sim.state
    lifted[1 + 9 + 2] += 0.2  # the height of the cube, after seven joints and two fingers
    observation, _ = env.reset_to_state(lifted)
    assert observation[9 + 2] > 1
    _, reward, terminated, truncated, info = env.step(np.zeros(7))
    assert (reward, terminated, truncated, info["success"]) == (1.0, terminate, False, True)
    for _ in range(10):  # it falls back on the table
        _, reward, terminated, _, info = env.step(np.zeros(7))
    assert (reward, terminated, info["success"]) == (0.0, False, True)


def test_chunks_of_pixels():
    env = make_chunk_vector_env(
        "robomimic/lift", 2, act_steps=3, horizon=4, env_config=CAMERAS, max_episode_steps=5, seed=0
    )
    first, _ = env.reset()
    actions = np.tile([0, 0, -1, 0, 0, 0, 0], (2, 4)).astype(np.float32)
    second, _, _, truncated, _ = env.step(actions)
    third, reward, _, truncated, info = env.step(actions)
    assert truncated.all()
    np.testing.assert_array_equal(info["env_steps"], [2, 2])
    np.testing.assert_array_equal(info["success"], [0, 0])
    np.testing.assert_array_equal(reward, [0, 0])
    for one, other in ((first, second), (second, info["final_obs"]), (info["final_obs"], third)):
        assert (one["images"] != other["images"]).any(axis=(1, 2, 3, 4)).all()
    assert (info["final_obs"]["state"][:, 2] < second["state"][:, 2] - 0.01).all()
    env.close()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"cameras": ["agentveiw"]}, "cameras names.*agentveiw.*choose from agentview"),
        ({"observation_keys": ["object", "nothing"]}, r"observation_keys names \['nothing'\].*robot0_eef_pos"),
        ({"observation_keys": []}, "observation_keys is empty"),
        ({"image_size": [84]}, "image_size is.*height and width"),
        ({"env_args": TASKS["can"].env_args()}, "is robosuite's 'Lift', but env_args is of 'PickPlaceCan'"),
        ({"env_args": {"env_name": "Lift"}}, "must have 'env_name'.*and 'env_kwargs'"),
        (
            {"env_args": {"env_name": "Lift", "env_kwargs": {"robots": "Panda", "gravty": 1}}},
            "cannot make 'Lift'.*gravty",
        ),
        ({"camera": "agentview"}, "refuses env_config"),
    ],
)
def test_bad_arguments_are_named_with_a_remedy(config, message):
    with pytest.raises(InputError, match=message) as caught:
        env_dims("robomimic/lift", config)
    assert "\n" not in str(caught.value)


def test_states_and_models_that_do_not_fit():
    env = make()
    with pytest.raises(InputError, match=r"shape \(7,\) does not fit.*have 32 numbers"):
        env.reset_to_state(np.zeros(7))
    with pytest.raises(InputError, match="model of a demonstration of Lift cannot be loaded"):
        env.reset_to_state(np.zeros(32), "<mujoco>")


def test_without_robosuite_one_sentence_names_the_extra():
    """In a process of its own, in which robosuite cannot be found."""
    code = (
        "import sys; sys.modules['robosuite'] = None\n"
        "from rllib_scoreflow.envs import env_dims\n"
        "from rllib_scoreflow.errors import InputError\n"
        "try:\n    env_dims('robomimic/can')\n"
        "except InputError as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'rllib-scoreflow[robomimic]'" in run.stdout
    assert run.stdout.count("\n") == 1


def test_quiet():
    """Making, playing and rendering print nothing, also where nobody closes the environment."""
    code = (
        "from rllib_scoreflow.envs import make_single_env, resolve_env\n"
        "env = make_single_env(resolve_env('robomimic/lift'), {'cameras': ['agentview']})\n"
        "env.reset(seed=0)\nenv.step(env.action_space.sample())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout + run.stderr == ""
