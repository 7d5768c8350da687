"""Fuzzing of everything that reads a file: an InputError of one sentence or a right result, within bounds.

A test takes the fixture `fuzz` and hands it a strategy, a function that writes an example into a folder, and one that
reads it. It runs a few examples by default and 500 among the slow tests; $FUZZ_EXAMPLES sets another number for those.
"""

import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from rllib_scoreflow.errors import InputError

FEW, MANY = 25, int(os.environ.get("FUZZ_EXAMPLES", "500"))
SECONDS, BYTES = 5.0, 2 << 30
# The paths and at most 200 characters of the file's own text.
MESSAGE_CHARACTERS = 1000

Fuzz = Callable[[SearchStrategy[Any], Callable[[Any, Path], Any], Callable[[Any], object]], None]


@contextmanager
def bounded() -> Iterator[None]:
    """Bound the address space to what is used now and `BYTES` more, and the time to `SECONDS`."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, hard))
    started = time.monotonic()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    seconds = time.monotonic() - started
    assert seconds < SECONDS, f"took {seconds:.1f} s"


def check_refusal(error: InputError) -> None:
    """One short sentence, and not the consequence of an allocation beyond the bound."""
    message = str(error)
    assert message
    assert "\n" not in message
    assert len(message) < MESSAGE_CHARACTERS
    cause: BaseException | None = error
    while cause is not None:
        assert not isinstance(cause, MemoryError), "refused only after it had asked for more memory than there is"
        cause = cause.__cause__ or cause.__context__


@pytest.fixture(
    params=[
        pytest.param(FEW, id="few"),
        pytest.param(MANY, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ]
)
def fuzz(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fuzz:
    """Return `fuzz(strategy, write, read)`.

    Of each example of the strategy, `write(example, folder)` makes a file in an empty folder (and may say by
    `hypothesis.assume` that it cannot); what it returns is given to `read` within the bounds. `read` may raise
    InputError, else it has to return; it asserts for itself that its result is right.
    """
    number = request.param
    # Nothing that a test reads belongs in the user's cache, and the bars would fill the log.
    monkeypatch.setenv("RLLIB_SCOREFLOW_CACHE", str(tmp_path / "cache"))

    def run(strategy: SearchStrategy[Any], write: Callable[[Any, Path], Any], read: Callable[[Any], object]) -> None:
        @settings(
            max_examples=number,
            deadline=None,
            database=None,
            derandomize=number == FEW,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def check(example: Any) -> None:
            folder = tmp_path / "example"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            written = write(example, folder)
            with bounded():
                try:
                    read(written)
                except InputError as error:
                    check_refusal(error)

        check()

    return run
