"""Reading what an environment returns: gymnasium's contract, checked at every reset and step."""

import logging
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.settings import SuccessRule
from rllib_scoreflow.errors import InputError, SimulatorError, quote, shorten
from rllib_scoreflow.observations import IMAGES

Env = gym.Env[Any, Any]
logger = logging.getLogger(__name__)

_STEP = "(observation, reward, terminated, truncated, info)"
_NUMBERS = "biuf"
_LONGEST_REASON = 800  # characters


class CheckedEnv:
    """An environment whose every reset and step returns what gymnasium's contract and its spaces say.

    An array of one number passes for a number. Everything else that does not fit is refused in one sentence: numpy
    would broadcast an observation of another shape, and read a text as a number.

    Args:
        env: the environment.
        env_id: its name in messages.
        success: which steps make an episode a success.
    """

    def __init__(self, env: Env, env_id: str, success: SuccessRule = "last") -> None:
        self.env = env
        self._step: Any = env.step
        self._id = env_id
        self._any = success == "any"
        space: Any = env.observation_space
        self._shapes: dict[str, tuple[int, ...]] | None = None
        self._shape: tuple[int, ...] = ()
        if isinstance(space, gym.spaces.Dict):
            self._shapes = {key: tuple(each.shape or ()) for key, each in space.spaces.items()}
        else:
            self._shape = tuple(space.shape)
        self._count = 0
        self._info: Mapping[str, Any] = {}
        self._succeeded = math.nan

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode; its first observation.

        Raises:
            InputError: what the environment returns is not (observation, info), or it takes no seed.
            SimulatorError: it raises an exception.
        """
        self._count, self._info, self._succeeded = 0, {}, math.nan
        try:
            result: Any = self.env.reset(seed=seed, options=options)
        except InputError:
            raise
        except TypeError as error:
            if "unexpected keyword" not in str(error):
                raise self._as_simulator_error(error, "reset()") from error
            raise InputError(
                f"environment {self._id!r} refuses gymnasium's reset(seed=..., options=...) "
                f"({shorten(str(error))}): let its reset() take both keywords"
            ) from error
        except Exception as error:
            raise self._as_simulator_error(error, "reset()") from error
        if not isinstance(result, tuple | list) or len(result) != 2 or not isinstance(result[1], Mapping):
            self._refuse("reset()", result, "(observation, info)", "return the info too, an empty dictionary will do")
        return self._observation(result[0], "reset()")

    def step(self, action: NDArray[Any]) -> tuple[Any, float, bool, bool]:
        """Execute one primitive step: observation, reward, terminated, truncated.

        Raises:
            InputError: what the environment returns breaks the contract.
            SimulatorError: it raises an exception.
        """
        self._count += 1
        try:
            result = self._step(action)
        except InputError:
            raise
        except Exception as error:
            raise self._as_simulator_error(error, f"step {self._count} of an episode") from error
        if not isinstance(result, tuple | list) or len(result) != 5:
            remedy = "return terminated and truncated in place of done" if _length(result) == 4 else "return these five"
            self._refuse("step()", result, _STEP, remedy)
        observation, reward, terminated, truncated, info = result
        if not isinstance(reward, float):
            reward = self._number(reward, "reward")
        if type(terminated) is not bool:
            terminated = self._flag(terminated, "terminated")
        if type(truncated) is not bool:
            truncated = self._flag(truncated, "truncated")
        if not isinstance(info, Mapping):
            self._refuse("step()", info, "a dictionary as info", "an empty one will do")
        self._info = info
        if self._any:
            now = self._success_now()
            # NaN stands for an episode that has said nothing, and compares as False.
            if not math.isnan(now) and not now <= self._succeeded:
                self._succeeded = now
        return self._observation(observation, "step()"), float(reward), terminated, truncated

    def success(self) -> float:
        """The episode's success so far by the chosen rule, NaN where the environment does not say."""
        return self._succeeded if self._any else self._success_now()

    def episode_metrics(self) -> dict[str, float]:
        """What the last step's info holds under "episode_metrics"."""
        metrics = self._info.get("episode_metrics", {})
        if not isinstance(metrics, Mapping):
            self._refuse("step()", metrics, "a dictionary as info['episode_metrics']", "map names to numbers")
        return {str(name): self._number(value, f"info['episode_metrics'][{name!r}]") for name, value in metrics.items()}

    def close(self) -> None:
        """Close the environment; what it raises then is logged, as nothing depends on it any more."""
        close_env(self.env, self._id)

    def _success_now(self) -> float:
        found = find_success(self._info)
        return math.nan if found is None else self._number(found[1], f"info['{found[0]}']")

    def _observation(self, found: Any, where: str) -> Any:
        """The observation as arrays of the space's shapes."""
        if self._shapes is None:
            if isinstance(found, np.ndarray) and found.shape == self._shape and found.dtype.kind in _NUMBERS:
                return found
            return self._array(found, self._shape, where, "an observation")
        if not isinstance(found, Mapping) or set(found) != set(self._shapes):
            keys = ", ".join(map(repr, self._shapes))
            self._refuse(where, found, f"a dictionary of {keys} as observation", "return what observation_space says")
        arrays = {}
        for key, shape in self._shapes.items():
            arrays[key] = self._array(found[key], shape, where, f"an observation['{key}']")
        if arrays[IMAGES].dtype != np.uint8:
            wanted = "uint8 images of 0 to 255"
            self._refuse(where, arrays[IMAGES], wanted, "scale and convert them in the environment")
        return arrays

    def _array(self, found: Any, shape: tuple[int, ...], where: str, what: str) -> NDArray[Any]:
        array = _as_array(found)
        if array.shape != shape or array.dtype.kind not in _NUMBERS:
            kind = "" if array.dtype.kind in _NUMBERS else " of real numbers"
            # The space may be what is wrong.
            self._refuse(where, found, f"{what} of shape {shape}{kind}", "correct this, or observation_space")
        return array

    def _number(self, found: Any, what: str) -> float:
        array = _as_array(found)
        if array.size != 1 or array.dtype.kind not in _NUMBERS:
            self._refuse("step()", found, f"one number as {what}", "sum or choose, or correct it")
        return float(array.reshape(()))

    def _flag(self, found: Any, what: str) -> bool:
        array = _as_array(found)
        value = array.reshape(()).item() if array.size == 1 and array.dtype.kind in _NUMBERS else None
        if value not in (0, 1):
            self._refuse("step()", found, f"True or False as {what}", "return a bool")
        return bool(value)

    def _refuse(self, where: str, found: Any, wanted: str, remedy: str) -> NoReturn:
        raise InputError(
            f"environment {self._id!r} returned {_describe(found)} from {where} and must return {wanted}: {remedy}"
        )

    def _as_simulator_error(self, error: Exception, where: str) -> SimulatorError:
        return SimulatorError(f"environment {self._id!r} raised {reason_of(error)} in {where}")


