"""Names under which Ray Tune and experiment files know the algorithms."""

from ray.tune.registry import register_trainable

from rllib_scoreflow.algorithms.flow_bc import FlowBC
from rllib_scoreflow.algorithms.scoreflow import ScoreFlow

ALGORITHMS: dict[str, type] = {"FlowBC": FlowBC, "ScoreFlow": ScoreFlow}


def register_algorithms() -> None:
    """Registers both trainables in this process."""
    for name, algorithm in ALGORITHMS.items():
        register_trainable(name, algorithm)
