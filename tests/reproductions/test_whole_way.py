"""A study from its file to its tables, through the command, also after it was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reproductions.collect import read_results

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-m", "reproductions"]


def run_study(folder: Path, *arguments: str) -> str:
    command = [*RUN, *arguments, "--results", str(folder / "tables")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.e2e
def test_the_toy_study_runs_from_data_to_tables(tmp_path: Path) -> None:
    run_study(tmp_path, "run", "toy", "--runs", str(tmp_path / "runs"))
    table = read_results(tmp_path / "tables" / "toy.parquet")
    assert set(table["method"]) == {"reinflow", "scoreflow"}
    clones = table.groupby("seed")["clone_sha256"].nunique()
    assert (clones == 1).all()  # all methods of a seed start from one clone
    assert table["row_a"].notna().all()
    assert table["commit"].str.len().min() >= 40
    page = run_study(tmp_path, "analyse", "toy")
    assert "Complete" in page
    assert len(list((tmp_path / "tables" / "toy").glob("*.png"))) == 4


@pytest.mark.slow
def test_a_killed_study_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [*RUN, "run", "toy", "--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "tables")]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    first = tmp_path / "runs" / "toy" / "hopper-seed0" / "reinflow" / "done.json"
    while not first.is_file():
        assert process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = first.stat().st_mtime_ns
    run_study(tmp_path, "run", "toy", "--runs", str(tmp_path / "runs"))
    assert first.stat().st_mtime_ns == finished
    assert len(read_results(tmp_path / "tables" / "toy.parquet").groupby(["method", "seed"])) == 4
