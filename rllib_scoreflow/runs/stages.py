"""What an experiment's folder says: not begun, unfinished, finished, or another's."""

import enum
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.identity import Identity
from rllib_scoreflow.files.atomic import is_temporary, nearest_existing, temporary_sibling
from rllib_scoreflow.reports import metrics
from rllib_scoreflow.reports.plots import read_results
from rllib_scoreflow.reports.run_folder import BEGUN_JSON, DONE_JSON, read_json

# Of the key in those files; the first version wrote none.
IDENTITY_VERSION = 2


class State(enum.Enum):
    """What to do with an experiment: start it, go on with it, go on beyond its end, or leave it as it is."""

    NEW = "new"
    UNFINISHED = "unfinished"
    EXTENDED = "extended"
    FINISHED = "finished"


def state_of(
    folder: Path,
    identity: Identity | None,
    stop: Mapping[str, float],
    *,
    resume: bool,
    overwrite: bool,
    where: str,
) -> State:
    """Say what to do with an experiment, without changing anything.

    Args:
        folder: the experiment's folder.
        identity: its key; None while that cannot be known, so that no folder holds it.
        stop: its checked `stop`.
        resume: whether to go on with an unfinished run.
        overwrite: whether a run that is unfinished or differs may be replaced.
        where: the start of the message.

    Returns:
        FINISHED when the same experiment is done, EXTENDED when it is done for a smaller `stop`, UNFINISHED when it
        is to be resumed, else NEW.

    Raises:
        InputError: the folder holds something else, or an unfinished run and neither flag is given, or a finished one
        that cannot go on.
    """
    if not _holds_anything(folder):
        return State.NEW
    done, begun = read_json(folder / DONE_JSON), read_json(folder / BEGUN_JSON)
    known = done or begun
    if known is None:
        raise InputError(
            f"{where}: the folder {folder} is in the way and is no experiment of this command; "
            "choose another --results-dir."
        )
    same = identity is not None and _is_of(known, identity)
    if same and done is not None:
        if has_reached(folder, done, stop):
            return State.FINISHED
        if any(folder.glob("trial_*/checkpoint_*")):
            return State.EXTENDED
        if overwrite:
            return State.NEW
        raise InputError(
            f"{where}: {folder} holds a run that ended at {stop_text(done.get('stop') or {})} and left no checkpoint "
            "to go on from; choose another --results-dir, or give --overwrite to replace it."
        )
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


def _is_of(known: Mapping[str, Any], identity: Identity) -> bool:
    """Whether an experiment's file is that of an experiment, by the key of this version or of the first one."""
    digest = known.get("fingerprint")
    if "fingerprint_version" in known:
        return bool(digest == identity.digest)
    noted = known.get("stop") or {}
    whole = {key: int(end) if isinstance(end, float) and end.is_integer() else end for key, end in noted.items()}
    return digest in {identity.digest, *map(identity.of_first_version, (None, noted, whole))}


def has_reached(folder: Path, done: Mapping[str, Any], stop: Mapping[str, float]) -> bool:
    """Say whether a finished experiment has nothing left to do for a `stop`, which may be another than it was run for.

    Args:
        folder: the experiment's folder.
        done: its done.json.
        stop: the checked `stop`.
    """
    then = done.get("stop") or stop
    if then == stop:
        return True
    trials = [rows for path in folder.glob("trial_*/result.json") if (rows := read_results(path.parent))]
    if not any(key in row for rows in trials for row in rows for key in stop):
        return True  # it was run by a version that called its results otherwise
    # A trial that ended before its end, by early stopping or by a scheduler, would do so again.
    return all(_is_reached(rows[-1], stop) or not _is_reached(rows[-1], then) for rows in trials)


def _is_reached(row: Mapping[str, Any], stop: Mapping[str, float]) -> bool:
    values = {key: metrics.number(row, (key,)) for key in stop}
    return any(value is not None and value >= stop[key] for key, value in values.items())


def stop_text(stop: Mapping[str, float]) -> str:
    """Return a `stop` in words, such as ``training_iteration 10 or env_steps 1,000,000``.

    Args:
        stop: result key -> value.
    """
    return " or ".join(f"{key} {value:,.10g}" for key, value in stop.items())


def require_writable(folder: Path, where: str) -> None:
    """Try whether an experiment's folder can be made or written in, and leave nothing behind.

    Args:
        folder: the experiment's folder, which may be missing.
        where: the start of the message.

    Raises:
        InputError: it cannot.
    """
    nearest = nearest_existing(folder)
    try:
        with tempfile.TemporaryDirectory(dir=nearest, prefix=".rllib-"):
            return
    except OSError as error:
        reason = "it is a file" if nearest.is_file() else (error.strerror or "it cannot be written").lower()
        raise InputError(
            f"{where}: nothing can be written in {nearest} ({reason}); choose another --results-dir."
        ) from error


def _holds_anything(folder: Path) -> bool:
    """Whether a folder holds more than what a killed command has left before it wrote anything whole."""
    try:
        return not all(is_temporary(path) for path in folder.iterdir())
    except FileNotFoundError:
        return False


def clear(folder: Path) -> None:
    """Remove an experiment's folder that this command made; anything else stays.

    Args:
        folder: the experiment's folder, which may be missing.

    Raises:
        InputError: the folder does not look like one of this command's.
    """
    if not _holds_anything(folder):
        return
    if not any((folder / name).is_file() for name in (BEGUN_JSON, DONE_JSON)):
        raise InputError(
            f"{folder} is no experiment of this command, so --overwrite leaves it; choose another --results-dir."
        )
    # Without its name at once: a folder that is half removed would be taken for somebody else's.
    removed = temporary_sibling(folder)
    folder.rename(removed)
    shutil.rmtree(removed)
