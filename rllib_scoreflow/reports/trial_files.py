"""The result files of a trial: a row for each iteration, in order, and none twice."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_scoreflow.files.atomic import append_line, atomic_path

RESULTS, TABLE = "result.json", "progress.csv"
ITERATION = "training_iteration"


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the results of a trial in order, as they were reported.

    Args:
        folder: the trial's folder. A line that was cut off is left out, and so is what was trained again after it.
    """
    return [row for row, _ in _rows(folder / RESULTS)]


def cut_after(folder: Path, iteration: int) -> int:
    """Take out of a trial's result files what was trained after an iteration, and lines that were cut off.

    Args:
        folder: the trial's folder.
        iteration: the last one to stay; 0 leaves none.

    Returns:
        How many iterations were taken out.
    """
    path = folder / RESULTS
    if not path.is_file():
        return 0
    rows = _rows(path)
    kept = [line for row, line in rows if row[ITERATION] <= iteration]
    _replace(path, "".join(f"{line}\n" for line in kept))
    _cut_table(folder / TABLE, iteration)
    return len(rows) - len(kept)


def append_result(folder: Path, text: str, iteration: int) -> None:
    """Append a result to `result.json`, whole or not at all; it replaces those of its iteration and later ones.

    Args:
        folder: the trial's folder.
        text: the result as JSON in one line.
        iteration: its iteration.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    last = _last_iteration(folder / RESULTS)
    if last is not None and last >= iteration:
        cut_after(folder, iteration - 1)
    append_line(folder / RESULTS, text)


def append_table(folder: Path, flat: Mapping[str, Any]) -> None:
    """Append a result to `progress.csv`, as `append_result`.

    Args:
        folder: the trial's folder.
        flat: the flattened result; what the table's header does not name is left out.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    path = folder / TABLE
    header = _header(path)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, header or list(flat), extrasaction="ignore", lineterminator="\n")
    if not header:
        writer.writeheader()
    writer.writerow(flat)
    append_line(path, buffer.getvalue().removesuffix("\n"))


def _rows(path: Path) -> list[tuple[dict[str, Any], str]]:
    """Each row with its line, in the order of their iterations."""
    rows: list[tuple[dict[str, Any], str]] = []
    if not path.is_file():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        row = _row(line)
        if row is None:
            continue
        while rows and rows[-1][0][ITERATION] >= row[ITERATION]:
            rows.pop()
        rows.append((row, line))
    return rows


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = isinstance(row, dict) and isinstance(row.get(ITERATION), int)
    return row if known else None


def _last_iteration(path: Path) -> int | None:
    """The iteration of the last line, read from the end: the file of a long run is large."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            length = 1 << 14
            while True:
                length = min(length * 4, size)
                file.seek(size - length)
                lines = file.read(length).splitlines()
                if len(lines) > 1 or length == size:
                    break
    except OSError:
        return None
    row = _row(lines[-1].decode("utf-8", errors="replace")) if lines else None
    return None if row is None else row[ITERATION]


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, csv.Error, UnicodeDecodeError):
        return []


def _cut_table(path: Path, iteration: int) -> None:
    header = _header(path)
    if ITERATION not in header:
        return
    column = header.index(ITERATION)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.reader(file))[1:]
    kept = [row for row in rows if len(row) == len(header) and _number(row[column]) <= iteration]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *kept])
    _replace(path, buffer.getvalue())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def _replace(path: Path, text: str) -> None:
    """Writes a file anew where it has changed; it would otherwise look newer than it is."""
    if path.read_text(encoding="utf-8", errors="replace") != text:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
