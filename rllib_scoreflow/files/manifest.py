"""Which checkpoint is whole: a list of a checkpoint's files with their sizes and hashes, written last."""

import json
from collections.abc import Iterator
from pathlib import Path

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import atomic_path
from rllib_scoreflow.files.digest import file_digest

MANIFEST = "files.sha256.json"
RLLIB_METADATA = "rllib_checkpoint.json"
_ITERATION, _FILES = "training_iteration", "files"


def write_manifest(folder: Path, iteration: int) -> None:
    """Lists all files of a finished checkpoint.

    Args:
        folder: The checkpoint.
        iteration: Training iterations done.
    """
    files = {path.relative_to(folder).as_posix(): file_digest(path) for path in _files(folder)}
    with atomic_path(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps({_ITERATION: iteration, _FILES: files}, indent=1), encoding="utf-8")


def find_damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None if every file is as it was written.

    Args:
        folder: The checkpoint.
    """
    manifest = _read_manifest(folder)
    if manifest is None:
        return f"its list of files, {MANIFEST}, is missing or cut off"
    for name, digest in manifest[1].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_digest(path) != digest:
            return f"{name} is not what was written"
    return None


def numbered_checkpoints(trial: Path) -> list[Path]:
    """All checkpoints of a trial, whole or not, the newest first.

    Args:
        trial: The trial's folder.
    """
    found = [path for path in trial.glob("checkpoint_*") if path.is_dir() and checkpoint_number(path) is not None]
    return sorted(found, key=lambda path: checkpoint_number(path) or 0, reverse=True)


def checkpoint_number(folder: Path) -> int | None:
    """The number in `checkpoint_<number>`, or None if the name has none.

    Args:
        folder: The checkpoint.
    """
    digits = folder.name.removeprefix("checkpoint_")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def iteration_of(folder: Path) -> int | None:
    """The training iteration of which a checkpoint says it is; None if its writing did not come to an end.

    Args:
        folder: The checkpoint.
    """
    manifest = _read_manifest(folder)
    return None if manifest is None else manifest[0]


def is_unlisted(folder: Path) -> bool:
    """Whether a checkpoint is one of RLlib's `save_to_path()` alone, which writes no list of its files.

    One of Tune's, `checkpoint_<number>`, without a list was cut off.

    Args:
        folder: The checkpoint.
    """
    tunes = folder.name.startswith("checkpoint_")
    return not tunes and (folder / RLLIB_METADATA).is_file() and not (folder / MANIFEST).exists()


def newest_whole(folder: Path) -> tuple[Path, int, str | None]:
    """The checkpoint to go on from: `folder`, or the newest whole one beside it that is older.

    Args:
        folder: `<trial>/checkpoint_<number>`.

    Returns:
        The checkpoint, its training iteration, and what was wrong with `folder` (None if it is taken).

    Raises:
        InputError: If neither it nor an older one beside it is whole.
    """
    reason = find_damage(folder)
    for candidate in [folder] if reason is None else _older(folder):
        iteration = iteration_of(candidate)
        if iteration is not None and find_damage(candidate) is None:
            return candidate, iteration, reason
    raise InputError(
        f"The checkpoint {folder} is damaged ({reason}) and there is no whole one before it; "
        "train anew with --overwrite, or start from an exported policy by weights_from."
    )


def _older(folder: Path) -> Iterator[Path]:
    for candidate in numbered_checkpoints(folder.parent):
        if (checkpoint_number(candidate) or 0) < (checkpoint_number(folder) or 0):
            yield candidate


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def _read_manifest(folder: Path) -> tuple[int, dict[str, str]] | None:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return int(content[_ITERATION]), dict(content[_FILES])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
