"""Files that appear whole or not at all, where no file may become longer than 10 bytes: a disk that is full then.

The limit holds for a whole process, whose own output may be a file too; so each case is a process of its own.
"""

import subprocess
import sys

import pytest

LIMITED = """
import pathlib, resource, signal, sys
from rllib_scoreflow.files.atomic import append_line, atomic_path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
path = pathlib.Path(sys.argv[1])
"""
TOO_LONG_A_LINE = """
append_line(path, "123")
try:
    append_line(path, "0123456789")
except OSError as error:
    assert "too large" in str(error)
    assert path.read_text() == "123\\n"
    append_line(path, "45")
    sys.exit(3)
"""
TOO_LONG_A_FILE = """
path.write_text("before")
try:
    with atomic_path(path) as temporary:
        temporary.write_text("a text of more than ten bytes")
except OSError as error:
    assert "too large" in str(error)
    sys.exit(3)
"""


@pytest.mark.parametrize(("code", "left"), [(TOO_LONG_A_LINE, "123\n45\n"), (TOO_LONG_A_FILE, "before")])
def test_a_file_that_does_not_fit_is_left_as_it_was(tmp_path, code: str, left: str):
    path = tmp_path / "note"
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED + code, str(path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3, ended.stderr
    assert path.read_text() == left
    assert [one.name for one in tmp_path.iterdir()] == ["note"]
