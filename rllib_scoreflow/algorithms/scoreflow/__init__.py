"""ScoreFlow: PPO on the denoising chains of a flow policy."""

from rllib_scoreflow.algorithms.scoreflow.scoreflow import ScoreFlow
from rllib_scoreflow.algorithms.scoreflow.scoreflow_config import ScoreFlowConfig

__all__ = ["ScoreFlow", "ScoreFlowConfig"]
