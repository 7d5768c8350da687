"""The command's name for `rllib_scoreflow.suggest`."""

from rllib_scoreflow.suggest import hint, nearest

__all__ = ["hint", "nearest"]
