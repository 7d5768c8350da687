"""Seeds of the sub environments."""

import numpy as np


def sub_env_seeds(seed: int, num_envs: int) -> list[int]:
    """Return `num_envs` seeds (31 bit) that depend on `seed` alone.

    Consecutive integers would make sub environment 1 of seed 0 start like sub environment 0 of
    seed 1, so that neighbouring EnvRunners would repeat each other's episodes: the seeds are
    spread by a SeedSequence. A longer list begins with the shorter one.
    """
    state = np.random.SeedSequence(seed).generate_state(num_envs)
    return [int(word) & 0x7FFFFFFF for word in state]
