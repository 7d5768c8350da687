"""Environments that break gymnasium's contract are named, with what they returned; what is meant is accepted."""

import gymnasium as gym
import numpy as np
import pytest

from rllib_scoreflow.envs import env_dims, make_chunk_vector_env, make_single_env, resolve_env, try_env
from rllib_scoreflow.errors import InputError, SimulatorError
from rllib_scoreflow.evaluation import evaluate_policy
from rllib_scoreflow.evaluation.episode import Episode

FAULTY = "toy_envs:ToyFaulty-v0"


def do_nothing(observations):
    return np.zeros((len(observations), 3), np.float32)


def play(env_id=FAULTY, **env_config):
    return evaluate_policy(do_nothing, env_id, episodes=4, seed=0, act_steps=3, horizon=3, env_config=env_config)


REFUSED = [
    ("reset without info", ["an array of shape (2,)", "(observation, info)"]),
    ("reset of one number", ["an array of shape (1,)", "reset()", "(2,)"]),
    ("four values", ["a tuple of 4", "terminated and truncated in place of done"]),
    ("observation of one number", ["an array of shape (1,)", "step()", "(2,)"]),
    ("observation of another rank", ["an array of shape (1, 2)", "(2,)"]),
    ("observation of text", ["a list of 2", "(2,)"]),
    ("observation is None", ["None", "(2,)"]),
    ("reward of two", ["an array of shape (2,)", "one number as reward"]),
    ("reward is None", ["None", "one number as reward"]),
    ("reward is text", ["'1.0'", "one number as reward"]),
    ("terminated is None", ["None", "True or False as terminated"]),
    ("terminated is text", ["no", "True or False as terminated"]),
    ("info is None", ["None", "a dictionary as info"]),
    ("success of two", ["an array of shape (2,)", "info['success']"]),
    ("success is text", ["yes", "info['success']"]),
    ("metrics are a list", ["info['episode_metrics']"]),
    ("metric of two", ["info['episode_metrics']['limit']"]),
]


@pytest.mark.parametrize(("fault", "words"), REFUSED, ids=[fault for fault, _ in REFUSED])
def test_a_breach_is_one_sentence(fault, words):
    with pytest.raises(InputError) as caught:
        play(fault=fault)
    message = str(caught.value)
    assert "\n" not in message
    for word in (repr(FAULTY), *words):
        assert word in message
    # Before a training, too.
    with pytest.raises(InputError) as before:
        try_env(FAULTY, {"fault": fault})
    assert str(before.value) == message


@pytest.mark.parametrize("fault", ["reward of one", "flags of numpy", "flags of int", "success of one", "close raises"])
def test_what_is_meant_is_accepted(fault):
    found, right = play(fault=fault), play()
    assert (found.returns, found.lengths, found.metrics) == (right.returns, right.lengths, right.metrics)
    assert found.successes == (right.successes if fault != "success of one" else (1.0,) * 4)
    try_env(FAULTY, {"fault": fault})


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("step raises", ["ArithmeticError: joint 3 has left its socket", "step 5 of an episode"]),
        ("reset raises", ["OSError: the robot is off", "reset()"]),
        ("reward is NaN", ["non-finite reward"]),
    ],
)
def test_an_exception_of_the_simulator_names_environment_step_and_reason(fault, words):
    with pytest.raises(SimulatorError) as caught:
        play(fault=fault, at=5)
    for word in ("ToyFaulty-v0", *words):
        assert word in str(caught.value)
    with pytest.raises(InputError, match="ToyFaulty-v0"):
        try_env(FAULTY, {"fault": fault, "at": 5})


def test_an_environment_that_ends_the_process_is_named():
    with pytest.raises(InputError, match=r"ToyFaulty-v0' ended the process in its first steps \(SystemExit: 0\)"):
        try_env(FAULTY, {"fault": "step exits", "at": 5})


