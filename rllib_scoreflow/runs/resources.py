"""Whether Ray can ever give a trial what it asks for: otherwise Tune waits for it without end and without a word."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.checks.config import build_config, sample_combinations
from rllib_scoreflow.runs.outcome import Stage

_OPTIONS = {"CPU": "num_cpus_per_env_runner", "GPU": "num_gpus_per_learner"}
_SECONDS_BETWEEN_LOOKS = 2.0


def check_resources(stage: Stage, weights: Path | None, available: Mapping[str, float]) -> None:
    """Refuse a stage one of whose trials asks for more than there is in all.

    Args:
        stage: what is about to run.
        weights: policy folder that it starts from.
        available: `ray.cluster_resources()`.

    Raises:
        InputError: naming what is asked for, what there is, and what to change.
    """
    for request in _requests(stage, weights):
        _refuse_shortage(stage, request, available, "")


def await_resources(stage: Stage, weights: Path | None, timeout_s: float, say: Callable[[str], None]) -> None:
    """Have a cluster grow until it can hold one trial of a stage, if it can grow at all.

    Args:
        stage: what is about to run.
        weights: policy folder that it starts from.
        timeout_s: how long to wait.
        say: prints a line.

    Raises:
        InputError: as `check_resources`, if the cluster is still too small after `timeout_s`.
    """
    import ray
    from ray.autoscaler.sdk import request_resources

    available = ray.cluster_resources()
    short = [(request, found) for request in _requests(stage, weights) if (found := _shortage(request, available))]
    if not short:
        return
    request, (words, _) = short[0]
    say(f"Waiting up to {timeout_s:g} s for the cluster to grow: a trial asks for {words}.")
    request_resources(bundles=[dict(bundle) for bundle in request.bundles])
    try:
        deadline = time.monotonic() + timeout_s
        while _shortage(request, ray.cluster_resources()) is not None and time.monotonic() < deadline:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        _refuse_shortage(stage, request, ray.cluster_resources(), f" after {timeout_s:g} s of waiting")
    finally:
        request_resources(bundles=[])


def _requests(stage: Stage, weights: Path | None) -> Iterator[Any]:
    """What the trials of a stage ask for."""
    config = dict(stage.config) if weights is None else {**stage.config, "pretrained_policy": str(weights)}
    for chosen in sample_combinations(config):
        chosen_config = build_config(stage.experiment, stage.algorithm, chosen)
        yield stage.algorithm.default_resource_request(chosen_config.to_dict())


def _shortage(request: Any, available: Mapping[str, float]) -> tuple[str, str] | None:
    """What a trial asks for and what there is, in words, and the name of the resource; None if there is enough."""
    for name, amount in request.required_resources.items():
        have = available.get(name, 0.0)
        if amount > have + 1e-6:
            parts = ", ".join(f"{bundle[name]:g}" for bundle in request.bundles if bundle.get(name))
            words = f"{amount:g} {name} ({parts}: the main process, then EnvRunners and Learners) and Ray has {have:g}"
            return words, name
    return None


def _refuse_shortage(stage: Stage, request: Any, available: Mapping[str, float], when: str) -> None:
    shortage = _shortage(request, available)
    if shortage is not None:
        words, name = shortage
        raise InputError(
            f"{stage.experiment.where}: a trial asks for {words}{when}; lower num_env_runners, num_learners or "
            f"{_OPTIONS.get(name, 'the custom resources')} (fractions are allowed)."
        )
