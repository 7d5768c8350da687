"""Two commands in one folder: the second is refused, until the first has ended in whatever way."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.lock import hold, refuse_busy

HOLDER = """
import pathlib, sys
from rllib_scoreflow.files.lock import hold

with hold([pathlib.Path(sys.argv[1])]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `results/hop/pre`."""
    words = [sys.executable, "-c", HOLDER, tmp_path / "results" / "hop" / "pre"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_a_second_command_is_refused_until_the_first_has_ended(tmp_path, holder, how):
    folder = tmp_path / "results" / "hop" / "pre"
    for check in (refuse_busy, lambda folders: hold(folders).__enter__()):
        with pytest.raises(InputError, match=f"{folder} is being written .*process {holder.pid} on .*--results-dir"):
            check([folder.with_name("other"), folder])
    with hold([folder.with_name("other")]):  # another experiment of the file may run beside it
        pass
    if how is None:
        holder.stdin.close()
    else:
        holder.send_signal(how)
    holder.wait(timeout=10)
    refuse_busy([folder])
    with hold([folder]):
        folder.mkdir(parents=True, exist_ok=True)
    assert [path.name for path in folder.parent.iterdir()] == ["pre"]


def test_nothing_is_left_where_nothing_was_written(tmp_path):
    with hold([tmp_path / "results" / "hop" / name for name in ("pre", "fine")]):
        assert len(list((tmp_path / "results" / "hop").iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_outlives_the_command_holds_no_lock(tmp_path):
    folder = tmp_path / "pre"
    with hold([folder]):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with hold([folder]):
        pass
    child.communicate()


@pytest.mark.parametrize("results", ["file/hop", "file", "n" * 300])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, results):
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / results / "pre"
    with pytest.raises(InputError, match=r"results cannot be written to .*--results-dir"), hold([folder]):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _write_without_permission(folder: Path, answers) -> None:
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        with hold([folder]):
            answers.put("held")
    except InputError as error:
        answers.put(str(error))


@pytest.mark.parametrize("readable", ["folder", "above"])
def test_a_folder_without_permission_is_named(tmp_path, readable):
    for parent in (tmp_path, *list(tmp_path.parents)[:2]):
        parent.chmod(0o755)
    folder = tmp_path / "hop" / "pre"
    folder.mkdir(parents=True)
    (folder if readable == "folder" else folder.parent).chmod(0o555)
    if readable == "folder":
        folder.parent.chmod(0o777)
    answers = multiprocessing.get_context("fork").Queue()
    child = multiprocessing.get_context("fork").Process(target=_write_without_permission, args=(folder, answers))
    child.start()
    answer = answers.get(timeout=30)
    child.join()
    assert answer.startswith(f"results cannot be written to {folder} (")
    for path in (folder.parent, folder):
        path.chmod(0o755)
