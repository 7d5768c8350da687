"""Kinds of velocity field: one module each, chosen by `velocity: {kind: NAME}`."""

from rllib_scoreflow.flow.kinds.base import KINDS, NOISE, STEP, TIME, Draws, VelocityKind
from rllib_scoreflow.flow.kinds.epsilon import Epsilon
from rllib_scoreflow.flow.kinds.flow import Flow
from rllib_scoreflow.flow.kinds.meanflow import MeanFlow
from rllib_scoreflow.flow.kinds.shortcut import Shortcut

__all__ = ["KINDS", "NOISE", "STEP", "TIME", "Draws", "Epsilon", "Flow", "MeanFlow", "Shortcut", "VelocityKind"]