def test_a_constructor_that_raises_and_one_without_spaces():
    for call in (lambda: play(fault="constructor raises"), lambda: env_dims(FAULTY, {"fault": "constructor raises"})):
        with pytest.raises(InputError, match="LookupError: no license for this simulator") as caught:
            call()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"observation space None.*one-dimensional Box"):
        env_dims("toy_envs:ToyWithoutSpaces-v0")
    with pytest.raises(InputError, match=r"refuses gymnasium's reset\(seed=..., options=...\)"):
        play("toy_envs:ToyOldReset-v0")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise LookupError('broken')", "LookupError: broken"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("(", "Syn"),
    ],
)
def test_a_module_that_raises(tmp_path, monkeypatch, text, reason):
    (tmp_path / "module_that_raises.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="module_that_raises") as caught:
        env_dims("module_that_raises:Env-v0")
    assert reason in str(caught.value)


def test_spaces_that_change_from_one_construction_to_the_next():
    with pytest.raises(InputError, match=r"an observation of length \d+ when .* and \d+ when it is made as number 2"):
        make_chunk_vector_env("toy_envs:ToyOther-v0", 2, act_steps=1, horizon=1)


@pytest.mark.parametrize(
    ("env_id", "images", "words"),
    [
        ("toy_envs:ToyPixels-v0", np.zeros((2, 4, 6, 3)), "uint8 images of 0 to 255"),
        ("toy_envs:ToyPixels-v0", np.zeros((1, 4, 6, 3), np.uint8), r"observation\['images'\] of shape \(2, 4, 6, 3\)"),
        ("toy_envs:ToyPixels-v0", None, "a dictionary of 'images', 'state'"),
    ],
)
def test_images_of_another_type_or_shape_are_not_cast_or_broadcast(env_id, images, words):
    env = make_chunk_vector_env(env_id, 1, act_steps=1, horizon=1, seed=0)
    unwrapped = env.envs[0].unwrapped
    observe = unwrapped._observe
    state = observe if images is None else None
    unwrapped._count = unwrapped._limit = 1
    unwrapped._observe = lambda: {"state": observe()["state"]} | ({} if state else {"images": images})
    with pytest.raises(InputError, match=words):
        env.reset()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_actions_stay_within_the_space_in_its_own_type(dtype):
    rng = np.random.default_rng(0)
    low, high = -rng.uniform(0.1, 3.0, 200), rng.uniform(0.1, 3.0, 200)
    config = {"low": low.tolist(), "high": high.tolist(), "size": 200, "dtype": dtype}
    # As a policy's arithmetic gives them: float32, beyond the bounds by a rounding.
    ends = np.stack([low, high] * 2).astype(np.float32)
    ends = np.nextafter(ends, np.float32(np.inf) * np.sign(ends))
    env = make_chunk_vector_env("toy_envs:ToyStrict-v0", 1, act_steps=4, horizon=4, env_config=config, seed=0)
    env.reset()
    env.step(ends.reshape(1, -1))


def test_an_unbounded_action_space_and_actions_within_are_left_as_they_are():
    config = {"low": -np.inf, "high": np.inf, "size": 1}
    env = make_chunk_vector_env("toy_envs:ToyStrict-v0", 1, act_steps=1, horizon=1, env_config=config, seed=0)
    env.reset()
    assert env.step(np.array([[1e6]], np.float32))[1] == 1.0 + 1e6


@pytest.mark.parametrize(("rule", "wanted"), [(None, 0.0), ("last", 0.0), ("any", 1.0)])
def test_which_step_makes_a_success_is_a_choice(rule, wanted):
    config = {"limit": 7} | ({} if rule is None else {"success": rule})
    found = play("toy_envs:ToyBriefly-v0", **config)
    assert found.successes == (wanted,) * 4
    assert found.to_dict()["success_rule"] == (rule or "last")
    # The second step may lie in an earlier chunk, and the next episode starts anew.
    env = make_chunk_vector_env("toy_envs:ToyBriefly-v0", 1, act_steps=1, horizon=1, env_config=config | {"limit": 3})
    env.reset()
    successes = [float(env.step(np.zeros((1, 1), np.float32))[4]["success"][0]) for _ in range(6)]
    np.testing.assert_array_equal(successes, [np.nan, np.nan, wanted] * 2)
    with pytest.raises(InputError, match="success is 'sometimes': choose 'last'"):
        play("toy_envs:ToyBriefly-v0", success="sometimes")


def test_the_time_limit_of_env_config_takes_the_place_of_the_registered_one():
    assert env_dims("toy_envs:ToyEndless-v0").max_episode_steps is None
    assert env_dims("toy_envs:ToyEndless-v0", {"max_episode_steps": 4}).max_episode_steps == 4
    assert set(play("toy_envs:ToyEndless-v0", max_episode_steps=2, limit=9).lengths) == {2}
    for wrong in (0, -1, 2.5, "4", True):
        with pytest.raises(InputError, match="max_episode_steps is"):
            play("toy_envs:ToyEndless-v0", max_episode_steps=wrong)


def test_a_filmed_episode_is_checked_in_the_same_way():
    config = {"max_episode_steps": 2, "limit": 9}
    with Episode("toy_envs:ToyShown-v0", seed=0, env_config=config) as episode:
        beyond = np.full(3, np.nextafter(np.float32(2), np.float32(3)))
        assert list(episode.play(lambda _: beyond, act_steps=3, horizon=3)) == [0, 1, 2]
        assert episode.total == 1 + 2 + 2 * 2  # the actions, too, at their upper bound
    with pytest.raises(InputError, match="no time limit"):
        Episode("toy_envs:ToyEndless-v0", seed=0)


WRAPPER = {"name": "RescaleAction", "entry_point": "gymnasium.wrappers.transform_action:RescaleAction"}


def test_wrappers_of_a_recording_are_put_around_or_refused():
    described = WRAPPER | {"kwargs": {"min_action": 0.0, "max_action": 1.0}}
    env = make_single_env(resolve_env("toy_envs:ToyCountdown-v0"), {"additional_wrappers": [described]})
    assert isinstance(env, gym.wrappers.RescaleAction)
    assert (env.action_space.low[0], env.action_space.high[0]) == (0.0, 1.0)
    for wrong in (
        WRAPPER | {"kwargs": None},
        WRAPPER | {"kwargs": {"least": 0}},
        {"name": "Mine", "entry_point": "my_module:Mine", "kwargs": {}},
        {"name": "RecordVideo", "entry_point": "gymnasium.wrappers:RecordVideo", "kwargs": {"video_folder": "x"}},
    ):
        with pytest.raises(InputError, match="register the wrapped environment under an id of its own"):
            env_dims("toy_envs:ToyCountdown-v0", {"additional_wrappers": [wrong]})


@pytest.mark.filterwarnings("ignore:.*out of date.*")
def test_envpool_keeps_the_time_limit_and_leaves_wrapped_environments_to_gymnasium():
    pytest.importorskip("envpool", reason="envpool is not installed")
    config = {"max_episode_steps": 3, "success": "any"}
    pool = make_chunk_vector_env("Hopper-v4", 2, act_steps=4, horizon=4, env_config=config, seed=0)
    pool.reset()
    truncated, info = pool.step(np.zeros((2, 12), np.float32))[3:]
    assert (pool.backend, truncated.tolist(), info["env_steps"].tolist()) == ("envpool", [True] * 2, [3, 3])
    described = WRAPPER | {"kwargs": {"min_action": 0.0, "max_action": 1.0}}
    wrapped = make_chunk_vector_env(
        "Hopper-v4", 1, act_steps=1, horizon=1, env_config=config | {"additional_wrappers": [described]}
    )
    assert (wrapped.backend, wrapped.dims.action_low.tolist()) == ("gymnasium", [0.0] * 3)
