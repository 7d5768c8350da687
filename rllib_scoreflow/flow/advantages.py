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
        values: `V(o_0) .. V(o_T)`, `[T + 1]`; the last one belongs to the final observation. Zeros without a critic.
        terminated: Whether the environment terminated at the end of the fragment.
        done: Whether the episode ends with the fragment, by termination or by a time limit.
        group: Name that episodes from the same reset seed share; None where seeds are not shared.
    """

    episode: str
    rewards: FloatArray
    values: FloatArray
    terminated: bool
    done: bool
    group: str | None = None


class AdvantageEstimator(Protocol):
    """Advantages of a whole rollout, made by `ESTIMATORS[name](gamma=..., lambda_=...)`."""

    def __call__(self, fragments: Sequence[Fragment]) -> list[FloatArray]:
        """The advantages `[T]` of every fragment; value targets are these plus the values."""
        ...


class EstimatorFactory(Protocol):
    """What a registered estimator is called with: the discount and the trace decay, per decision.

    It may have two attributes: `needs_critic = False`, without which there is a critic and it is trained on the
    advantages plus its values, and `needs_groups = True`, with which `group_size` episodes come from every reset seed,
    fragments are whole episodes but for those that the end of a rollout cuts, and advantages are used as they are;
    others are normalised over every minibatch.
    """

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


@ESTIMATORS.register("group")
class GroupAdvantages:
    """Return of an episode among those from its own reset seed, in deviations from their mean (GRPO, arXiv 2402.03300).

    It is the same for all decisions of an episode; rewards are not discounted. A group whose returns are all equal has
    advantages of 0. An episode that the end of the rollout cuts has 0 and is not compared, unless all of its group are
    cut after the same number of decisions: then their returns so far are compared.
    """

    needs_critic = False
    needs_groups = True

    def __init__(self, *, gamma: float, lambda_: float) -> None:
        """Has no use for discount and trace decay."""

    def __call__(self, fragments: Sequence[Fragment]) -> list[FloatArray]:
        """Advantages `[T]` of every fragment."""
        groups: dict[str | None, list[int]] = {}
        for place, fragment in enumerate(fragments):
            groups.setdefault(fragment.group, []).append(place)
        scores = np.zeros(len(fragments))
        for places in groups.values():
            members = [fragments[place] for place in places]
            alike = len({len(member.rewards) for member in members}) == 1 and not any(each.done for each in members)
            compared = [place for place in places if alike or fragments[place].done]
            scores[compared] = _standardize([float(fragments[place].rewards.sum()) for place in compared])
        return [np.full(len(fragment.rewards), score) for fragment, score in zip(fragments, scores, strict=True)]


def _standardize(returns: Sequence[float]) -> FloatArray:
    """`(return - mean) / std`, and 0 where all returns are equal."""
    values = np.asarray(returns, dtype=np.float64)
    if len(values) == 0:
        return values
    deviation = values.std()
    if deviation <= _SMALLEST_SCALE * max(1.0, float(np.abs(values).max())):
        return np.zeros_like(values)
    standardized: FloatArray = (values - values.mean()) / deviation
    return standardized


def needs_critic(estimator: object) -> bool:
    """Whether an estimator, or its factory, uses the values of a critic."""
    return bool(getattr(estimator, "needs_critic", True))


def needs_groups(estimator: object) -> bool:
    """Whether an estimator, or its factory, compares episodes from the same reset seed."""
    return bool(getattr(estimator, "needs_groups", False))


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
