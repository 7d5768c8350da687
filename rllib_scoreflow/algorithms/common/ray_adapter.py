"""Everything that leans on internals of Ray, written for Ray 2.60; `tests/algorithms` fails loudly if Ray changes them.

RLlib has no public hook to run a Learner's connector pipeline, or to announce new weights, from an overridden
`Learner.update()`; none to declare a config as offline, or to do without evaluation EnvRunners; none to sample whole
arrays below `EnvRunner.sample()`; and Tune none to ask whether a name is registered.
"""

import abc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ray import cloudpickle
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.learner import Learner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO
from ray.tune.registry import ENV_CREATOR, TRAINABLE_CLASS, _global_registry

from rllib_scoreflow.errors import InputError, SimulatorError


def announce_new_weights(learner: Learner) -> None:
    """Raises the counter by which EnvRunners tell new weights from old ones."""
    learner._weights_seq_no += 1


def run_learner_connector(learner: Learner, episodes: list[Any], shared_data: dict[str, Any]) -> dict[str, Any]:
    """Runs the Learner's connector pipeline on episodes; the train batch by module id."""
    batch: dict[str, Any] = learner._learner_connector(
        rl_module=learner.module,
        batch={},
        episodes=episodes,
        shared_data=shared_data,
        metrics=learner.metrics,
    )
    return batch


def declare_offline(config: AlgorithmConfig) -> None:
    """Marks a config as one that trains without EnvRunners, as RLlib's own MARWIL does."""
    config._is_online = False


def name_class_in_checkpoint(algorithm: Algorithm, folder: Path) -> None:
    """Rewrites the file from which `Algorithm.from_checkpoint()` takes the class of a checkpoint.

    In an actor, as Tune makes it, an Algorithm is of a class that Ray has derived from its own. Pickled, that would be
    the bytecode of its methods, which neither another Python nor a later version of this package can read; the class
    itself is pickled by its name.
    """
    own = getattr(type(algorithm), "__ray_actor_class__", type(algorithm))
    stored = {"class": own, "ctor_args_and_kwargs": algorithm.get_ctor_args_and_kwargs()}
    (folder / algorithm.CLASS_AND_CTOR_ARGS_FILE_NAME).write_bytes(cloudpickle.dumps(stored))


def set_iteration(algorithm: Algorithm, iteration: int) -> None:
    """Sets the number of training iterations that an Algorithm has done."""
    algorithm._iteration = iteration


def is_registered_env(name: str) -> bool:
    """Whether `tune.register_env` has been called with a name."""
    found: bool = _global_registry.contains(ENV_CREATOR, name)
    return found


def find_registered_env(name: str) -> Callable[[Any], Any] | None:
    """What `tune.register_env` has been called with under a name; None where it has not."""
    return _global_registry.get(ENV_CREATOR, name) if is_registered_env(name) else None


def find_trainable(name: str) -> Any:
    """What `tune.register_trainable` has been called with under a name; None where it has not."""
    known = _global_registry.contains(TRAINABLE_CLASS, name)
    return _global_registry.get(TRAINABLE_CLASS, name) if known else None


def sample_in_parallel(algorithm: Any) -> tuple[list[Any], list[Any], list[SimulatorError]]:
    """One `sample()` of every healthy EnvRunner: all episodes, the EnvRunners' metrics, and what simulators raised.

    The list of episodes is empty if no EnvRunner returned one within `sample_timeout_s`.

    Raises:
        InputError: If an environment breaks gymnasium's contract, which another try does not mend.
    """
    group = algorithm.env_runner_group
    if group.num_remote_workers() > 0:
        found = group.foreach_env_runner(
            _sample_or_error, local_env_runner=False, timeout_seconds=algorithm.config.sample_timeout_s
        )
    else:
        found = [_sample_or_error(group.local_env_runner)]
    for error, _ in found:
        if isinstance(error, InputError):
            raise error
    rollouts = [(episodes, metrics) for episodes, metrics in found if not isinstance(episodes, SimulatorError)]
    failures = [error for error, _ in found if isinstance(error, SimulatorError)]
    return [episode for episodes, _ in rollouts for episode in episodes], [m for _, m in rollouts], failures


def _sample_or_error(env_runner: Any) -> tuple[Any, Any]:
    """Episodes and metrics, or an error: raised, it would end the EnvRunner's process and be lost with it."""
    try:
        return env_runner.sample(), env_runner.get_metrics()
    except (InputError, SimulatorError) as error:
        return error, None


class ArrayEnvRunner(SingleAgentEnvRunner, abc.ABC):
    """An EnvRunner that samples a fixed number of steps as whole arrays; the rest of `sample()` is RLlib's.

    The base class handles every step of every environment in Python.
    """

    # Read by make_env(), which the base class's constructor calls before it sets this.
    _weights_seq_no: int = 0
    _needs_initial_reset: bool

    @abc.abstractmethod
    def sample_arrays(self, num_timesteps: int, *, reset: bool) -> list[SingleAgentEpisode]:
        """Samples at least `num_timesteps` steps over all environments, after a reset of all where that is due."""

    @property
    def device(self) -> torch.device:
        """The device of the RLModule."""
        return torch.device(self._device)

    @property
    def weights_seq_no(self) -> int:
        """Number of the weights that this EnvRunner has; 0 before it was given any."""
        return self._weights_seq_no

    @override(SingleAgentEnvRunner)
    def set_state(self, state: Any) -> None:
        """Takes over a state, also weights with a lower number than these: a restored checkpoint has such."""
        if state.get(WEIGHTS_SEQ_NO):
            self._weights_seq_no = 0  # else RLlib drops them
        super().set_state(state)

    @override(SingleAgentEnvRunner)
    def _sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[SingleAgentEpisode]:
        if num_timesteps is None or random_actions or not explore:
            raise NotImplementedError(f"{type(self).__name__} samples exploring steps; use evaluate()")
        episodes = self.sample_arrays(num_timesteps, reset=force_reset or self._needs_initial_reset)
        self._needs_initial_reset = False
        return episodes


class OwnEvaluation(Algorithm):
    """An Algorithm that overrides `evaluate()` and has no use for RLlib's group of evaluation EnvRunners."""

    @classmethod
    @override(Algorithm)
    def _should_create_evaluation_env_runners(cls, eval_config: AlgorithmConfig) -> bool:
        return False


class OfflineRestore(Algorithm):
    """An Algorithm without EnvRunners that can be restored.

    `Algorithm.restore_from_path()` synchronises EnvRunners without asking whether there are any; what it does
    before that is `Checkpointable.restore_from_path()`.
    """

    @override(Algorithm)
    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Restores the Learners and the Algorithm's own state from a checkpoint folder."""
        super(Algorithm, self).restore_from_path(path, *args, **kwargs)
