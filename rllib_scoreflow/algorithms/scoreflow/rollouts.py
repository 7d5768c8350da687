"""A rollout of all EnvRunners that deliver one, and the weights that they sample the next one with."""

import math
import time
from typing import Any

import ray
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from rllib_scoreflow.algorithms.common.ray_adapter import sample_in_parallel

_SECONDS_BETWEEN_TRIES = 1.0
_SIMULATOR_TRIES = 3


def sample_rollout(algorithm: Any) -> tuple[list[Any], list[Any]]:
    """One rollout of the EnvRunners that deliver one; waits for lost ones if it is none of them.

    Returns:
        The episodes' fragments, and the metrics of the EnvRunners that delivered them.

    Raises:
        InputError: If an environment breaks gymnasium's contract.
        SimulatorError: If the simulators of all EnvRunners have failed in several tries in a row.
        RuntimeError: If no EnvRunner has delivered a rollout for `sample_timeout_s` after the first try.
    """
    config = algorithm.config
    timeout = math.inf if config.sample_timeout_s is None else float(config.sample_timeout_s)
    expected = max(1, config.num_env_runners)
    deadline, tries = None, 0
    while True:
        episodes, results, failures = sample_in_parallel(algorithm)
        for failure in failures:
            algorithm.note(f"{failure}; this rollout of its EnvRunner is lost")
        tries = tries + 1 if len(failures) == expected else 0
        if tries == _SIMULATOR_TRIES:
            raise failures[-1]
        missing = expected - len(results) - len(failures)
        if missing > 0:
            algorithm.note(
                f"{missing} of {expected} EnvRunners gave no rollout (lost, failed, or slower than "
                f"sample_timeout_s = {timeout:g})"
            )
        if episodes:
            return episodes, results
        deadline = deadline or time.monotonic() + timeout
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"No EnvRunner has delivered a rollout for {timeout:g} s; see the EnvRunners' errors above, or "
                "raise sample_timeout_s if a rollout takes longer."
            )
        time.sleep(_SECONDS_BETWEEN_TRIES)
        algorithm.restore_env_runners(algorithm.env_runner_group)


def hand_out_weights(algorithm: Any) -> None:
    """Hands the Learners' weights to every EnvRunner and waits until they have them.

    RLlib's `sync_weights()` drops the message to an EnvRunner that still has one in flight, as at the start of a
    run, and the chains would come from another policy than the one that is updated.
    """
    state = algorithm.learner_group.get_state(
        components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=True
    )[COMPONENT_LEARNER]
    weights = {key: state[key] for key in (COMPONENT_RL_MODULE, WEIGHTS_SEQ_NO) if key in state}
    group = algorithm.env_runner_group
    if group.local_env_runner is not None:
        group.local_env_runner.set_state(weights)
    if group.num_remote_workers() > 0:
        group.foreach_env_runner(
            "set_state",
            kwargs={"state": ray.put(weights)},
            local_env_runner=False,
            timeout_seconds=algorithm.config.sample_timeout_s,
        )
