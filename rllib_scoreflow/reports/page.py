"""``rllib report``: one page about a run, as HTML with its images in it or as Markdown."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import atomic_path
from rllib_scoreflow.reports import metrics, run_folder
from rllib_scoreflow.reports.attribution import Attribution, read_attribution, sentence_of
from rllib_scoreflow.reports.attribution import table_of as attribution_table
from rllib_scoreflow.reports.plots import learning_curve
from rllib_scoreflow.reports.run_folder import PLOT_NAME, dataset_hash_of, last_figures
from rllib_scoreflow.reports.sweep import SWEEP_PLOT, Sweep, draw_sweep, read_sweep, table_of
from rllib_scoreflow.reports.templating import make_template
from rllib_scoreflow.reports.trials import Trial

FORMATS = ("html", "md")


@dataclass(frozen=True)
class Image:
    """A PNG of the page: title, path relative to the page, and its bytes in base64."""

    title: str
    path: str
    base64: str


@dataclass(frozen=True)
class Page:
    """One experiment on the page; the templates say where each goes."""

    name: str
    facts: list[tuple[str, str]]
    images: list[Image]
    metric: str
    headings: list[str]
    trials: list[list[str]]
    config: str
    attribution: Attribution | None = None

    @property
    def attribution_table(self) -> tuple[tuple[str, ...], list[list[str]]]:
        """Headings and rows of the attribution."""
        return attribution_table(self.attribution.rows if self.attribution else [])

    @property
    def comparisons(self) -> list[str]:
        """Lines about the paired differences of the attribution."""
        return [sentence_of(one) for one in self.attribution.comparisons] if self.attribution else []


def write_report(run: Path, form: str, *, overwrite: bool) -> Path:
    """Write the page of an experiment, or of all experiments of a file, into its folder.

    Args:
        run: ``<results-dir>/<file>/<experiment>`` or ``<results-dir>/<file>``, finished or not.
        form: "html" (one file with everything in it) or "md" (with links to the images in the folder).
        overwrite: replace an existing page.

    Returns:
        The page's path.

    Raises:
        InputError: there is no experiment, or a page is there already.
    """
    if form not in FORMATS:
        raise InputError(f"--format {form}: it is html or md.")
    folders = experiments_in(run)
    target = run / f"report.{form}"
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists; give --overwrite to replace it.")
    pages = [_page(folder, target.parent) for folder in folders]
    text = make_template(f"report.{form}.j2").render(title=run.resolve().name, runs=pages)
    with atomic_path(target) as temporary:
        # Half characters (lone surrogates) may stand in JSON, but not in a file.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return target


def experiments_in(run: Path) -> list[Path]:
    """Return the folders of a run's experiments, in the order in which they began.

    Args:
        run: an experiment's folder, or that of a file with several.

    Raises:
        InputError: there is none.
    """
    begun = (run_folder.BEGUN_JSON, run_folder.DONE_JSON)
    if any((run / name).is_file() for name in begun):
        return [run]
    found = {path.parent for name in begun for path in run.glob(f"*/{name}")}
    if not found:
        raise InputError(f"{run} holds no experiment; give DIR/FILE/EXPERIMENT, or DIR/FILE for all of a file.")
    return sorted(found, key=lambda path: min((path / n).stat().st_mtime for n in begun if (path / n).is_file()))


def _page(folder: Path, beside: Path) -> Page:
    sweep = read_sweep(folder)
    about = sweep.about
    trial = next((one for one in sweep.trials if sweep.is_chosen(one)), next(iter(sweep.trials), None))
    headings, rows = table_of(sweep) if len(sweep.trials) > 1 else ([], [])
    config = yaml.safe_dump(_plain(about.get("config") or {}), sort_keys=False, allow_unicode=True)
    name = str(about.get("experiment"))
    images = [_image(title, path, beside) for title, path in _find_plots(folder, sweep).items()]
    attribution = read_attribution(folder)
    return Page(name, _facts(folder, sweep, trial), images, sweep.metric, headings, rows, config, attribution)


def _plain(value: Any) -> Any:
    """Plain data for YAML: a Python file's objects are in experiment.json by their text already."""
    return {str(key): _plain(below) for key, below in value.items()} if isinstance(value, Mapping) else value


