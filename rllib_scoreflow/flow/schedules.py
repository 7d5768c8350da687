"""Learning-rate schedule in units of training iterations."""

import math


def cosine_with_restarts(iteration: int, *, peak: float, lowest: float, cycle: int, warmup: int) -> float:
    """Learning rate at `iteration` (from 0): linear warm-up, then a half cosine from `peak` to `lowest`, restarted.

    Args:
        iteration: Training iteration, from 0.
        peak: Highest value.
        lowest: Value that a warm-up starts above and that the cosine of a cycle approaches.
        cycle: Length of a cycle in iterations, warm-up included; 0 keeps `peak` after the warm-up.
        warmup: Iterations of linear warm-up at the start of every cycle.
    """
    position = iteration % cycle if cycle > 0 else iteration
    if position < warmup:
        return lowest + (peak - lowest) * (position + 1) / (warmup + 1)
    if cycle <= warmup:
        return peak
    fraction = (position - warmup) / (cycle - warmup)
    return lowest + (peak - lowest) * 0.5 * (1.0 + math.cos(math.pi * fraction))
