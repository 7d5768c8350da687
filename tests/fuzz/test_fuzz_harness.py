"""The harness itself: it has to fail where a reader would."""

import time

import numpy as np
import pytest
from hypothesis import strategies as st

from rllib_scoreflow.errors import InputError


def test_a_refusal_and_a_result_pass(fuzz):
    def read(number):
        if number % 2:
            raise InputError(f"{number} is odd; give an even number")

    fuzz(st.integers(), lambda number, _: number, read)


def refuse_with_two_lines(_):
    raise InputError("one\ntwo")


def refuse_with_a_whole_file(_):
    raise InputError("x" * 5000)


def refuse_after_a_huge_allocation(_):
    try:
        np.ones(1 << 40)
    except MemoryError as error:
        raise InputError("too large") from error


@pytest.mark.parametrize(
    "read", [refuse_with_two_lines, refuse_with_a_whole_file, refuse_after_a_huge_allocation, lambda _: 1 / 0]
)
def test_what_a_reader_may_not_do_fails(fuzz, read):
    with pytest.raises((AssertionError, ZeroDivisionError)):
        fuzz(st.just(0), lambda number, _: number, read)


def compute(seconds):
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        pass


def test_a_slow_reader_fails(fuzz, monkeypatch):
    bounds = fuzz.__globals__["bounded"].__wrapped__.__globals__
    monkeypatch.setitem(bounds, "SECONDS", 0.05)
    with pytest.raises(AssertionError, match=r"took 0\.1 s"):
        fuzz(st.just(0), lambda number, _: number, lambda _: compute(0.1))
    monkeypatch.setitem(bounds, "WALL_SECONDS", 0.05)
    with pytest.raises(AssertionError, match=r"waited 0\.1 s"):
        fuzz(st.just(0), lambda number, _: number, lambda _: time.sleep(0.1))