def reason_of(error: BaseException) -> str:
    """Return type and text of another's exception on one line, whole unless it is very long."""
    text = shorten(str(error), _LONGEST_REASON).rstrip(". ")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def find_success(info: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Return the key by which an info says whether the task is done, and what it says; None where it says nothing."""
    return next(((key, info[key]) for key in ("success", "is_success") if info.get(key) is not None), None)


def close_env(env: Env, env_id: str) -> None:
    """Close an environment; what it raises is logged, as nothing depends on it any more."""
    try:
        env.close()  # type: ignore[no-untyped-call]  # gymnasium leaves it without types
    except Exception as error:
        logger.warning("environment %r raised %s in close()", env_id, reason_of(error))


def _as_array(found: Any) -> NDArray[Any]:
    """What numpy makes of a value, or the array of None, which is no number."""
    try:
        return np.asarray(found)
    except Exception:  # rows of unequal length, or a tensor on another device
        return np.asarray(None)


def _length(found: Any) -> int | None:
    return len(found) if isinstance(found, tuple | list) else None


def _describe(found: Any) -> str:
    """What was found, in a few words."""
    if isinstance(found, np.ndarray):
        return f"an array of shape {found.shape} and type {found.dtype}"
    if isinstance(found, tuple | list):
        return f"a {type(found).__name__} of {len(found)}"
    if isinstance(found, Mapping):
        return f"a dictionary of {shorten(', '.join(map(repr, found)) or 'nothing')}"
    return quote(found) if isinstance(found, str) else shorten(found, 80)
