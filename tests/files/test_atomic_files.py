"""Files that appear whole or not at all."""

import resource
import signal

import pytest

from rllib_scoreflow.files.atomic import append_line, atomic_path


@pytest.fixture
def most_bytes():
    """No file may become longer than 10 bytes: a disk that is full then."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_line_is_appended_whole_or_not_at_all(tmp_path, most_bytes):
    path = tmp_path / "log"
    append_line(path, "123")
    with pytest.raises(OSError, match="too large"):
        append_line(path, "0123456789")
    assert path.read_text() == "123\n"
    append_line(path, "45")
    assert path.read_text() == "123\n45\n"


def test_a_file_that_does_not_fit_leaves_the_one_before(tmp_path, most_bytes):
    path = tmp_path / "note.json"
    path.write_text("before")
    with pytest.raises(OSError, match="too large"), atomic_path(path) as temporary:
        temporary.write_text("a text of more than ten bytes")
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["note.json"]
