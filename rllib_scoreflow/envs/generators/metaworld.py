"""MetaWorld's scripted experts."""

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.generators.base import GENERATORS, Generator
from rllib_scoreflow.envs.metaworld import NAMESPACE, PACKAGE, TASKS


@GENERATORS.register(NAMESPACE)
class MetaWorldGenerator(Generator):
    """Plays with the expert that MetaWorld has for each of its tasks: a rule of the newest observation, without noise.

    Its actions go beyond the bounds, by up to 17 times, and are recorded clipped, as the simulator takes them.
    """

    package = PACKAGE
    tasks = TASKS

    def __init__(self, name: str, task: str) -> None:
        super().__init__(name, task)
        policies: Any = importlib.import_module("metaworld.policies")
        self._expert: Any = policies.ENV_POLICY_MAP[task]()

    def begin(self, observation: NDArray[Any], info: Mapping[str, Any]) -> None:
        """The experts remember nothing."""

    def act(self, observation: NDArray[Any], info: Mapping[str, Any]) -> NDArray[Any]:
        """Return the expert's action [4]."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the action will be clipped
            action: NDArray[Any] = np.asarray(self._expert.get_action(observation))
        return action
