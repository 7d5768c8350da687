"""Environments that a text names by their code: dotted paths, modules, files."""

import sys
import textwrap
from pathlib import Path

import gymnasium as gym
import pytest

import rllib_scoreflow
from rllib_scoreflow.envs import env_dims, resolve_env
from rllib_scoreflow.envs.classes import call_with, find_code, make_env, names_code
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.plugins import MODULE_PATH, extend_module_path

SOURCE = """
    import gymnasium as gym
    import numpy as np
    from beside_{mark} import GAIN

    class Walk(gym.Env):
        observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
        action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        def __init__(self, config=None):
            self.gain = (config or {{}}).get("gain", GAIN)
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(3, np.float32), {{}}
        def step(self, action):
            return np.zeros(3, np.float32), self.gain, False, False, {{}}

    class Parts(Walk):
        def __init__(self, gain=7.0, render_mode=None):
            super().__init__({{"gain": gain}})

    def make(config):
        return Walk({{"gain": 2 * config["gain"]}})

    gym.register("Registered{mark}-v0", Parts, max_episode_steps=5)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in a folder that `extend_module_path` was given, with another beside it."""
    mark = "".join(c for c in tmp_path.name.lower() if c.isalnum())
    (tmp_path / f"walks_{mark}.py").write_text(textwrap.dedent(SOURCE.format(mark=mark)))
    (tmp_path / f"beside_{mark}.py").write_text("GAIN = 1.0\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv(MODULE_PATH, "")
    extend_module_path([tmp_path])
    return f"walks_{mark}"


def gain_of(text: str, **config: float) -> float:
    return float(make_env(text, config).unwrapped.gain)


@pytest.mark.parametrize("form", ["{}.Walk", "{}:Walk", "{}.py:Walk", "folder/{}.py:Walk"])
def test_a_class_is_made_of_its_config_in_every_form(module, form, tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / f"{module}.py").write_bytes((tmp_path / f"{module}.py").read_bytes())
    text = form.format(module)
    assert gain_of(text) == 1.0
    assert gain_of(text, gain=3.0) == 3.0
    assert env_dims(text).observation_dim == 3


def test_an_absolute_path_is_one_too(module, tmp_path) -> None:
    assert gain_of(f"{tmp_path / module}.py:Walk", gain=4.0) == 4.0


def test_what_lies_beside_a_file_can_be_imported(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv(MODULE_PATH, "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "lying_beside.py").write_text("GAIN = 8.0\n")
    source = textwrap.dedent(SOURCE.format(mark="x")).replace("beside_x", "lying_beside")
    (tmp_path / "deep" / "alone.py").write_text(source)
    assert gain_of("deep/alone.py:Walk") == 8.0


def test_a_class_with_arguments_gets_the_parts_of_its_config(module) -> None:
    assert gain_of(f"{module}.Parts") == 7.0
    assert gain_of(f"{module}.Parts", gain=3.0) == 3.0


def test_functions_and_registered_ids_make_environments_too(module) -> None:
    mark = module.removeprefix("walks_")
    assert gain_of(f"{module}:make", gain=3.0) == 6.0
    assert gain_of(f"{module}:Registered{mark}-v0", gain=3.0) == 3.0
    assert gain_of(f"{module}.py:Registered{mark}-v0") == 7.0
    assert resolve_env(f"{module}:Registered{mark}-v0").spec.max_episode_steps == 5


def test_a_name_given_to_ray_in_a_module_is_found(module, tmp_path) -> None:
    rllib_scoreflow.register()
    name = f"named_{module}"
    text = f"from ray.tune import register_env\nimport {module}\nregister_env('{name}', lambda c: {module}.Walk(c))\n"
    (tmp_path / f"names_{module}.py").write_text(text)
    assert gain_of(f"names_{module}:{name}", gain=5.0) == 5.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}:Wlak", ["did you mean Walk?"]),
        ("{}.Wlak", ["did you mean Walk?"]),
        ("{}.py:Nothing", ["'Nothing'"]),
        ("no_such_{}.Walk", ["cannot be imported"]),
        ("no_such_{}.py:Walk", ["there is no file"]),
    ],
)
def test_what_is_not_there_is_said(module, text, words) -> None:
    with pytest.raises(InputError) as refused:
        find_code(text.format(module))
    assert all(word in str(refused.value) for word in words)


@pytest.mark.parametrize("failing", ["raise OSError('no robot')", "raise SystemExit(3)", "def ("])
def test_a_file_that_fails_says_how(module, tmp_path, failing) -> None:
    (tmp_path / "fails.py").write_text(failing)
    with pytest.raises(InputError, match=r"fails\.py raised \w+"):
        find_code(f"{tmp_path / 'fails.py'}:Walk")


@pytest.mark.parametrize("text", ["CartPole-v1", "hopper-medium-v2", "robomimic/lift", "ALE/Pong-v5", "my_env", "x.1"])
def test_ids_are_no_code(text) -> None:
    assert not names_code(text)
    assert find_code(text) is None


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda config: config, {"gain": 1}),
        (lambda env_config=None: env_config, {"gain": 1}),
        (lambda anything: anything, {"gain": 1}),
        (lambda *given: given[0], {"gain": 1}),
        (lambda gain: gain, 1),
        (lambda gain=3, other=2: (gain, other), (1, 2)),
        (lambda **given: given, {"gain": 1}),
        (lambda: None, TypeError),
    ],
)
def test_how_a_class_is_called(make, expected) -> None:
    if expected is TypeError:
        with pytest.raises(TypeError):
            call_with(make, {"gain": 1})
    else:
        assert call_with(make, {"gain": 1}) == expected


def test_rays_example_environments_can_be_made() -> None:
    env = make_env("ray.rllib.examples.envs.classes.stateless_cartpole.StatelessCartPole", {})
    assert isinstance(env, gym.Env)
    assert env.observation_space.shape == (2,)
