"""Names under which Ray Tune and experiment files know the algorithms."""

from ray.tune.registry import register_trainable

from rllib_scoreflow.algorithms.common.ray_adapter import find_registered_env
from rllib_scoreflow.algorithms.flow_bc import FlowBC
from rllib_scoreflow.algorithms.scoreflow import ScoreFlow
from rllib_scoreflow.envs.classes import add_lookup

ALGORITHMS: dict[str, type] = {"FlowBC": FlowBC, "ScoreFlow": ScoreFlow}


def register_algorithms() -> None:
    """Registers both trainables in this process, and lets environments be found that are registered with Tune."""
    add_lookup(find_registered_env)
    for name, algorithm in ALGORITHMS.items():
        register_trainable(name, algorithm)
