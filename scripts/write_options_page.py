"""Writes docs/options.md, the reference of every option, from the models that hold them."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rllib_scoreflow.algorithms.common.option_text import describe_options
from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.flow.config import VARIANTS, ChainConfig, NoiseConfig, ScoreConfig, VisionConfig
from rllib_scoreflow.flow.fields import FIELDS
from rllib_scoreflow.flow.objectives import OBJECTIVES
from rllib_scoreflow.flow.processes import PROCESSES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"
_OPENING = """# Options

What `config:` of an experiment file takes, and `training(...)` in Python. RLlib's own options come on top, as far as
they have an effect; the others are refused with the reason. An option that takes a mapping has a section of its own
below: `score: {value: 0.2}`.

This page is written by `python scripts/write_options_page.py` from the classes that it names; edit those.
"""


def write_page() -> str:
    """The whole page."""
    parts = [_OPENING]
    for config in (FlowBCConfig, ScoreFlowConfig):
        options = config.OPTIONS
        parts += [f"## {options.ALGORITHM}\n\n{_prose(options)}", _table(options)]
    parts += ["## Sections\n"]
    for title, model in _sections():
        parts += [f"### {title}\n\n{_prose(model)}", _table(model)]
    rows = [
        f"| `{name}` | {' | '.join(_yaml(section) for section in (preset.score, preset.noise, preset.chain))} |"
        for name, preset in VARIANTS.items()
    ]
    heading = (
        "## Variants\n\nWhat `variant` presets; keys of `score:`, `noise:` and `chain:` that are given go first.\n"
    )
    head = ["| `variant` | `score` | `noise` | `chain` |", "| --- | --- | --- | --- |"]
    parts += [heading, "\n".join([*head, *rows]) + "\n"]
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    yield "`score:` of ScoreFlow", ScoreConfig
    yield "`noise:` of ScoreFlow", NoiseConfig
    yield "`chain:` of both", ChainConfig
    # Those of this package alone: other modules may be imported, such as those of tests.
    for name, process in PROCESSES.items():
        if process.__module__.startswith("rllib_scoreflow."):
            yield f"`process: {{type: {name}}}` of ScoreFlow", process.CONFIG
    for name, field in FIELDS.items():
        if field.__module__.startswith("rllib_scoreflow."):
            yield f"`velocity: {{type: {name}}}` of FlowBC", field.CONFIG
    for objective in OBJECTIVES.values():
        if objective.SECTION is not None and objective.__module__.startswith("rllib_scoreflow."):
            yield f"`{objective.SECTION}:` of ScoreFlow", objective.CONFIG
    yield "`vision:` of FlowBC", VisionConfig


def _prose(model: type[BaseModel]) -> str:
    return f"`{model.__module__}.{model.__name__}`: {inspect.cleandoc(model.__doc__ or '')}\n"


def _table(model: type[BaseModel]) -> str:
    rows = [
        f"| `{option.name}` | {option.takes} | {_code(option.default)} | {option.text} |"
        for option in describe_options(model)
    ]
    return "\n".join(["| option | takes | default | what it is |", "| --- | --- | --- | --- |", *rows]) + "\n"


def _code(default: str | None) -> str:
    return "" if default is None else f"`{default}`"


def _yaml(preset: Mapping[str, Any]) -> str:
    values = {key: "null" if value is None else value for key, value in preset.items()}
    return "`{" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}`" if values else ""


if __name__ == "__main__":
    PAGE.write_text(write_page())
    print(f"{PAGE} is written")
