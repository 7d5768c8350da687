"""How long a policy takes to decide."""

import time

from rllib_scoreflow.evaluation.evaluate import Act
from rllib_scoreflow.observations import Observation

_CALLS = 25


def seconds_per_action(act: Act, observation: Observation, act_steps: int) -> float:
    """Return the time that a policy needs for one primitive action, in seconds.

    This is the shortest of a few calls (others were interrupted by the machine's other work) with one observation, as
    on a robot, divided by the actions that are executed of a chunk. The simulator has no part in it.

    Args:
        act: observations [1, ...] -> [1, horizon * A].
        observation: with a first axis of length 1.
        act_steps: primitive steps executed per chunk.
    """
    seconds = []
    for _ in range(_CALLS):
        began = time.perf_counter()
        act(observation)
        seconds.append(time.perf_counter() - began)
    return min(seconds) / act_steps
