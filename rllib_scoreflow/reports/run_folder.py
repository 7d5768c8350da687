"""The files of an experiment's folder that others read: experiment.json and done.json, their form and their names."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files import json as json_files
from rllib_scoreflow.files.atomic import atomic_path
from rllib_scoreflow.files.policy_folder import POLICY_JSON
from rllib_scoreflow.reports import metrics

BEGUN_JSON = "experiment.json"
MODULE_FOLDERS = "module_folders"  # key of it: where the run looked for modules of the user
DONE_JSON = "done.json"
PLOT_NAME = "learning_curve.png"
_REMEDY = "copy the file again, or train again with --overwrite"


class StageFile(BaseModel):
    """What of the two files is used, by its type; every entry may be missing, and there may be others."""

    model_config = ConfigDict(strict=True, extra="allow")

    experiment: str | None = None
    fingerprint: str | None = None
    run: str | None = None
    env: str | None = None
    stop: dict[str, float] | None = None
    config: dict[str, Any] | None = None
    swept: list[str] | None = None
    scheduler: str | None = None
    metric: str | None = None
    mode: Literal["max", "min"] | None = None
    pretrained_policy: str | None = None
    pretrained_policy_sha256: str | None = None
    module_folders: list[str] | None = None
    versions: dict[str, str] | None = None
    checkpoint: str | None = None
    policy: str | None = None
    plot: str | None = None
    sweep: str | None = None
    figures: dict[str, float] | None = None
    dataset_sha256: str | None = None


def read_stage_file(path: Path) -> dict[str, Any] | None:
    """Return the content of an experiment.json or done.json, None where there is no such file.

    Raises:
        InputError: it is damaged; naming the entry.
    """
    if not path.is_file():
        return None
    content = json_files.read_json(path, remedy=_REMEDY)
    json_files.check_form(content, StageFile, path, "an experiment", _REMEDY)
    assert isinstance(content, dict)
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file in one move, so that a reader sees the whole of it or nothing.

    Args:
        path: the file; its folder is made.
        content: plain data; numpy scalars and other objects are written as numbers or by their
            text.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=_plain) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object from a file, or None when the file is missing or holds something else.

    Args:
        path: the file; experiment.json and done.json count only in their form (`read_stage_file`).
    """
    try:
        content = read_stage_file(path) if path.name in (BEGUN_JSON, DONE_JSON) else json_files.read_json(path)
    except InputError:
        return None
    return content if isinstance(content, dict) else None


def dataset_hash_of(policy: Path | None) -> str | None:
    """Return the hash of the dataset that a policy's policy.json names, None where it cannot be told.

    Args:
        policy: a policy folder, or None.
    """
    described = None if policy is None else read_json(policy / POLICY_JSON)
    metadata = (described or {}).get("metadata")
    found = metadata.get("dataset_sha256") if isinstance(metadata, Mapping) else None
    return found if isinstance(found, str) else None


def last_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the last value of each of the few figures that a table shows; what precedes the training is none of them.

    Args:
        rows: flattened results in order.
    """
    wanted = {
        "iterations": ("training_iteration",),
        "steps": metrics.STEPS,
        "return": metrics.RETURN,
        "evaluation": metrics.EVAL_RETURN,
        "train_loss": ("train_loss",),
        "validation_loss": ("validation_loss",),
        "seconds": ("time_total_s",),
    }
    figures: dict[str, float] = {}
    for row in rows:
        if row.get("training_iteration") == 0:
            continue
        for name, keys in wanted.items():
            value = metrics.number(row, keys)
            if value is not None:
                figures[name] = value
    return figures
