"""Whether Ray can ever give a trial what it asks for: otherwise Tune waits for it without end and without a word."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_scoreflow.cli.config_check import build_config, tried
from rllib_scoreflow.cli.outcome import Stage
from rllib_scoreflow.errors import InputError


def check_resources(stage: Stage, weights: Path | None, available: Mapping[str, float]) -> None:
    """Refuse a stage one of whose trials asks for more than there is in all.

    Args:
        stage: what is about to run.
        weights: policy folder that it starts from.
        available: `ray.cluster_resources()`.

    Raises:
        InputError: naming what is asked for, what there is, and what to change.
    """
    config = dict(stage.config) if weights is None else {**stage.config, "pretrained_policy": str(weights)}
    for chosen in tried(config):
        request = stage.algorithm.default_resource_request(
            build_config(stage.experiment, stage.algorithm, chosen).to_dict()
        )
        for name, amount in request.required_resources.items():
            have = available.get(name, 0.0)
            if amount > have + 1e-6:
                parts = ", ".join(f"{bundle[name]:g}" for bundle in request.bundles if bundle.get(name))
                raise InputError(
                    f"{stage.experiment.where}: a trial asks for {amount:g} {name} ({parts}: the main process, then "
                    f"EnvRunners and Learners) and Ray has {have:g}; lower num_env_runners, num_learners or "
                    f"{_option(name)} (fractions are allowed)."
                )


def _option(resource: str) -> str:
    kinds: dict[str, Any] = {"CPU": "num_cpus_per_env_runner", "GPU": "num_gpus_per_learner"}
    return str(kinds.get(resource, "the custom resources"))
