"""A full disk is one sentence, however deep Ray has wrapped it."""

import errno
import os
from pathlib import Path

import pytest

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.runs.failures import Interrupted, RunFailed, disk_is_full, naming_full_disk


def wrapped(error: BaseException) -> RuntimeError:
    try:
        raise RuntimeError("a trial failed") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "results/x"),
        wrapped(OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))),
        RuntimeError("ray::PPO.save() (pid=1)\nOSError: [Errno 28] Error writing bytes: No space left on device"),
    ],
)
def test_a_full_disk_is_told_with_the_place_and_how_to_go_on(tmp_path, error):
    assert disk_is_full(error)
    with (
        pytest.raises(RunFailed, match=r"^exp: the disk is full, .+ MiB left; make room .+: rllib x --resume$") as said,
        naming_full_disk("exp", tmp_path / "not made", "rllib x --resume"),
    ):
        raise error
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, os.strerror(errno.EIO)),
        InputError("the file says: No space left on device"),
        RunFailed("exp: failed"),
        Interrupted("exp was interrupted"),
        ValueError("no"),
    ],
)
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as said, naming_full_disk("exp", Path(), "rllib x --resume"):
        raise error
    assert said.value is error
