"""Chunked vector environments: one step of the environment is one chunk of actions."""

from rllib_scoreflow.envs.chunk_vector_env import ChunkVectorEnv
from rllib_scoreflow.envs.make import make_chunk_vector_env, require_time_limit
from rllib_scoreflow.envs.metaworld import register_metaworld_tasks
from rllib_scoreflow.envs.ogbench import register_ogbench_tasks
from rllib_scoreflow.envs.resolve import EnvSource, resolve_env
from rllib_scoreflow.envs.robosuite.tasks import register_robomimic_tasks
from rllib_scoreflow.envs.seeding import sub_env_seeds
from rllib_scoreflow.envs.settings import EnvSettings
from rllib_scoreflow.envs.single_env import EnvDims, env_dims, make_single_env
from rllib_scoreflow.envs.spaces import observation_space
from rllib_scoreflow.envs.standard import is_standard
from rllib_scoreflow.envs.trial_steps import try_env

__all__ = [
    "ChunkVectorEnv",
    "EnvDims",
    "EnvSettings",
    "EnvSource",
    "env_dims",
    "is_standard",
    "make_chunk_vector_env",
    "make_single_env",
    "observation_space",
    "require_time_limit",
    "resolve_env",
    "sub_env_seeds",
    "try_env",
]

register_robomimic_tasks()
register_metaworld_tasks()
register_ogbench_tasks()
