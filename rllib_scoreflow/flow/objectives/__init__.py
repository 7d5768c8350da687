"""What an update maximises; every module here registers one objective."""

from rllib_scoreflow.flow.objectives.base import (
    DEFAULT_OBJECTIVE,
    OBJECTIVES,
    Objective,
    Surrogate,
    make_objective,
)
from rllib_scoreflow.flow.objectives.chain import RANDOM_STEP, ChainObjective, random_step_of
from rllib_scoreflow.flow.objectives.fpo import FlowPolicyOptimization

__all__ = [
    "DEFAULT_OBJECTIVE",
    "OBJECTIVES",
    "RANDOM_STEP",
    "ChainObjective",
    "FlowPolicyOptimization",
    "Objective",
    "Surrogate",
    "make_objective",
    "random_step_of",
]
