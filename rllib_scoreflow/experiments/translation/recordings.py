"""What the JSON files of a recording hold, judged by their first line."""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.files.user_paths import expand_user

_ENDINGS = (".json", ".jsonl")
_COLUMNS = ("obs", "actions", "rewards")


def json_files(path: str) -> list[Path]:
    """Return the JSON files that a local path stands for; none where it is a folder with Parquet files, or no path.

    Args:
        path: of a file or folder.
    """
    if "://" in path:
        return []
    found = expand_user(path)
    if path.endswith(_ENDINGS):
        return [found]
    if not found.is_dir() or any(found.rglob("*.parquet")):
        return []
    return sorted(each for each in found.iterdir() if each.name.endswith(_ENDINGS))


def steps_of_sample_batches(paths: list[str], where: str) -> int | None:
    """Return how many steps the first sample batch has, or None where no file holds sample batches.

    Args:
        paths: of JSON files or of their folders.
        where: the start of messages.

    Raises:
        InputError: a file is not JSON, holds several agents, lacks a column, or cannot be unpacked here.
    """
    steps = None
    for file in (each for path in paths for each in json_files(path)):
        first = _first_line(file, where)
        if first is None or "type" not in first:
            continue
        _check(first, f"{where} names {quote(str(file))}, which")
        steps = steps or len(first["actions"] if not isinstance(first["actions"], str) else first["rewards"])
    return steps


def _first_line(file: Path, where: str) -> Mapping[str, Any] | None:
    try:
        with file.open(encoding="utf-8") as lines:
            line = next(_not_empty(lines), None)
        found = None if line is None else json.loads(line)
    except (OSError, ValueError) as error:
        reason = f"which cannot be read as lines of JSON ({error})"
        raise InputError(f"{where} names {quote(str(file))}, {reason}; give a recording of RLlib's.") from error
    return found if isinstance(found, Mapping) else None


def _not_empty(lines: Iterator[str]) -> Iterator[str]:
    return (line for line in lines if line.strip())


def _check(first: Mapping[str, Any], what: str) -> None:
    if first["type"] != "SampleBatch":
        several = "RLlib's new API stack reads the recordings of one agent alone; record each agent by itself"
        raise InputError(f"{what} holds {quote(first['type'])}: {several}.")
    missing = [column for column in _COLUMNS if column not in first]
    if missing:
        raise InputError(f"{what} has no column {quote(missing[0])}; give a recording of RLlib's.")
    compressed = any(isinstance(first[column], str) for column in first if column != "type")
    if compressed and importlib.util.find_spec("lz4") is None:
        raise InputError(f"{what} holds compressed columns, for which lz4 is missing; run pip install lz4.")


def holds_episodes(paths: list[str]) -> bool:
    """Whether the first of local Parquet files holds whole episodes, each packed into one value, as RLlib records them.

    Args:
        paths: of files or folders.
    """
    for path in (expand_user(path) for path in paths if "://" not in path):
        file = path if path.is_file() else next(iter(sorted(path.rglob("*.parquet"))), None)
        if file is not None and file.suffix == ".parquet":
            return _columns_of(file) == ["item"]
    return False


def _columns_of(file: Path) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(file).names)
    except (OSError, pyarrow.ArrowInvalid):  # what Ray Data says itself
        return []


def require_packer(what: str, otherwise: str) -> None:
    """Refuse whole episodes where the package that RLlib packs them with is missing; it imports it at the first one.

    Args:
        what: the start of the message.
        otherwise: what to do else.

    Raises:
        InputError: it is missing.
    """
    if importlib.util.find_spec("msgpack_numpy") is None:
        raise InputError(f"{what}, for which msgpack-numpy is missing; run pip install msgpack-numpy, or {otherwise}.")


def in_full(path: str) -> str:
    """Return a local path as seen from everywhere, for trials run in folders of their own; an address as it is.

    Args:
        path: of a file or folder.
    """
    return path if "://" in path else str(expand_user(path).resolve())
