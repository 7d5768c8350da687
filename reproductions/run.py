"""Running a study: its experiment files through `rllib train file`, one process each, and their results as a table."""

import json
import subprocess
import sys
from collections.abc import Callable, Container, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import pandas as pd
import yaml

from reproductions.collect import KEYS, collect_run, read_results, write_results
from reproductions.experiments import Run, experiment_file, file_name, study_runs, tuning_runs
from reproductions.measures import summarise_runs
from reproductions.study import DATA, HERE, Method, Study, StudyError, merge
from reproductions.tuning import Chosen, choose_cells

_COMMIT = "commit.json"


class StudyRunner:
    """Runs what is missing of a study; everything that is finished is kept.

    Attributes:
        study: What is run.
        folder: Of the runs, one folder below it for each task and seed.
        table: File of the results.
    """

    def __init__(
        self, study: Study, folder: Path, table: Path, *, data: Path = DATA, jobs: int = 1,
        ray_address: str | None = None, say: Callable[[str], None] = print,
    ) -> None:  # fmt: skip
        self.study = study
        self.folder = folder
        self.table = table
        self._data = data
        self._jobs = jobs
        self._ray_address = ray_address
        self._say = say
        self._writing = Lock()

    def run(self) -> pd.DataFrame:
        """Tunes, runs every method with every seed, then the best ones again.

        Returns:
            The results.

        Raises:
            StudyError: a file of data is missing; an experiment failed, and what is finished is in the table.
        """
        study = self.study
        for name, task in study.tasks.items():
            if task.data is not None and not (self._data / task.data).is_file():
                raise StudyError(f"task {name!r} needs {self._data / task.data}; say with --data where it is.")
        results = None
        if study.tuning is not None:
            seeds = study.tuning.seeds
            results = self._run_files([tuning_runs(study, task, seed) for seed in seeds for task in study.tasks])
        chosen = choose_cells(study, results)
        results = self._run_seeds(study.methods, chosen)
        if study.again is not None:
            again = best_again(study, results)
            results = self._run_seeds(again, {name: chosen[name.rpartition("-")[0]] for name in again})
        return results

    def _run_seeds(self, methods: Mapping[str, Method], chosen: Chosen) -> pd.DataFrame:
        study = self.study
        return self._run_files(
            [study_runs(methods, chosen, task, seed) for seed in study.seeds for task in study.tasks]
        )

    def _run_files(self, files: list[list[Run]]) -> pd.DataFrame:
        """Runs files side by side; one that fails does not keep the others from their end."""
        with ThreadPoolExecutor(self._jobs) as pool:
            failures = [failure for failure in pool.map(self._try_file, files) if failure is not None]
        if failures:
            raise StudyError("\n".join(failures))
        return self._collect([])

    def _try_file(self, runs: list[Run]) -> str | None:
        try:
            self._run_file(runs)
        except StudyError as error:
            return str(error)
        finally:
            self._collect(runs)
        return None

    def _run_file(self, wanted: list[Run]) -> None:
        runs = self._unrecorded(wanted)
        if not runs:
            return
        name = file_name(runs[0].task, runs[0].seed)
        results = self.folder / name
        missing = [run for run in runs if not (results / run.experiment / "done.json").is_file()]
        if missing:
            self._say(f"{name}: {len(missing)} of {len(wanted)} runs ({', '.join(run.experiment for run in missing)})")
            self._note_commit(results, missing)
            path = self.folder / "experiments" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                yaml.safe_dump(experiment_file(self.study, runs, self._data.resolve()), sort_keys=False),
                encoding="utf-8",
            )
            address = ["--ray-address", self._ray_address] if self._ray_address else []
            self._command(results / "train.log", ["train", "file", str(path), "--results-dir", str(self.folder),
                                                  "--resume", *address])  # fmt: skip
        for run in runs:
            self._attribute(results / run.experiment, run)

    def _unrecorded(self, runs: list[Run]) -> list[Run]:
        """The runs that the table does not hold whole: what was committed is not run again where its folder is gone."""
        if not self.table.is_file():
            return runs
        held = read_results(self.table)
        attributed = held.get("row_a", pd.Series(index=held.index, dtype=float)).notna()
        recorded = set(held.groupby(list(KEYS)).groups)
        whole = set(held[attributed].groupby(list(KEYS)).groups)
        return [run for run in runs if _key_of(run) not in (whole if self._attributes(run) else recorded)]

    def _attributes(self, run: Run) -> bool:
        """Whether what a run has gained is attributed."""
        return run.stage != "tuning" and bool(self.study.episodes)

    def _attribute(self, folder: Path, run: Run) -> None:
        if not self._attributes(run) or (folder / "attribution.json").is_file():
            return
        self._command(folder / "attribution.log", ["evaluate", str(folder), "--attribute", "--episodes",
                                                   str(self.study.episodes), "--seed", "0"])  # fmt: skip

    def _collect(self, runs: list[Run]) -> pd.DataFrame:
        frames = [collect_run(self.folder, run, self._commit_of(run)) for run in runs]
        with self._writing:
            return write_results(frames, self.table)

    def _note_commit(self, results: Path, runs: list[Run]) -> None:
        """Notes the commit of the code before runs begin or go on, for the table."""
        results.mkdir(parents=True, exist_ok=True)
        path = results / _COMMIT
        held = self._commits(results)
        now = _git("rev-parse", "HEAD") + ("-changed" if _git("status", "--porcelain", "rllib_scoreflow") else "")
        begun = {run.experiment for run in runs if (results / run.experiment).is_dir()}
        held = note_commit(held, [run.experiment for run in runs], begun, now)
        path.write_text(json.dumps(held, indent=1), encoding="utf-8")

    def _commit_of(self, run: Run) -> str:
        return self._commits(self.folder / file_name(run.task, run.seed)).get(run.experiment, "")

    @staticmethod
    def _commits(results: Path) -> dict[str, str]:
        """Experiment -> commit, of one task and seed."""
        path = results / _COMMIT
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    def _command(self, log: Path, arguments: list[str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as output:
            command = [sys.executable, "-m", "rllib_scoreflow.cli", *arguments]
            status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        if status:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise StudyError(f"`rllib {' '.join(arguments)}` ended with status {status}: {' '.join(last)} (log: {log})")


def best_again(study: Study, results: pd.DataFrame) -> dict[str, Method]:
    """The best methods of a study with the overrides of `again`, by the area under the curve averaged over all runs."""
    assert study.again is not None
    runs = results[(results["stage"] == "study") & results["method"].isin(list(study.methods))]
    metric = next(iter(study.tasks.values())).metric
    ranks = summarise_runs(runs, metric).groupby("method")["auc"].mean().sort_values(ascending=False)
    return {
        f"{name}-{study.again.suffix}": study.methods[name].model_copy(
            update={"config": merge(study.methods[name].config, study.again.config)}
        )
        for name in ranks.index[: study.again.best]
    }


def _key_of(run: Run) -> tuple[Any, ...]:
    return tuple(getattr(run, key) for key in KEYS)


def _git(*arguments: str) -> str:
    found = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True, check=False)  # noqa: S607
    return found.stdout.strip()


def note_commit(held: Mapping[str, str], experiments: Iterable[str], begun: Container[str], now: str) -> dict[str, str]:
    """Return the commits of a task's runs, by experiment: one that goes on under other code has both, "A+B".

    Args:
        held: what was noted before.
        experiments: those that are about to begin or to go on.
        begun: those that have begun.
        now: the commit of the code.
    """
    noted = dict(held)
    for name in experiments:
        before = held.get(name, "") if name in begun else ""
        noted[name] = now if before in ("", now) else before if now in before.split("+") else f"{before}+{now}"
    return noted
