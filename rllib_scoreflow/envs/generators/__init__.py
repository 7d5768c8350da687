"""Demonstrations that make themselves: experts and oracles that are published together with their tasks."""

from rllib_scoreflow.envs.generators import metaworld, ogbench  # they register themselves
from rllib_scoreflow.envs.generators.base import GENERATORS, Episode, Generator, find_generator
from rllib_scoreflow.envs.generators.generate import generate_dataset

__all__ = ["GENERATORS", "Episode", "Generator", "find_generator", "generate_dataset", "metaworld", "ogbench"]
