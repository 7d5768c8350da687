"""Fuzzing of everything that reads a file: an InputError of one sentence or a right result, within bounds.

A test takes the fixture `fuzz` and hands it a strategy, a function that writes an example into a folder, and one that
reads it. It runs a few examples by default and 500 among the slow tests; $FUZZ_EXAMPLES sets another number for those.
"""

import copy
import json
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
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from rllib_scoreflow.errors import InputError

FEW, MANY = 25, int(os.environ.get("FUZZ_EXAMPLES", "500"))
# Of the processor: what other programs or a busy disk take is no reader's. A reader that waits ends at the wall's.
SECONDS, WALL_SECONDS, BYTES = 5.0, 240.0, 2 << 30
# The paths and at most 200 characters of the file's own text.
MESSAGE_CHARACTERS = 1000

Fuzz = Callable[[SearchStrategy[Any], Callable[[Any, Path], Any], Callable[[Any], object]], None]


@contextmanager
def bounded() -> Iterator[None]:
    """Bound the address space to what is used now and `BYTES` more, and the time to `SECONDS`."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, hard))
    started, began = time.process_time(), time.monotonic()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    seconds, waited = time.process_time() - started, time.monotonic() - began
    assert seconds < SECONDS, f"took {seconds:.1f} s"
    assert waited < WALL_SECONDS, f"waited {waited:.1f} s"


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


# What stands in JSON where something else is expected; NaN, infinities and numbers of many digits among it.
_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([2**31, 2**63, -(2**63), 10**9, 10**30, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324]),
    st.text(max_size=8),
    st.sampled_from(["", "\ud800", "\x00", "\x1b[2J", "[bold]x[/]", "$x^", "../../x", "~nobody", "NaN", "x" * 5000]),
)
_KEYS = st.text(max_size=6) | st.just("a" * 300)
_ANYTHING = st.recursive(
    _ODD,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | st.just("a" * 300), inner, max_size=4)
    ),
    max_leaves=8,
)
_DEEP = st.integers(50, 5000).map(lambda depth: "[" * depth + "]" * depth)


def _places(content: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [above, *(place for key, value in items for place in _places(value, (*above, key)))]


@st.composite
def damaged_json(draw: st.DrawFn, content: Any) -> bytes:
    """The bytes of JSON in which something is another value, missing or more; or that are cut, altered, or deep."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from(_places(content)))
        if not place:
            content = draw(st.one_of(st.just(content), _ANYTHING))
            continue
        inside = content
        for key in place[:-1]:
            inside = inside[key]
        action = draw(st.sampled_from(["replace", "replace", "delete", "add"]))
        if action == "delete":
            del inside[place[-1]]
        elif action == "add" and isinstance(inside, dict):
            inside[draw(st.text(max_size=6))] = draw(_ANYTHING)
        else:
            inside[place[-1]] = draw(_ANYTHING)
    text = bytearray(json.dumps(content).encode())
    damage = draw(st.sampled_from(["none"] * 6 + ["cut", "byte", "deep"]))
    at = draw(st.integers(0, max(0, len(text) - 1)))
    if damage == "cut":
        del text[at:]
    elif damage == "byte" and text:
        text[at] = draw(st.integers(0, 255))
    elif damage == "deep":
        text[at:at] = draw(_DEEP).encode()
    return bytes(text)


@pytest.fixture(scope="session")
def damage() -> Callable[[Any], SearchStrategy[bytes]]:
    """Return a function from JSON content to a strategy of damaged forms of it."""
    return damaged_json
