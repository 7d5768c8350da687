"""Torch's threads in this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def use_threads(num_threads: int | None) -> None:
    """Sets torch's threads in this process; None takes all cores (Ray gives an actor one per reserved CPU)."""
    torch.set_num_threads(num_threads or len(os.sched_getaffinity(0)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Acting on a few observations is faster, and kinder to the other processes, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
