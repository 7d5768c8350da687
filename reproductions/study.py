"""What a study is: one YAML file, read and checked before anything runs."""

from itertools import product
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

HERE = Path(__file__).parent
STUDIES = HERE / "studies"
RESULTS = HERE / "results"
DATA = Path("data")
"""Where files are that tasks name with `data`, unless `--data` says otherwise."""

ONLY_CELL = "default"
"""The cell of a method that is not tuned."""


class StudyError(Exception):
    """A study, or what is asked of it, is wrong; the message says what and the remedy."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Clone(_Part):
    """A clone of a task's data, made once per seed with `FlowBC`."""

    stop: dict[str, float]
    config: dict[str, Any]


class Task(_Part):
    """What every method is trained on."""

    env: str
    data: str | None = None
    """A file in the data folder that is cloned; None where the clones name a dataset that is shipped or downloaded."""
    clones: dict[str, Clone]
    """By name; a method names the one that it starts from."""
    stop: dict[str, float]
    """The end of fine-tuning, in `env_steps`."""
    config: dict[str, Any]
    """Options of fine-tuning that all methods share."""
    thresholds: list[float] = Field(default_factory=list)
    """Returns with exploration to which the steps are counted."""
    metric: str = "return_mean"
    """The result that is compared while training, with exploration noise."""
    row_metric: str | None = None
    """What the rows of the attribution compare, where it is not the return, such as `completed_tasks`."""


class Method(_Part):
    """A method: overrides of fine-tuning's options."""

    config: dict[str, Any] = Field(default_factory=dict)
    clone: str = "flow"
    exploration: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The bounds of its noise that are tried when tuning, by name, as overrides."""


class Tuning(_Part):
    """The budget of tuning, the same for every method: `lr` x the method's `exploration`."""

    seeds: list[int]
    env_steps: int
    lr: list[float]


class Again(_Part):
    """The best methods of the study once more, with further overrides."""

    best: int = 1
    suffix: str
    config: dict[str, Any]


class Study(_Part):
    """A study: tasks x methods x seeds."""

    question: str
    tasks: dict[str, Task]
    methods: dict[str, Method]
    seeds: list[int]
    baseline: str
    """The method that the others are compared with."""
    episodes: int = 40
    """Episodes of every row of the attribution; 0: no attribution."""
    tuning: Tuning | None = None
    tuned_by: str | None = None
    """Another study, whose chosen cells are used."""
    again: Again | None = None

    @model_validator(mode="after")
    def _names_exist(self) -> "Study":
        if self.baseline not in self.methods:
            raise ValueError(f"baseline {self.baseline!r} is none of the methods {', '.join(self.methods)}")
        for (name, method), (task_name, task) in product(self.methods.items(), self.tasks.items()):
            if method.clone not in task.clones:
                raise ValueError(f"method {name!r} starts from clone {method.clone!r}, which task {task_name!r} lacks")
        if self.tuning is not None and set(self.tuning.seeds) & set(self.seeds):
            raise ValueError("a seed is used both for tuning and for the study; tuning's seeds must be others")
        if self.tuning is not None and self.tuned_by is not None:
            raise ValueError("give tuning or tuned_by, not both")
        return self


def load_study(name: str, folder: Path = STUDIES) -> Study:
    """Reads a study.

    Args:
        name: of a file of `folder` without `.yaml`, or the path of a file.
        folder: where studies are.

    Raises:
        StudyError: there is none of this name, or it is not right.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise StudyError(f"there is no study {name!r}; there are {known}, or give the path of a file.")
    try:
        return Study.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise StudyError(f"{path}: {error}") from error


def merge(*layers: dict[str, Any]) -> dict[str, Any]:
    """Lays mappings over each other, the last on top, key by key into sections."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def cells(study: Study, method: str) -> dict[str, dict[str, Any]]:
    """The cells of a method's tuning grid by name, as overrides, the same number for every method.

    Raises:
        StudyError: the study is not tuned.
    """
    if study.tuning is None:
        raise StudyError("the study has no tuning.")
    explorations = study.methods[method].exploration
    return {
        f"lr{rate:g}-{name}": merge({"lr": rate}, overrides)
        for rate in study.tuning.lr
        for name, overrides in explorations.items()
    }
