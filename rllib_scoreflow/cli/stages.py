"""What an experiment's folder says: not begun, unfinished, finished, or another's."""

import enum
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_scoreflow.atomic_files import atomic_path
from rllib_scoreflow.cli.experiments import Experiment
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.file_digest import file_digest
from rllib_scoreflow.user_paths import expand_user

BEGUN_JSON = "experiment.json"
DONE_JSON = "done.json"
_HASH_LIMIT_BYTES = 4 * 2**30  # beyond this a dataset is told apart by its size


class State(enum.Enum):
    """What to do with an experiment: start it, go on with it, or leave it as it is."""

    NEW = "new"
    UNFINISHED = "unfinished"
    FINISHED = "finished"


def fingerprint(experiment: Experiment, config: Mapping[str, Any], weights: str | None) -> str:
    """Return the sha256 of all that decides an experiment's result, in hex.

    Args:
        experiment: the experiment, with every override laid over it.
        config: its checked config.
        weights: digest of the policy that it starts from.
    """
    run = (
        experiment.run
        if isinstance(experiment.run, str)
        else f"{experiment.run.__module__}:{experiment.run.__qualname__}"
    )
    elsewhere = {"max_failures", "max_concurrent_trials", "loggers"}
    settings = {key: value for key, value in experiment.settings.items() if key not in elsewhere}
    parts = {
        "run": run,
        "env": experiment.env if isinstance(experiment.env, str | None) else repr(experiment.env),
        "config": config,
        "stop": experiment.stop,
        "num_samples": experiment.num_samples,
        "settings": settings,
        "source": experiment.source_text,
        "weights": weights,
        "dataset": _dataset_digest(config.get("dataset")),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


def _dataset_digest(dataset: Any) -> str | None:
    path = expand_user(dataset) if isinstance(dataset, str) else None
    if path is None or not path.is_file():
        return None
    size = path.stat().st_size
    return file_digest(path) if size <= _HASH_LIMIT_BYTES else f"size {size}"


def state_of(folder: Path, digest: str, *, resume: bool, overwrite: bool, where: str) -> State:
    """Say what to do with an experiment, without changing anything.

    Args:
        folder: the experiment's folder.
        digest: its `fingerprint`.
        resume: whether to go on with an unfinished run.
        overwrite: whether a run that is unfinished or differs may be replaced.
        where: the start of the message.

    Returns:
        FINISHED when the same experiment is done, UNFINISHED when it is to be resumed, else NEW.

    Raises:
        InputError: the folder holds something else, or an unfinished run and neither flag is given.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return State.NEW
    done, begun = read_json(folder / DONE_JSON), read_json(folder / BEGUN_JSON)
    known = done or begun
    if known is None:
        raise InputError(
            f"{where}: the folder {folder} is in the way and is no experiment of this command; "
            "choose another --results-dir."
        )
    same = known.get("fingerprint") == digest
    if same and done is not None:
        return State.FINISHED
    if same and resume:
        return State.UNFINISHED
    if overwrite:
        return State.NEW
    if same:
        raise InputError(
            f"{where}: {folder} holds an unfinished run; give --resume to go on, or --overwrite to start anew."
        )
    raise InputError(
        f"{where}: {folder} holds a run of another configuration, dataset or starting policy; "
        "choose another --results-dir, or give --overwrite to replace it."
    )


def require_writable(folder: Path, where: str) -> None:
    """Try whether an experiment's folder can be made or written in, and leave nothing behind.

    Args:
        folder: the experiment's folder, which may be missing.
        where: the start of the message.

    Raises:
        InputError: it cannot.
    """
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=nearest, prefix=".rllib-"):
            return
    except OSError as error:
        reason = "it is a file" if nearest.is_file() else (error.strerror or "it cannot be written").lower()
        raise InputError(
            f"{where}: nothing can be written in {nearest} ({reason}); choose another --results-dir."
        ) from error


def clear(folder: Path) -> None:
    """Remove an experiment's folder that this command made; anything else stays.

    Args:
        folder: the experiment's folder, which may be missing.

    Raises:
        InputError: the folder does not look like one of this command's.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not any((folder / name).is_file() for name in (BEGUN_JSON, DONE_JSON)):
        raise InputError(
            f"{folder} is no experiment of this command, so --overwrite leaves it; choose another --results-dir."
        )
    shutil.rmtree(folder)


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
        path: the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
