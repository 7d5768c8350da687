"""The attribution of a run: the file in its folder, its table and its plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from rllib_scoreflow.errors import shorten
from rllib_scoreflow.files.atomic import atomic_path
from rllib_scoreflow.files.json import check_form, read_json
from rllib_scoreflow.reports.run_folder import write_json

ATTRIBUTION_JSON = "attribution.json"
_HEADINGS = ("row", "policy", "K", "start", "return", "minus (a)", "success %")
_REMEDY = "measure again with rllib evaluate --attribute --overwrite"
_CLONE_ROWS = "abc"


class Paired(BaseModel):
    """A paired difference; the standard errors of one episode, and successes that nobody tells, are None."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    return_mean: float
    return_stderr: float | None
    success_mean: float | None = None
    success_stderr: float | None = None


class AttributionRow(BaseModel):
    """What of a row is shown."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    row: str
    name: str
    denoising_steps: int
    start: str
    return_mean: float
    return_stderr: float | None
    success_rate: float | None
    success_stderr: float | None
    minus_a: Paired


class Comparison(Paired):
    """The difference of two rows: `row` minus `minus`."""

    row: str
    minus: str
    name: str


class Attribution(BaseModel):
    """Content of attribution.json."""

    model_config = ConfigDict(strict=True, extra="allow")

    policy: str
    policy_sha256: str | None = None
    clone: str
    env_id: str
    episodes: int
    seed: int
    rows: list[AttributionRow]
    comparisons: list[Comparison]


def read_attribution(folder: Path) -> Attribution | None:
    """Return what was measured of a run, None where nothing was.

    Args:
        folder: the experiment's folder.

    Raises:
        InputError: the file is damaged; naming the entry.
    """
    path = folder / ATTRIBUTION_JSON
    if not path.is_file():
        return None
    content = read_json(path, remedy=_REMEDY)
    attribution: Attribution = check_form(content, Attribution, path, "an attribution", _REMEDY)
    return attribution


def write_attribution(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write what was measured into a run's folder, in one move, and return the file.

    Args:
        folder: the experiment's folder.
        found: content of `Attribution`, with what else is known.
    """
    path = folder / ATTRIBUTION_JSON
    write_json(path, found)
    return path


def headings_of(rows: Sequence[AttributionRow]) -> tuple[str, ...]:
    """Return the headings of the table; of success there is a column where the environment tells it.

    Args:
        rows: the rows, or the first of them.
    """
    return _HEADINGS if any(row.success_rate is not None for row in rows) else _HEADINGS[:-1]


def table_of(rows: Sequence[AttributionRow]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the headings and the cells of the whole table.

    Args:
        rows: all of them.
    """
    headings = headings_of(rows)
    return headings, [cells_of(row)[: len(headings)] for row in rows]


def cells_of(row: AttributionRow) -> list[str]:
    """Return a row of the table, one cell for each of the headings and, last, that of success.

    Args:
        row: the row.
    """
    difference = "" if row.row == "a" else with_error(row.minus_a.return_mean, row.minus_a.return_stderr, sign="+")
    success = "" if row.success_rate is None else with_error(row.success_rate, row.success_stderr, scale=100.0)
    returned = with_error(row.return_mean, row.return_stderr)
    return [row.row, row.name, str(row.denoising_steps), row.start, returned, difference, success]


def sentence_of(comparison: Comparison) -> str:
    """Return a line such as "(f) - (b)  training, from a zero start: +12.3 ± 1.2".

    Args:
        comparison: the comparison.
    """
    text = f"({comparison.row}) - ({comparison.minus})  {comparison.name}: "
    text += with_error(comparison.return_mean, comparison.return_stderr, sign="+")
    if comparison.success_mean is None:
        return text
    success = with_error(comparison.success_mean, comparison.success_stderr, scale=100.0, sign="+")
    return f"{text} (success {success} %)"


def with_error(mean: float, error: float | None, *, scale: float = 1.0, sign: str = "") -> str:
    """Return a figure and, where there is one, its standard error; small ones that are no percentages have more digits.

    Args:
        mean: the figure.
        error: its standard error.
        scale: factor of both, 100 for percentages.
        sign: "+" shows the sign of a positive one.
    """
    digits = 1 if scale != 1.0 or max(abs(mean), error or 0.0) >= 10.0 else 3
    text = f"{scale * mean:{sign},.{digits}f}"
    return text if error is None else f"{text} ± {scale * error:,.{digits}f}"


def draw_attribution(rows: Sequence[tuple[str, str, float, float]], quantity: str, title: str, path: Path) -> None:
    """Draw the rows with their standard errors, those of the clone in another colour.

    Args:
        rows: key, name, mean and standard error (NaN where there is none) of every row.
        quantity: what is drawn.
        title: the figure's title.
        path: the PNG to write (in one move).
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.5 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (key, _, mean, error) in enumerate(rows):
        colour = "tab:gray" if key in _CLONE_ROWS else "tab:blue"
        axes.errorbar(mean, place, xerr=error, fmt="o", color=colour, capsize=3)
    labels = axes.set_yticks(range(len(rows)), labels=[f"({key}) {shorten(name, 60)}" for key, name, _, _ in rows])
    assert labels is not None
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(f"{shorten(quantity, 80)} (mean, standard error)", parse_math=False)
    axes.set_title(shorten(title, 90), fontsize="medium", parse_math=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
