"""A start for a policy's chains by search: the one of some random vectors with which the return is highest.

Such a "golden ticket" is found on some episodes and judged on others: the best of many is lucky on its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rllib_scoreflow.evaluation.paired import Manner, Place, play_same_episodes
from rllib_scoreflow.evaluation.result import EvaluationResult
from rllib_scoreflow.policy import FlowPolicy


@dataclass(frozen=True)
class Candidate:
    """A start and what was found with it.

    Attributes:
        policy: the policy with that start.
        result: of the episodes on which it was searched.
    """

    policy: FlowPolicy
    result: EvaluationResult


def search_start(
    policy: FlowPolicy,
    place: Place,
    *,
    candidates: int,
    episodes: int,
    seed: int,
    report: Callable[[int, EvaluationResult], None] | None = None,
) -> Candidate:
    """Play every candidate on the same episodes and return the one of the highest mean return.

    The candidates are drawn from `N(0, I)`, as a random start would be.

    Args:
        policy: the policy; it is left as it is.
        place: the environment.
        candidates: how many starts to try.
        episodes: number of episodes of each.
        seed: of the candidates, and of the episodes' initial states.
        report: called with the number of every candidate, from 1, and what was found with it.

    Raises:
        InputError: as evaluate_policy.
    """
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn((candidates, policy.config.chunk_dim), generator=generator).numpy()
    best: Candidate | None = None
    for number, vector in enumerate(vectors, 1):
        started = policy.with_start("learned", vector.astype(np.float32))
        result = play_same_episodes(started, Manner(), place, episodes=episodes, seed=seed)
        if report is not None:
            report(number, result)
        if best is None or result.return_mean > best.result.return_mean:
            best = Candidate(started, result)
    assert best is not None
    return best
