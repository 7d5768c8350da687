"""Places that cannot be written are named, by the name that the user gave, before the work."""

import time
from pathlib import Path

import pytest

from rllib_scoreflow.data.convert import convert_dataset
from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import atomic_path, require_writable

POLICY = Path(__file__).parents[1] / "policy" / "fixtures" / "schema-1" / "scoreflow"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("policy", "export", POLICY, "--output"), "x.onnx"),
        (("evaluate", POLICY, "--video"), "x.mp4"),
        (("evaluate", POLICY, "--contact-sheet"), "x.png"),
        (("evaluate", POLICY, "--sweep", "--plot"), "x.png"),
        (("dataset", "convert", "hopper-small"), "x.parquet"),
    ],
)
def test_a_folder_that_takes_no_files_is_said_before_the_work(refused, words, name):
    begin = time.process_time()
    told = refused(*words, f"/proc/self/{name}")  # where not even the superuser can make a file
    assert f"/proc/self/{name}" in told
    assert "annot" in told
    assert ".tmp" not in told
    assert time.process_time() - begin < 15


def test_an_error_names_the_file_and_not_its_temporary_sibling(tmp_path):
    def write():
        with atomic_path(tmp_path / "no" / "x.json") as temporary:
            temporary.write_text("x")

    for attempt in (write, lambda: require_writable(tmp_path / "no" / "x.json")):
        with pytest.raises(OSError, match=r"no/x\.json'") as error:
            attempt()
        assert error.value.filename == str(tmp_path / "no" / "x.json")


def test_a_conversion_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"cannot write /proc/self/x\.parquet"):
        convert_dataset("hopper-small", Path("/proc/self/x.parquet"), ReadOptions(), cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
