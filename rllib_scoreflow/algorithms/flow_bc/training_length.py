"""How long a cloning lasts, as far as its `stop` says so beforehand."""

import math
from collections.abc import Mapping

GRADIENT_STEPS = "gradient_steps"
"""Result: gradient steps of all epochs so far."""
_EPOCHS = ("training_iteration", "epoch")


def planned_epochs(stop: Mapping[str, float] | None, steps_per_epoch: int) -> int | None:
    """Epochs after which a `stop` ends the training, the last one perhaps not whole.

    Args:
        stop: Result -> value that ends the training; the first one that is reached counts.
        steps_per_epoch: Gradient steps of a whole epoch.

    Returns:
        At least 1; None where no key tells (such as a time or a loss).
    """
    stop = stop or {}
    ends = [stop[key] for key in _EPOCHS if key in stop]
    if GRADIENT_STEPS in stop:
        ends.append(stop[GRADIENT_STEPS] / steps_per_epoch)
    finite = [math.ceil(end) for end in ends if math.isfinite(end)]
    return max(1, min(finite)) if finite else None


def steps_left(stop: Mapping[str, float] | None, done: int) -> int | None:
    """Gradient steps until `stop: {gradient_steps: N}` is reached.

    Args:
        stop: As above.
        done: Gradient steps so far.

    Returns:
        At least 1; None where the number of steps ends nothing, or has been reached: a training that goes on beyond
        its first `stop` has whole epochs again.
    """
    wanted = (stop or {}).get(GRADIENT_STEPS, math.inf)
    return math.ceil(wanted) - done if math.isfinite(wanted) and done < wanted else None