def _find_plots(folder: Path, sweep: Sweep) -> dict[str, Path]:
    """The plots of a finished experiment, or of an unfinished one as it is now."""
    name, finished = str(sweep.about.get("experiment")), (folder / run_folder.DONE_JSON).is_file()
    found: dict[str, Path] = {}
    curve = folder / PLOT_NAME
    several = len(sweep.trials) > 1
    if not (finished and _is_picture(curve)):
        lines = {trial.name if several else "": trial.rows for trial in sweep.trials}
        learning_curve(lines, f"{name} ({sweep.about.get('run')})", curve)
    if _is_picture(curve):
        found[f"learning curve of {name}"] = curve
    if several and draw_sweep(sweep, folder / SWEEP_PLOT) is not None:
        found[f"all trials of {name}"] = folder / SWEEP_PLOT
    return found


def _is_picture(path: Path) -> bool:
    """Whether a file of the folder is a PNG; the page must not take in another file by a link."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8) == b"\x89PNG\r\n\x1a\n"


def _image(title: str, path: Path, beside: Path) -> Image:
    return Image(title, os.path.relpath(path, beside), base64.b64encode(path.read_bytes()).decode("ascii"))


def _facts(folder: Path, sweep: Sweep, trial: Trial | None) -> list[tuple[str, str]]:
    about, rows = sweep.about, [] if trial is None else trial.rows
    policy = folder / str(about["policy"]) if about.get("policy") else None
    figures = last_figures(rows)
    reported = {
        "dataset": (about.get("config") or {}).get("dataset"),
        "dataset sha256": about.get("dataset_sha256")
        or dataset_hash_of(policy)
        or next((row["dataset_sha256"] for row in rows if row.get("dataset_sha256")), None),
        "starts from": about.get("pretrained_policy"),
        "scheduler": about.get("scheduler"),
        "trial": trial.name if trial is not None and len(sweep.trials) > 1 else None,
        "figures": ", ".join(f"{name} {value:,.6g}" for name, value in figures.items()),
        "evaluation": _evaluation(rows),
        "policy": policy,
        "checkpoints": ", ".join(
            sorted(str(path.parent.relative_to(folder)) for path in folder.glob("*/*/rllib_checkpoint.json"))
        ),
        "versions": ", ".join(f"{name} {number}" for name, number in (about.get("versions") or {}).items()),
        "fingerprint": about.get("fingerprint"),
    }
    ends = " or ".join(f"{key} {value:,.10g}" for key, value in (about.get("stop") or {}).items())
    status = "finished" if (folder / run_folder.DONE_JSON).is_file() else "unfinished"
    facts = [("status", status), ("algorithm", str(about.get("run"))), ("environment", str(about.get("env")))]
    facts += [("until", ends), ("folder", str(folder))]
    return facts + [(what, str(value)) for what, value in reported.items() if value]


def _evaluation(rows: Any) -> str:
    """The last evaluation during training, and the best one."""
    found = [row for row in rows if metrics.number(row, metrics.EVAL_RETURN) is not None]
    if not found:
        return ""
    values = [metrics.number(row, metrics.EVAL_RETURN) or 0.0 for row in found]
    error = metrics.number(found[-1], metrics.EVAL_STDERR)
    spread = "" if error is None else f" ± {error:,.1f}"
    steps = metrics.number(found[-1], metrics.STEPS)
    at = "" if steps is None else f" at {steps:,.0f} environment steps"
    return f"return {values[-1]:,.1f}{spread}{at}; best {max(values):,.1f} of {len(values)} evaluations"
