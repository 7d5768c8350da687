"""Experiment files: any text, any value at any key, any nesting of aliases."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from rllib_scoreflow.experiments.checks.algorithms import find_algorithm
from rllib_scoreflow.experiments.checks.config import check_config
from rllib_scoreflow.experiments.checks.schedulers import make_scheduler, mutations
from rllib_scoreflow.experiments.spec import read_experiments
from rllib_scoreflow.runs.plan import TrainOptions, prepare

WHOLE: dict[str, Any] = {
    "clone": {
        "run": "FlowBC",
        "env": "hopper-medium-v2",
        "stop": {"training_iteration": 2},
        "num_samples": 2,
        "checkpoint_config": {"checkpoint_frequency": 1, "num_to_keep": 2},
        "scheduler": "pbt",
        "scheduler_config": {"perturbation_interval": 2, "hyperparam_mutations": {"lr": {"uniform": [1e-4, 1e-3]}}},
        "metric": "train_loss",
        "mode": "min",
        "loggers": {},
        "config": {"dataset": "hopper-small", "velocity": {"hidden_dim": 16}, "lr": {"grid_search": [1e-3, 1e-2]}},
    }
}
NUMBERS = st.sampled_from([0, -1, 2, 10**18, 10**30, -(10**400), 0.5, 1e308, float("nan"), float("inf"), -float("inf")])
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "x" * 1000, "~nosuchuser", "~", "a/b", "[red]", "a:b", "::", "__class__", "\x1b[2J"]),
)
KEYS = st.one_of(
    TEXTS, st.sampled_from(["grid_search", "uniform", "choice", "randint", "eval", "run", "config", "_base"])
)
VALUES = st.recursive(
    st.one_of(NUMBERS, TEXTS, st.none(), st.booleans(), st.binary(max_size=4), st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(KEYS, NUMBERS), inner, max_size=3)),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    for key, below in value.items() if isinstance(value, dict) else ():
        found += places(below, (*path, key))
    return found


@st.composite
def changed(draw: st.DrawFn) -> str:
    """A right file with other values, names and additions at one or two places."""
    content = copy.deepcopy(WHOLE)
    for _ in range(draw(st.integers(1, 2))):
        here = content
        *parents, last = draw(st.sampled_from(places(content)))
        for key in parents:
            here = here[key]
        what = draw(st.sampled_from(["value", "name", "more", "less"]))
        if what == "value":
            here[last] = draw(VALUES)
        elif what == "name":
            here[draw(KEYS)] = here.pop(last)
        elif what == "more":
            here[draw(KEYS)] = draw(VALUES)
        else:
            here.pop(last)
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """The text of a right file with a piece taken out and another put in."""
    text = yaml.safe_dump(WHOLE)
    start = draw(st.integers(0, len(text)))
    piece = draw(st.text(alphabet="abc:{}[],*&!<>?-#|\"'% \n\t0123456789.xe_~\x00\u2028", max_size=12))
    return text[:start] + piece + text[start + draw(st.integers(0, 20)) :]


@st.composite
def nested(draw: st.DrawFn) -> str:
    """Aliases of aliases, and brackets within brackets."""
    levels, width = draw(st.integers(1, 400)), draw(st.integers(1, 12))
    form = draw(st.sampled_from(["[{}]", "{{<<: [{}]}}", "{{a: [{}]}}"]))
    lines = ["a0: &a0 {run: PPO}"]
    for level in range(1, min(levels, 60)):
        names = ", ".join([f"*a{level - draw(st.integers(0, 1))}"] * width)
        lines.append(f"a{level}: &a{level} {form.format(names)}")
    lines.append("b: " + draw(st.sampled_from(["[", "{a: ", "- ", "? "])) * levels)
    return "\n".join(lines)


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """What is imported once takes its time and memory before they are bounded."""
    find_algorithm("FlowBC", "here")
    find_algorithm("PPO", "here")


@pytest.mark.parametrize(
    "texts",
    [changed(), damaged(), nested(), st.text(max_size=200)],
    ids=["changed", "damaged", "nested", "text"],
)
def test_experiment_files(fuzz, texts):
    def write(text: str, folder: Path) -> Path:
        path = folder / "exp.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return path

    def read(path: Path) -> None:
        for experiment in prepare(read_experiments(path), str(path), TrainOptions(path.parent)):
            algorithm = find_algorithm(experiment.run, experiment.where)
            check_config(experiment, algorithm)
            mutations(experiment)
            make_scheduler(experiment)

    fuzz(texts, write, read)
