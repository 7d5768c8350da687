"""Seeds of the sub environments, and the global generators that some simulators draw from."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def sub_env_seeds(seed: int, num_envs: int) -> list[int]:
    """Return `num_envs` seeds (31 bit) that depend on `seed` alone.

    Consecutive integers would make sub environment 1 of seed 0 start like sub environment 0 of
    seed 1, so that neighbouring EnvRunners would repeat each other's episodes: the seeds are
    spread by a SeedSequence. A longer list begins with the shorter one.
    """
    state = np.random.SeedSequence(seed).generate_state(num_envs)
    return [int(word) & 0x7FFFFFFF for word in state]


def group_seeds(seed: int, num_envs: int, group_size: int) -> list[int]:
    """Return `num_envs` seeds as `sub_env_seeds`, each of which `group_size` neighbouring sub environments share."""
    seeds = sub_env_seeds(seed, -(-num_envs // group_size))
    return [seeds[i // group_size] for i in range(num_envs)]


def episode_seed(seed: int, episode: int) -> int:
    """Return the seed (31 bit) of the episode of this number, from 1, of a sub environment that began with `seed`."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0]) & 0x7FFFFFFF


def draw_seed() -> int:
    """Return a seed (31 bit) that nothing determines."""
    return int(np.random.SeedSequence().generate_state(1)[0]) & 0x7FFFFFFF


@contextmanager
def keep_random_states() -> Iterator[None]:
    """Leave the global generators as they were: an environment may seed them, and later draws must not depend on it."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
