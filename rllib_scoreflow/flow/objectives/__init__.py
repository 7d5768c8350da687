"""What an update maximises; every module here registers one objective."""

from rllib_scoreflow.flow.objectives.base import (
    DEFAULT_OBJECTIVE,
    OBJECTIVES,
    Objective,
    Surrogate,
    make_objective,
    objective_class,
)
from rllib_scoreflow.flow.objectives.chain import ChainObjective
from rllib_scoreflow.flow.objectives.fpo import FlowPolicyOptimization

__all__ = [
    "DEFAULT_OBJECTIVE",
    "OBJECTIVES",
    "ChainObjective",
    "FlowPolicyOptimization",
    "Objective",
    "Surrogate",
    "make_objective",
    "objective_class",
]
