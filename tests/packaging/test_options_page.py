"""docs/options.md says what the models of the options say."""

import runpy
from pathlib import Path

import pytest

from rllib_scoreflow.algorithms.common.option_text import describe_options
from rllib_scoreflow.algorithms.flow_bc.options import FlowBCOptions
from rllib_scoreflow.algorithms.scoreflow.options import ScoreFlowOptions
from rllib_scoreflow.flow.config import ChainConfig, NoiseConfig, ScoreConfig, VelocityConfig, VisionConfig

ROOT = Path(__file__).parents[2]
MODELS = [FlowBCOptions, ScoreFlowOptions, ScoreConfig, NoiseConfig, ChainConfig, VelocityConfig, VisionConfig]


def test_the_page_is_of_today() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "write_options_page.py"))
    assert (ROOT / "docs" / "options.md").read_text() == script["write_page"](), "run scripts/write_options_page.py"


@pytest.mark.parametrize("model", MODELS)
def test_every_option_is_described_on_the_page(model) -> None:
    page = (ROOT / "docs" / "options.md").read_text()
    for option in describe_options(model):
        assert option.text, option.name
        assert f"| `{option.name}` | {option.takes} | `{option.default}` | {option.text} |" in page


@pytest.mark.parametrize(
    ("name", "takes", "default"),
    [
        ("lr", "number >= 0", "4.5e-05"),
        ("gamma", "number >= 0 and <= 1", "0.99"),
        ("minibatch_size", "whole number >= 1 or null", "null"),
        ("success", "`last`, `any` or null", "null"),
        ("plugins", "list of texts", "[]"),
        ("frozen_velocity", "true or false", "false"),
        ("score", "mapping", "{}"),
    ],
)
def test_options_are_put_into_words(name, takes, default) -> None:
    (option,) = (option for option in describe_options(ScoreFlowOptions) if option.name == name)
    assert (option.takes, option.default) == (takes, default)
