"""Whatever happens to the results while a run writes them, `--resume` goes on from what is whole, in real processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

# Short iterations, each with a checkpoint: a kill hits the time between a checkpoint and Tune's next note.
CART = """
cart:
  run: PPO
  env: CartPole-v1
  stop: {training_iteration: LAST}
  checkpoint_config: {checkpoint_frequency: 1, num_to_keep: 2}
  config:
    seed: 1
    num_env_runners: 0
    train_batch_size_per_learner: 200
    minibatch_size: 100
    num_epochs: 1
"""
TRAIN = ["train", "file", "cart.yaml", "--ray-num-cpus", "1"]


class Work:
    """A working folder with `cart.yaml`, and the commands that run there."""

    def __init__(self, folder: Path, last: int = 12) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.trial = self.results / "cart" / "cart" / "trial_00000"
        self.write(last)

    def write(self, last: int) -> None:
        (self.folder / "cart.yaml").write_text(CART.replace("LAST", str(last)))

    def start(self, *options: str) -> subprocess.Popen:
        words = [sys.executable, "-u", "-m", "rllib_scoreflow.cli", *TRAIN, *options]
        return subprocess.Popen(
            words,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *options: str, timeout: float = 240) -> subprocess.CompletedProcess:
        process = self.start(*options)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def until(self, process: subprocess.Popen, iteration: int) -> None:
        wanted = f"iter {iteration:>4}"
        assert any(line.startswith(wanted) for line in process.stdout), process.stderr.read()

    def iterations(self) -> list[int]:
        lines = (self.trial / "result.json").read_text().splitlines()
        return [json.loads(line)["training_iteration"] for line in lines]

    def finish(self, last: int = 12) -> str:
        ended = self.run("--resume")
        assert ended.returncode == 0, ended.stderr
        assert self.iterations() == list(range(1, last + 1))
        assert (self.trial.parent / "done.json").is_file()
        return ended.stdout


def kill(process: subprocess.Popen) -> None:
    """SIGKILL; Ray's processes leave by themselves, and are waited for."""
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, living = psutil.wait_procs(family, timeout=30)
    for one in living:
        one.kill()


@pytest.fixture
def work(tmp_path) -> Work:
    return Work(tmp_path)


def test_a_kill_between_a_checkpoint_and_tunes_note_loses_and_repeats_nothing(work) -> None:
    """Three times in one run, each kill at another time after an iteration was reported."""
    for number, wait_s in enumerate((0.0, 0.15, 0.4)):
        process = work.start(*(["--resume"] if number else []))
        work.until(process, 3 * number + 3)
        time.sleep(wait_s)
        kill(process)
        assert work.iterations() == list(range(1, len(work.iterations()) + 1))
    done = work.iterations()[-1]
    said = work.finish()
    first = next(line for line in said.splitlines() if line.startswith("iter "))
    # One iteration is done again at most: that whose checkpoint was being written.
    assert int(first.split()[1]) >= done


@pytest.mark.parametrize("what", ["removed", "cut off", "emptied"])
def test_tunes_notes_may_be_lost(work, what) -> None:
    process = work.start()
    work.until(process, 6)
    kill(process)
    folder = work.trial.parent
    notes = [path for path in folder.iterdir() if path.is_file() and path.name != "experiment.json"]
    assert any(path.name == "tuner.pkl" for path in notes)
    for path in notes:
        if what == "removed":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if what == "cut off" else 0])
    newest = max(path.name for path in work.trial.glob("checkpoint_*/files.sha256.json"))
    assert newest
    said = work.finish()
    first = next(line for line in said.splitlines() if line.startswith("iter "))
    assert int(first.split()[1]) >= 6


def test_a_second_command_beside_a_run_is_refused(work) -> None:
    work.write(10_000)
    process = work.start()
    try:
        work.until(process, 2)
        for options in ([], ["--resume"], ["--overwrite"]):
            began = time.monotonic()
            second = work.run(*options)
            assert second.returncode == 2, second.stderr
            assert second.stderr.count("\n") == 1
            assert "is being written by another `rllib train`" in second.stderr
            assert f"process {process.pid} on " in second.stderr
            assert time.monotonic() - began < 60
        before = work.iterations()[-1]
        work.until(process, before + 2)  # and the first goes on
    finally:
        kill(process)
    work.write(12)
    assert [one for one in work.trial.parent.parent.iterdir() if one.name == ".cart.lock"]
    ended = work.run("--overwrite")  # the lock went with the process
    assert ended.returncode == 0, ended.stderr
    assert work.iterations() == list(range(1, 13))


def _mounted(folder: Path, size: str) -> None:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    """`results` is a file system of its own, of 24 MB: a checkpoint here has 2 MB."""
    if os.getuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = tmp_path / "results"
    _mounted(folder, "24m")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path, keep: int) -> Path:
    """Fills a file system, to which a run is writing meanwhile, but for `keep` bytes."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(b"0" * 4096):
                pass
        file.truncate(max(file.tell() - keep, 0))
    return path


@pytest.mark.parametrize("keep", [0, 6_000, 1_000_000])
def test_a_disk_that_fills_up_during_a_run(small_disk, work, keep) -> None:
    """Whatever is the first that does not fit: a row, a checkpoint, one of Tune's notes."""
    work.write(10_000)
    process = work.start()
    work.until(process, 3)
    ballast = fill(small_disk, keep)
    began = time.monotonic()
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1, err
    assert err.count("\n") == 1, err
    assert "the disk is full, results/cart/cart has " in err
    assert err.endswith("go on with: rllib train file cart.yaml --ray-num-cpus 1 --resume\n")
    assert time.monotonic() - began < 120
    # Nothing of it is half written: rows in order, and a checkpoint to go on from.
    done = work.iterations()
    assert done == list(range(1, len(done) + 1))
    ballast.unlink()
    for path in work.trial.glob("checkpoint_*"):
        assert path.is_dir()
    answer = work.start("--resume")
    work.until(answer, done[-1] + 2)
    kill(answer)
    assert work.iterations() == list(range(1, work.iterations()[-1] + 1))
    assert done[-1] >= 3


def test_a_disk_that_is_full_from_the_start(small_disk, work) -> None:
    ballast = fill(small_disk, 0)
    ended = work.run()
    assert ended.returncode in (1, 2), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert "no space left on device" in ended.stderr.lower() or "the disk is full" in ended.stderr
    assert "results" in ended.stderr
    ballast.unlink()
    ended = work.run()
    assert ended.returncode == 0, ended.stderr
    assert work.iterations() == list(range(1, 13))


def test_a_results_folder_that_is_read_only(small_disk, work) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    began = time.monotonic()
    ended = work.run()
    assert ended.returncode == 2, ended.stderr
    assert "(read-only file system); choose another --results-dir" in ended.stderr
    assert str(small_disk) in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""
    assert time.monotonic() - began < 60
