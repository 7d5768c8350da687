"""A checkpoint is taken whole, or the one before it is."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.manifest import MANIFEST, find_damage, newest_whole, write_manifest


def checkpoint(folder: Path, iteration: int) -> Path:
    (folder / "learner").mkdir(parents=True)
    (folder / "state.pkl").write_bytes(bytes(range(100)))
    (folder / "learner" / "weights.bin").write_bytes(b"weights %d" % iteration * 9)
    write_manifest(folder, iteration)
    return folder


@pytest.fixture
def three(tmp_path) -> list[Path]:
    return [checkpoint(tmp_path / f"checkpoint_00000{number}", 5 * (number + 1)) for number in range(3)]


def test_a_whole_checkpoint_is_taken(three) -> None:
    assert newest_whole(three[2]) == (three[2], 15, None)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data())
def test_a_file_cut_off_or_changed_anywhere_is_noticed(tmp_path_factory, data) -> None:
    folder = checkpoint(tmp_path_factory.mktemp("run") / "checkpoint_000000", 5)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(content[:position])
    elif path.name != MANIFEST:
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    else:
        path.unlink()
    assert find_damage(folder) is not None


def test_the_newest_whole_one_before_a_damaged_one_is_taken(three) -> None:
    (three[2] / "state.pkl").write_bytes(b"cut")
    taken, iteration, reason = newest_whole(three[2])
    assert (taken, iteration) == (three[1], 10)
    assert reason == "state.pkl is not what was written"
    (three[1] / MANIFEST).unlink()
    assert newest_whole(three[2])[:2] == (three[0], 5)


def test_a_newer_one_is_not_taken_for_an_older_one(three) -> None:
    (three[1] / "learner" / "weights.bin").unlink()
    taken, _, reason = newest_whole(three[1])
    assert taken == three[0]
    assert reason == "learner/weights.bin is missing"


def test_no_whole_checkpoint_at_all(three) -> None:
    (three[0] / "state.pkl").unlink()
    with pytest.raises(InputError, match=r"checkpoint_000000 is damaged \(state.pkl is missing\)"):
        newest_whole(three[0])
