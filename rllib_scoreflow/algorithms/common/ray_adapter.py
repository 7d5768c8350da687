"""Everything that leans on internals of Ray, written for Ray 2.60; `tests/algorithms` fails loudly if Ray changes them.

RLlib has no public hook to run a Learner's connector pipeline, or to announce new weights, from an overridden
`Learner.update()`; none to declare a config as offline, or to do without evaluation EnvRunners.
"""

from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.learner import Learner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_scoreflow.errors import InputError, SimulatorError


def announce_new_weights(learner: Learner) -> None:
    """Raises the counter by which EnvRunners tell new weights from old ones."""
    learner._weights_seq_no += 1


def accept_any_weights(env_runner: SingleAgentEnvRunner) -> None:
    """Lets an EnvRunner take the next weights whatever their number; it would drop those of a restored checkpoint."""
    env_runner._weights_seq_no = 0


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


def learner_device(learner: Learner) -> torch.device:
    """The device of a built Learner."""
    device: torch.device = torch.device(learner._device)
    return device


def declare_offline(config: AlgorithmConfig) -> None:
    """Marks a config as one that trains without EnvRunners, as RLlib's own MARWIL does."""
    config._is_online = False


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


class OwnEvaluation(Algorithm):
    """An Algorithm that overrides `evaluate()` and has no use for RLlib's group of evaluation EnvRunners."""

    @classmethod
    def _should_create_evaluation_env_runners(cls, eval_config: AlgorithmConfig) -> bool:
        return False


class OfflineRestore(Algorithm):
    """An Algorithm without EnvRunners that can be restored.

    `Algorithm.restore_from_path()` synchronises EnvRunners without asking whether there are any; what it does
    before that is `Checkpointable.restore_from_path()`.
    """

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Restores the Learners and the Algorithm's own state from a checkpoint folder."""
        super(Algorithm, self).restore_from_path(path, *args, **kwargs)
