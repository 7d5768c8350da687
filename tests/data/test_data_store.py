"""Files appear whole or not at all."""

import pytest

from rllib_scoreflow.data.readers.d4rl import read_d4rl_hdf5
from rllib_scoreflow.data.schema import describe
from rllib_scoreflow.data.store import to_table, write_arrow, write_parquet
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import atomic_path


@pytest.fixture
def table(tmp_path, columns, write):
    raw = read_d4rl_hdf5(write(tmp_path / "d.hdf5", columns))
    return to_table(raw, describe(raw, name="d", source="", source_sha256="", env_id=None))


def test_a_failure_leaves_nothing(tmp_path):
    target = tmp_path / "out" / "x.bin"
    target.parent.mkdir()

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(target.parent.iterdir()) == []


def test_a_failure_keeps_the_former_file(tmp_path):
    target = tmp_path / "x.bin"
    target.write_bytes(b"former")

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_half()
    assert target.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("write_table", [write_parquet, write_arrow])
def test_a_failing_writer_leaves_nothing(tmp_path, table, write_table):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "x").mkdir()  # a folder in the place of the file: the final move must fail
    (folder / "x" / "keep").write_text("")
    with pytest.raises((OSError, InputError)):
        write_table(table, folder / "x")
    assert [p.name for p in folder.iterdir()] == ["x"]


def test_an_existing_parquet_file_is_not_overwritten(tmp_path, table):
    target = tmp_path / "x.parquet"
    target.write_text("mine")
    with pytest.raises(InputError, match=r"x\.parquet: the file exists already"):
        write_parquet(table, target)
    assert target.read_text() == "mine"
