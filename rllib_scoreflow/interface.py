"""What goes into a policy and comes out of it, as a policy, a dataset and an environment each describe it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.errors import InputError, quote

ImageShape: TypeAlias = tuple[int, int, int, int]

# Recorded float32 actions may lie one rounding outside bounds that are float64 in the environment.
_BOUND_TOLERANCE = 1e-5
# What to do where sizes, images or actions do not fit.
_REMEDIES = {
    "policy": (
        "choose the policy of this task",
        "set 'env_config' alike",
        "choose the environment that its dataset was recorded on, or rescale the actions in a wrapper of it",
    ),
    "dataset": (
        "choose the environment of this dataset or a dataset of this environment",
        "set the same cameras and image size in 'cameras' and in 'env_config'",
        "rescale or clip the recorded actions",
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Interface:
    """The observations and actions of a policy, a dataset or an environment.

    Attributes:
        kind: which of the three it is.
        name: what messages call it.
        observation_dim: `O`, numbers of the state vector.
        action_dim: `A`, numbers of the action of one environment step.
        action_low: `[A]` the least actions, in the environment's units: of a dataset and its policy the least recorded.
        action_high: `[A]` the largest ones.
        image_shape: `(V, H, W, 3)` of the images of one observation, None without cameras.
        cameras: names of the `V` cameras in the images' order; empty without cameras or where they are not known.
    """

    kind: Literal["policy", "dataset", "environment"]
    name: str
    observation_dim: int
    action_dim: int
    action_low: NDArray[np.floating]
    action_high: NDArray[np.floating]
    image_shape: ImageShape | None = None
    cameras: tuple[str, ...] = ()


def check_fits(one: Interface, env: Interface) -> None:
    """Refuses a policy or a dataset that does not fit an environment.

    Args:
        one: The policy or the dataset.
        env: The environment.

    Raises:
        InputError: States, actions or images are of other sizes, the cameras are in another order, or actions lie
            outside the environment's bounds by more than rounding.
    """
    size_remedy, image_remedy, bound_remedy = _REMEDIES[one.kind]
    other = f"the environment {quote(env.name)}"
    found, expected = ((each.observation_dim, each.action_dim) for each in (one, env))
    if found != expected:
        raise InputError(
            f"{one.name} has {found[0]} observation and {found[1]} action dimensions, {other} has {expected[0]} and "
            f"{expected[1]}; {size_remedy}"
        )
    if one.image_shape != env.image_shape:
        raise InputError(
            f"{one.name} has images of shape {one.image_shape} (cameras, height, width, 3), {other} has "
            f"{env.image_shape}; {image_remedy}"
        )
    # Other names may stand for the same cameras; the same names in another order do not.
    if one.cameras != env.cameras and sorted(one.cameras) == sorted(env.cameras):
        raise InputError(
            f"{one.name} has the cameras {', '.join(one.cameras)} in this order, {other} has {', '.join(env.cameras)}; "
            f"{image_remedy}"
        )
    dim = dimension_outside(one.action_low, one.action_high, env.action_low, env.action_high)
    if dim is not None:
        raise InputError(
            f"{one.name} has actions from {one.action_low[dim]:g} to {one.action_high[dim]:g} in dimension {dim}, "
            f"outside the bounds {env.action_low[dim]:g} to {env.action_high[dim]:g} of {other}; {bound_remedy}"
        )


def dimension_outside(
    found_low: NDArray[np.floating],
    found_high: NDArray[np.floating],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
) -> int | None:
    """Returns the first dimension in which a range lies outside bounds by more than rounding, None where none does.

    Args:
        found_low: `[A]` the least actions.
        found_high: `[A]` the largest ones.
        low: `[A]` lower action bounds of an environment, -inf where there are none.
        high: `[A]` upper action bounds.
    """
    sizes = np.stack([np.abs(low), np.abs(high)])
    largest = np.max(np.where(np.isfinite(sizes), sizes, 0.0), axis=0)
    # At least 1e-5, but no more than a hundredth of narrow bounds.
    margin = np.maximum(np.minimum(_BOUND_TOLERANCE, 0.01 * largest), 2 * _BOUND_TOLERANCE * largest)
    outside = (found_low < low - margin) | (found_high > high + margin)
    return int(np.argmax(outside)) if outside.any() else None


def image_shape(cameras: Sequence[str], image_size: tuple[int, int] | None) -> ImageShape | None:
    """Returns the shape `(V, H, W, 3)` of the images of one observation, None without an `image_size` `(H, W)`."""
    return None if image_size is None else (len(cameras), *image_size, 3)


def check_act_steps(act_steps: int, horizon: int) -> None:
    """Refuses to execute more steps of an action chunk than it has.

    Args:
        act_steps: Steps of a chunk that are executed before the next one is predicted.
        horizon: Steps of a chunk.

    Raises:
        InputError: If `act_steps` is not between 1 and `horizon`.
    """
    if not 1 <= act_steps <= horizon:
        raise InputError(f"act_steps is {act_steps}: choose 1 to horizon, which is {horizon}")
