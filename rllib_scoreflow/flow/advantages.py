"""Advantage estimators and reward scaling on plain arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rllib_scoreflow.registry import Registry

FloatArray = npt.NDArray[np.float64]

_SMALLEST_SCALE = 1e-8  # below it all returns seen are equal, and there is no scale to speak of


def generalized_advantages(
    rewards: FloatArray, values: FloatArray, *, terminated: bool, gamma: float, lambda_: float
) -> FloatArray:
    """GAE of one episode fragment (Schulman et al. 2016), gamma and lambda per decision.

    Args:
        rewards: `[T]`.
        values: `V(o_0) .. V(o_T)`, `[T + 1]`; the last one belongs to the final observation and is used unless the
            fragment ends in a terminal state. A fragment cut by a time limit or by the end of a rollout bootstraps.
        terminated: Whether the environment terminated at the end of the fragment.
        gamma: Discount per decision.
        lambda_: Trace decay per decision.

    Returns:
        Advantages, `[T]`.
    """
    bootstrapped = values.copy()
    if terminated:
        bootstrapped[-1] = 0.0
    deltas = rewards + gamma * bootstrapped[1:] - values[:-1]
    advantages = np.empty_like(deltas)
    running = 0.0
    for step in range(len(deltas) - 1, -1, -1):
        running = deltas[step] + gamma * lambda_ * running
        advantages[step] = running
    return advantages


@dataclass(frozen=True)
class Fragment:
    """What an estimator is told of a part of an episode, of `T` decisions.

    Attributes:
        episode: Id of the episode, the same for all its fragments.
        rewards: Scaled rewards, `[T]`.
        values: `V(o_0) .. V(o_T)`, `[T + 1]`; the last one belongs to the final observation.
        terminated: Whether the environment terminated at the end of the fragment.
        done: Whether the episode ends with the fragment, by termination or by a time limit.
    """

    episode: str
    rewards: FloatArray
    values: FloatArray
    terminated: bool
    done: bool


class AdvantageEstimator(Protocol):
    """Advantages of a whole rollout, made by `ESTIMATORS[name](gamma=..., lambda_=...)`."""

    def __call__(self, fragments: Sequence[Fragment]) -> list[FloatArray]:
        """The advantages `[T]` of every fragment; value targets are these plus the values."""
        ...


class EstimatorFactory(Protocol):
    """What a registered estimator is called with: the discount and the trace decay, per decision."""

    def __call__(self, *, gamma: float, lambda_: float) -> AdvantageEstimator:
        """An estimator for these."""
        ...


ESTIMATORS: Registry[EstimatorFactory] = Registry("advantage estimator", "advantages")
"""Advantage estimators by the name that `advantages` gives them."""


@ESTIMATORS.register("gae")
class GeneralizedAdvantages:
    """`generalized_advantages` of every fragment."""

    def __init__(self, *, gamma: float, lambda_: float) -> None:
        """Takes discount and trace decay per decision."""
        self.gamma = gamma
        self.lambda_ = lambda_

    def __call__(self, fragments: Sequence[Fragment]) -> list[FloatArray]:
        """Advantages `[T]` of every fragment."""
        return [
            generalized_advantages(
                fragment.rewards,
                fragment.values,
                terminated=fragment.terminated,
                gamma=self.gamma,
                lambda_=self.lambda_,
            )
            for fragment in fragments
        ]


def scale_rewards(rewards: npt.ArrayLike, scale: float, clip: float | None) -> FloatArray:
    """Rewards `[T]` divided by `scale` and bounded to `[-clip, clip]` (None: unbounded).

    The first success of a sparse task is hundreds of the scale that the rewards before it have left.
    """
    scaled = np.asarray(rewards, dtype=np.float64) / scale
    return scaled if clip is None else scaled.clip(-clip, clip)


class RunningRewardScaler:
    """Scales rewards by the running standard deviation of the discounted return.

    Every stream (episode) has its own discounted return; the moments over all of them are updated by the parallel
    form of Welford's algorithm. Rewards are not centred.
    """

    def __init__(self, gamma: float) -> None:
        """Starts without observations: the scale is 1 until two have been seen."""
        self.gamma = gamma
        self.count = 0.0
        self.mean = 0.0
        self.sum_of_squares = 0.0
        self.ongoing: dict[str, float] = {}

    @property
    def scale(self) -> float:
        """Standard deviation of the discounted returns seen so far."""
        if self.count < 2:
            return 1.0
        deviation = float(np.sqrt(self.sum_of_squares / self.count))
        return deviation if deviation > _SMALLEST_SCALE else 1.0

    def observe(self, stream: str, rewards: FloatArray, *, done: bool) -> None:
        """Takes in the next rewards `[T]` of `stream`; `done` forgets its discounted return."""
        running = self.ongoing.pop(stream, 0.0)
        discounted = np.empty(len(rewards))
        for step, reward in enumerate(rewards):
            running = running * self.gamma + float(reward)
            discounted[step] = running
        if not done:
            self.ongoing[stream] = running
        if len(discounted) == 0:
            return
        self._merge(float(len(discounted)), float(discounted.mean()), float(discounted.var()))

    def get_state(self) -> dict[str, object]:
        """State for a checkpoint: plain numbers and strings."""
        return {
            "count": self.count,
            "mean": self.mean,
            "sum_of_squares": self.sum_of_squares,
            "ongoing": dict(self.ongoing),
        }

    def set_state(self, state: dict[str, object]) -> None:
        """Restores a state of `get_state`."""
        self.count = float(state["count"])  # type: ignore[arg-type]
        self.mean = float(state["mean"])  # type: ignore[arg-type]
        self.sum_of_squares = float(state["sum_of_squares"])  # type: ignore[arg-type]
        self.ongoing = dict(state["ongoing"])  # type: ignore[call-overload]

    def _merge(self, count: float, mean: float, variance: float) -> None:
        total = self.count + count
        delta = mean - self.mean
        self.sum_of_squares += variance * count + delta * delta * self.count * count / total
        self.mean += delta * count / total
        self.count = total
