"""Wall-clock and CPU seconds of named parts of a run, in one process."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Seconds:
    """A point in time or a duration on both clocks.

    Attributes:
        wall: Seconds by the wall; stretched by whatever else runs on the machine.
        cpu: CPU seconds of all threads of this process; hardly touched by other processes.
    """

    wall: float = 0.0
    cpu: float = 0.0

    @classmethod
    def now(cls) -> "Seconds":
        """The present point in time."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)

    def share_of(self, total: "Seconds") -> dict[str, float]:
        """This duration over another, by clock."""
        return {"wall": self.wall / total.wall, "cpu": self.cpu / total.cpu}

    def rate(self, amount: float) -> dict[str, float]:
        """Amount per second, by clock (`cpu`: per CPU second of the process)."""
        return {"wall": amount / self.wall, "cpu": amount / self.cpu}


class PartTimer:
    """Adds up the time of named parts; parts may contain one another.

    Attributes:
        parts: Duration by name since the last `clear()`.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.parts: dict[str, Seconds] = {}
        self._begun: dict[str, Seconds] = {}

    def clear(self) -> None:
        """Forgets all parts."""
        self.parts = {}

    def begin(self, name: str) -> None:
        """Starts the clock of a part."""
        self._begun[name] = Seconds.now()

    def end(self, name: str) -> None:
        """Adds the time since `begin(name)` to the part."""
        self.parts[name] = self.parts.get(name, Seconds()) + (Seconds.now() - self._begun.pop(name))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """The block is (another piece of) the part."""
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, every call of which is a piece of the part."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return timed

    @contextmanager
    def timed_backward(self, name: str) -> Iterator[None]:
        """Within the block, every `Tensor.backward()` is a piece of the part."""
        original = torch.Tensor.backward
        torch.Tensor.backward = self.wrap(name, original)  # type: ignore[method-assign]
        try:
            yield
        finally:
            torch.Tensor.backward = original  # type: ignore[method-assign]


def median_by_clock(values: Iterable[dict[str, float]]) -> dict[str, float]:
    """Medians over rounds of values that have an entry per clock."""
    rounds = list(values)
    return {clock: statistics.median(value[clock] for value in rounds) for clock in rounds[0]}


def matmul_flops(threads: int, size: int = 2048, repeats: int = 3) -> dict[str, float]:
    """Float32 matrix-multiply rate of this machine in FLOP/s.

    `wall` is for the `threads` that torch has; `cpu` is per CPU second, times `threads`, so that the two agree on a
    machine that has nothing else to do.
    """
    left, right = torch.randn(size, size), torch.randn(size, size)
    torch.mm(left, right)
    start = Seconds.now()
    for _ in range(repeats):
        torch.mm(left, right)
    rate = (Seconds.now() - start).rate(2.0 * size**3 * repeats)
    return {"wall": rate["wall"], "cpu": rate["cpu"] * threads}
