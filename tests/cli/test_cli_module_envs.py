"""A policy that names a module as its environment: nobody else's word is enough to run the code in it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rllib_scoreflow.policy import FlowPolicy, PolicyMetadata

SCHEMA_1 = Path(__file__).parents[1] / "policy" / "fixtures" / "schema-1" / "scoreflow"
MODULE = """
from pathlib import Path
import gymnasium as gym
import numpy as np
Path({mark!r}).write_text("imported")
class Env(gym.Env):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gym.spaces.Box(-1.0, 10.0, (2,), np.float32)
    def __init__(self, gain=1.0):
        self.gain = gain
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {{}}
    def step(self, action):
        return np.zeros(3, np.float32), self.gain, False, False, {{}}
gym.register("Marked-v0", Env, max_episode_steps=5)
"""


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """The file that appears when the module is imported."""
    path = tmp_path / "imported"
    code = tmp_path / "code"
    code.mkdir()
    (code / "marked_env.py").write_text(MODULE.format(mark=str(path)))
    monkeypatch.syspath_prepend(str(code))
    yield path
    sys.modules.pop("marked_env", None)


@pytest.fixture
def foreign(tmp_path, mark):
    """A whole policy, with right hashes, whose environment is in the module."""
    policy = FlowPolicy.load(SCHEMA_1)
    policy.metadata = PolicyMetadata(variant="scoreflow", env_id="marked_env:Marked-v0", env_config={"gain": 2.0})
    return policy.save(tmp_path / "foreign" / "policy")


@pytest.mark.parametrize("options", [(), ("--sweep",), ("--json",), ("--video", "a.mp4"), ("--backend", "gymnasium")])
def test_evaluate_refuses_and_gives_the_command(refused, foreign, mark, options):
    told = refused("evaluate", foreign.parent, "--episodes", 1, *options)
    assert f"rllib evaluate {foreign} --env marked_env:Marked-v0" in told
    assert not mark.exists()


def test_named_by_the_user_it_plays_as_it_was_trained(rllib, foreign, mark):
    answer = rllib("evaluate", foreign, "--env", "marked_env:Marked-v0", "--episodes", 1, "--json")
    assert answer.status == 0, answer.err
    assert json.loads(answer.out)["return_mean"] == 10.0  # 5 steps of gain 2
    assert mark.exists()


def test_nothing_else_that_reads_a_policy_imports_it(rllib, foreign, mark):
    assert "marked_env:Marked-v0" in rllib("policy", "info", foreign).out
    FlowPolicy.load(foreign)
    code = "import sys; from rllib_scoreflow.policy.onnx_export import describe; from rllib_scoreflow.policy import *\n"
    code += f"print(describe(FlowPolicy.load({str(foreign)!r}), 4)['env_id'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "marked_env:Marked-v0\n"
    assert not mark.exists()
