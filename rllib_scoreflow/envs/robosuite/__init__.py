"""Robomimic's tasks on robosuite."""
