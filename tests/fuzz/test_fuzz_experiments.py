"""Experiment files of any text: the YAML, the form of the experiments, and what of a name becomes a path."""

import pytest
import yaml
from hypothesis import strategies as st

from rllib_scoreflow.experiments.spec import build_experiment, read_experiments

CONTENT = {
    "pretrain": {
        "run": "FlowBC",
        "env": "Hopper-v4",
        "stop": {"epoch": 2},
        "config": {"dataset": "hopper-small", "lr": 1e-3, "velocity": {"hidden_dim": 64}},
    },
    "tune": {
        "run": "ScoreFlow",
        "env": "Hopper-v4",
        "weights_from": "pretrain",
        "stop": {"env_steps": 1000},
        "num_samples": 2,
        "checkpoint_config": {"checkpoint_frequency": 1},
        "config": {"lr": {"loguniform": [1e-5, 1e-3]}, "gamma": {"grid_search": [0.9, 0.99]}},
    },
}
LINES = st.sampled_from(
    [
        "a: &a [x]",
        "b: &b [*a, *a, *a, *a, *a, *a, *a, *a]",
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b]",
        "<<: *a",
        "x: !!python/object/apply:os.system ['true']",
        "? [1, 2]\n: 3",
        "run: PPO\nrun: DQN",
        "t: 2001-12-14t21:59:43.10-05:00",
        "n: .nan",
        "i: 0x_",
        "s: 190:20:30",
        "k: !!binary '='",
        "d: 9999-99-99",
        "- x",
        "\t- y",
        "%YAML 9.9",
        "--- # again",
        '"\\ud800": 1',
        "z: \x07",
        "[" * 3000,
        "{a: " * 500,
    ]
)


@st.composite
def texts(draw, damage):
    """A damaged form of a right file, as JSON or as YAML with lines from a collection of traps."""
    content = draw(damage(CONTENT))
    if draw(st.booleans()):
        return content
    lines = yaml.safe_dump(CONTENT).splitlines()
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(lines)))
        indent = draw(st.sampled_from(["", "  ", "    "]))
        lines[at : at + draw(st.integers(0, 1))] = [indent + draw(LINES | st.text(max_size=20))]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@pytest.fixture
def files(damage):
    return texts(damage)


def test_experiment_files(fuzz, files):
    def write(content, folder):
        (folder / "x.yaml").write_bytes(content)
        return folder / "x.yaml"

    def read(path):
        for name, raw in read_experiments(path).items():
            experiment = build_experiment(name, raw, str(path))
            assert "/" not in experiment.name

    fuzz(files, write, read)
