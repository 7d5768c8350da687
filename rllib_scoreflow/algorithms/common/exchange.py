"""What Learners of one group tell each other, so that several do what one would do with all the rows."""

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def rank() -> int:
    """Number of this Learner in its group; 0 where there is one."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def world_size() -> int:
    """Number of Learners in the group."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def sum_over_learners(value: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor over all Learners; the tensor itself with one Learner."""
    if world_size() == 1:
        return value
    reduced = value.detach().clone()
    torch.distributed.all_reduce(reduced)
    return reduced


def run_together(work: Callable[[], Result], device: torch.device) -> Result:
    """Does this Learner's part of something; if it fails on one Learner, all raise, and none waits for the others.

    Args:
        work: What to do; it takes part in no exchange.
        device: Of the exchange.

    Raises:
        Exception: What `work` raised here.
        RuntimeError: If it failed on another Learner.
    """
    try:
        result = work()
    except Exception:
        sum_over_learners(torch.ones((), device=device))
        raise
    if float(sum_over_learners(torch.zeros((), device=device))):
        raise RuntimeError("Another Learner failed; its own error says why.")
    return result


def own_range(rows: int, device: torch.device) -> tuple[int, int]:
    """Where this Learner's rows lie in all Learners' rows, one Learner's behind the other's, and how many there are.

    Args:
        rows: Number of this Learner's rows.
        device: Of the exchange.

    Returns:
        First index of this Learner's rows, and the number of rows of all Learners.
    """
    counts = torch.zeros(world_size(), dtype=torch.int64, device=device)
    counts[rank()] = rows
    counts = sum_over_learners(counts)
    return int(counts[: rank()].sum()), int(counts.sum())


def draw_share(draw: Callable[[int], torch.Tensor], rows: int) -> torch.Tensor:
    """This Learner's rows of what a single Learner would draw for the whole batch.

    All Learners draw for everybody from generators in the same state and keep every `world_size()`-th row, so that
    an update does not depend on how many Learners share it.

    Args:
        draw: From a number of rows to a tensor with as many.
        rows: Number of this Learner's rows; the others have as many.
    """
    return draw(rows * world_size())[rank() :: world_size()]
