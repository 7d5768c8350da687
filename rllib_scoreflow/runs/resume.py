"""What lies on disk of an interrupted experiment, and from where each of its trials goes on.

Tune's own notes are not asked: they are written some seconds after what they speak of, and may be cut off or lost.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import sweep
from rllib_scoreflow.files.manifest import checkpoint_number, find_damage, iteration_of, numbered_checkpoints
from rllib_scoreflow.reports import trial_files
from rllib_scoreflow.reports.run_folder import read_json

PARAMETERS = "params.json"
# Tune writes them, and nobody reads them.
_TUNE_NOTES = ("experiment_state-*.json", "basic-variant-state-*.json", "callback_states-*.pkl", "tuner.pkl")


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint and the result that its trial reported with it."""

    folder: Path
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Progress:
    """How far a trial came.

    Attributes:
        folder: the trial's folder.
        checkpoints: its whole checkpoints, the oldest first; it goes on from the last.
        last_number: the highest number that a checkpoint's folder has, -1 without any.
        result: the last result that counts, empty without any.
        ended: the trial is done.
        parameters: its config as it was last.
        note: what was passed over, in a few words.
    """

    folder: Path
    checkpoints: tuple[Checkpoint, ...]
    last_number: int
    result: Mapping[str, Any]
    ended: bool
    parameters: Mapping[str, Any]
    note: str | None = None


def take_stock(
    experiment: Path, ended: Callable[[Mapping[str, Any]], bool], *, checkpoint_at_end: bool
) -> dict[str, Progress]:
    """Find from where the trials of an experiment go on, and take later results out of their files.

    Left-overs of killed writers are removed: temporary files, and checkpoints that were cut off while they were
    written.

    Args:
        experiment: the experiment's folder, to which nobody else writes.
        ended: says of a trial's last result whether it was its last.
        checkpoint_at_end: whether a trial is done only when it has written its last checkpoint.

    Returns:
        Name of a trial's folder -> how far it came.

    Raises:
        InputError: no checkpoint of a trial is whole, and it has had others than the first.
    """
    for pattern in _TUNE_NOTES:
        for note in experiment.glob(pattern):
            note.unlink(missing_ok=True)
    folders = sorted(path for path in experiment.glob("trial_*") if path.is_dir())
    for folder in [experiment, *folders]:
        sweep(folder)
    return {folder.name: _progress(folder, ended, checkpoint_at_end=checkpoint_at_end) for folder in folders}


def _progress(folder: Path, ended: Callable[[Mapping[str, Any]], bool], *, checkpoint_at_end: bool) -> Progress:
    numbered = numbered_checkpoints(folder)
    chosen, reasons = _newest(numbered)
    rows = trial_files.read_rows(folder)
    parameters = read_json(folder / PARAMETERS) or {}
    last = int(rows[-1][trial_files.ITERATION]) if rows else 0
    reached = -1 if chosen is None else iteration_of(chosen) or 0
    last_number = max((checkpoint_number(path) or 0 for path in numbered), default=-1)
    if rows and ended(rows[-1]) and (reached >= last or not checkpoint_at_end):
        whole = _list_registered(numbered, chosen, rows) if chosen is not None else ()
        return Progress(folder, whole, last_number, rows[-1], True, parameters)
    if chosen is None:
        if last_number > 0:  # there were whole ones: it is for the user to say that what they held is given up
            raise InputError(
                f"{folder}: no checkpoint is whole ({reasons[0]}); "
                "train anew with --overwrite, or start from an exported policy by weights_from."
            )
        _remove(numbered)
        trial_files.cut_after(folder, 0)
        note = f"{reasons[0]} and there is none before it; began anew" if reasons else None
        return Progress(folder, (), -1, {}, False, parameters, note)
    trial_files.cut_after(folder, reached)
    _remove([path for path in numbered[: numbered.index(chosen)] if iteration_of(path) is None])
    whole = _list_registered(numbered, chosen, rows)
    note = f"{'; '.join(reasons)}; went on from {chosen.name}" if reasons else None
    return Progress(folder, whole, last_number, whole[-1].result, False, parameters, note)


def _newest(numbered: list[Path]) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint, and why newer ones were passed over."""
    reasons: list[str] = []
    for path in numbered:
        reason = find_damage(path)
        if reason is None:
            return path, reasons
        reasons.append(f"{path.name} is damaged ({reason})")
    return None, reasons


def _remove(checkpoints: list[Path]) -> None:
    for path in checkpoints:
        shutil.rmtree(path, ignore_errors=True)


def _list_registered(numbered: list[Path], chosen: Path, rows: list[dict[str, Any]]) -> tuple[Checkpoint, ...]:
    """The chosen checkpoint and those before it, each with its result."""
    results = {row[trial_files.ITERATION]: row for row in rows}
    found = []
    for path in numbered[numbered.index(chosen) :]:
        iteration = iteration_of(path)
        if iteration is not None:
            row = results.get(iteration, {trial_files.ITERATION: iteration})
            found.append(Checkpoint(path, {key: value for key, value in row.items() if key != "config"}))
    return tuple(reversed(found))
