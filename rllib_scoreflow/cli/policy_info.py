"""``rllib policy info``."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from rllib_scoreflow.experiments.weights import require_policy


def print_policy_info(path: Path, *, as_json: bool) -> None:
    """Print a policy's metadata, as a table or as JSON.

    Args:
        path: a policy folder, or a folder with one in ``policy/``.
        as_json: print JSON.

    Raises:
        InputError: there is no policy, or its JSON is broken.
    """
    from rllib_scoreflow.policy import read_metadata

    folder = require_policy(path, "rllib policy info")
    content = {"path": str(folder), **to_plain(read_metadata(folder))}
    if as_json:
        print(json.dumps(content, indent=2, default=str))
        return
    from rich.table import Table

    from rllib_scoreflow.terminal import new_console

    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in _rows(content):
        table.add_row(key, value)
    new_console().print(table)


def to_plain(metadata: Any) -> dict[str, Any]:
    """Return metadata (pydantic model, dataclass or mapping) as plain data.

    Args:
        metadata: from `read_metadata`.
    """
    if hasattr(metadata, "model_dump"):
        return dict(metadata.model_dump(mode="json"))
    if dataclasses.is_dataclass(metadata) and not isinstance(metadata, type):
        return dataclasses.asdict(metadata)
    return dict(metadata)


def _rows(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, dict):
            rows += _rows(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", "-" if value is None else str(value)))
    return rows
