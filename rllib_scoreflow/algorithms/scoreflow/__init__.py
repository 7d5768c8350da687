"""ScoreFlow: PPO on the denoising chains of a flow policy."""

from rllib_scoreflow.algorithms.scoreflow.scoreflow import ScoreFlow, ScoreFlowConfig

__all__ = ["ScoreFlow", "ScoreFlowConfig"]
