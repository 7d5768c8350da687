"""ScoRe-Flow for RLlib: flow-matching robot policies, pretrained by behaviour cloning, fine-tuned by PPO on an SDE."""

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.moved import find_moved_modules

__all__ = ["InputError", "register"]

find_moved_modules()


def register() -> None:
    """Registers the algorithms "FlowBC" and "ScoreFlow" with Ray Tune in this process."""
    from rllib_scoreflow.algorithms.registry import register_algorithms

    register_algorithms()
