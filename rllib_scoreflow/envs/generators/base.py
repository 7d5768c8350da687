"""What a generator of demonstrations is, and how one of its episodes is played."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.contract import close_env, find_success
from rllib_scoreflow.envs.resolve import resolve_env
from rllib_scoreflow.envs.seeding import keep_random_states
from rllib_scoreflow.envs.single_env import dims_of, make_single_env
from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.registry import Registry
from rllib_scoreflow.suggest import hint, similar

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Episode:
    """One demonstration of T steps, with O observation and A action dimensions.

    Attributes:
        observations: [T, O] float32, before the action of the same row.
        actions: [T, A] float32, as they were executed.
        rewards: [T] float32.
        final_observation: [O] float32, after the last step.
        terminated: the environment ended it; else it was cut.
        success: whether the last step's info says `success` (or `is_success`).
    """

    observations: Float32
    actions: Float32
    rewards: Float32
    final_observation: Float32
    terminated: bool
    success: bool


class Generator(ABC):
    """Plays demonstrations of one task in the environment in which policies will be trained and evaluated.

    A subclass is registered under the namespace of its tasks' ids: `@GENERATORS.register("metaworld")` plays
    "metaworld/...".

    Args:
        name: the namespace.
        task: one of `tasks`.

    Attributes:
        package: the distribution whose expert plays; its version is recorded with the data.
        simulator: the distribution that computes the dynamics, likewise.
        tasks: what may stand after the namespace.
        env: the environment, without time limit.
        max_steps: the time limit of an episode.
    """

    package: ClassVar[str]
    simulator: ClassVar[str] = "mujoco"
    tasks: ClassVar[Sequence[str]]

    def __init__(self, name: str, task: str) -> None:
        self.name, self.task = name, task
        self.env_id = f"{name}/{task}"
        source = resolve_env(self.env_id)
        self.env: Any = make_single_env(source)
        self._dims = dims_of(self.env, source)
        assert self._dims.max_episode_steps is not None
        self.max_steps = self._dims.max_episode_steps

    @abstractmethod
    def begin(self, observation: NDArray[Any], info: Mapping[str, Any]) -> None:
        """Prepare for an episode.

        Args:
            observation: [O], the first one.
            info: of the reset.
        """

    @abstractmethod
    def act(self, observation: NDArray[Any], info: Mapping[str, Any]) -> NDArray[Any]:
        """Return the expert's action [A], which is clipped to the environment's bounds.

        Args:
            observation: [O], the newest one; it may be written to.
            info: of the step (or reset) that returned it.
        """

    def play(self, seed: int) -> Episode:
        """Play one episode, which `seed` alone determines, until the environment or the time limit ends it.

        Args:
            seed: of the environment and of what the expert draws from NumPy's global generator.
        """
        observations: list[NDArray[Any]] = []
        actions: list[NDArray[Any]] = []
        rewards: list[float] = []
        terminated = truncated = False
        with keep_random_states():
            np.random.seed(seed)  # noqa: NPY002 - the experts draw from it
            observation, info = self.env.reset(seed=seed)
            self.begin(observation.copy(), info)
            while not terminated and not truncated and len(actions) < self.max_steps:
                wanted = np.asarray(self.act(observation.copy(), info), np.float32)
                actions.append(self._dims.fit_actions(wanted))
                observations.append(observation)
                observation, reward, terminated, truncated, info = self.env.step(actions[-1])
                rewards.append(reward)
        said = find_success(info)
        return Episode(
            observations=np.asarray(observations, np.float32),
            actions=np.asarray(actions, np.float32),
            rewards=np.asarray(rewards, np.float32),
            final_observation=np.asarray(observation, np.float32),
            terminated=terminated,
            success=said is not None and bool(said[1]),
        )

    def close(self) -> None:
        """Free the simulator."""
        close_env(self.env, self.env_id)


GENERATORS: Registry[type[Generator]] = Registry("generator of demonstrations", "generator")
"""By the namespace of their tasks' ids."""


def find_generator(env_id: str) -> tuple[type[Generator], str, str]:
    """Return who plays a task: the generator, its namespace and the task's name in it.

    Args:
        env_id: such as "metaworld/door-open-v3".

    Raises:
        InputError: nobody does; it names the nearest task that somebody plays.
    """
    name, _, task = env_id.partition("/")
    if name not in GENERATORS:
        known = [f"{each}/{task}" for each, generator in GENERATORS.items() for task in generator.tasks]
        near = similar(env_id, known, most=1)
        remedy = (
            f"did you mean {near[0]!r}?" if near else f"tasks begin with {' or '.join(f'{n}/' for n in GENERATORS)}"
        )
        raise InputError(f"nobody plays demonstrations of {quote(env_id)}; {remedy}")
    generator = GENERATORS[name]
    if task not in generator.tasks:
        raise InputError(f"no expert of {name} plays {quote(task)}; {hint(task, generator.tasks)}")
    return generator, name, task
