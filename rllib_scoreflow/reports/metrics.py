"""The few figures shown of Tune's results, under this package's names and RLlib's."""

import math
from collections.abc import Mapping
from typing import Any

# Each figure, and the flattened keys that may hold it: this package's plain name first, then
# RLlib's.
STEPS = (
    "env_steps",
    "num_env_steps_sampled_lifetime",
    "env_runners/num_env_steps_sampled_lifetime",
)
RETURN = ("return_mean", "env_runners/episode_return_mean", "env_runners/episode_reward_mean")
EVAL_RETURN = ("eval_return_mean", "evaluation/env_runners/episode_return_mean")
STDERR = ("return_stderr",)
EVAL_STDERR = ("eval_return_stderr",)
EPOCH = ("epoch",)
SAMPLES_PER_SECOND = ("samples_per_second",)
STEPS_PER_SECOND = ("env_steps_per_second",)
LOSSES = (
    "train_loss",
    "validation_loss",
    "policy_loss",
    "value_loss",
    "vf_loss",
    "total_loss",
    "kl",
    "mean_kl_loss",
)
# Figures that only grow, so that a stop criterion on them allows an estimate of the time left.
GROWING = frozenset(
    {"training_iteration", "time_total_s", "epoch", "gradient_steps", "iterations_since_restore", "timesteps_total"}
    | {*STEPS, "env_runners/num_episodes_lifetime"}
)


def flatten(result: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested results as one level, keys joined by ``/``.

    Args:
        result: a result dictionary; its ``config`` is left out.
        prefix: put before every key.
    """
    flat: dict[str, Any] = {}
    for key, value in result.items():
        if isinstance(value, Mapping):
            if key != "config":
                flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def number(flat: Mapping[str, Any], keys: tuple[str, ...]) -> float | None:
    """Return the first of `keys` that holds a number, as a float, or None; NaN counts as none.

    Args:
        flat: a flattened result.
        keys: candidates, the best first.
    """
    for key in keys:
        try:
            value = float(flat[key])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if not math.isnan(value):
            return value
    return None


def losses(flat: Mapping[str, Any]) -> dict[str, float]:
    """Return the losses of an iteration under their plain names (of the first module with them).

    Args:
        flat: a flattened result, with the losses at the top (this package) or below
            ``learners/MODULE/`` (RLlib).
    """
    found: dict[str, float] = {}
    for name in LOSSES:
        value = number(flat, (name,))
        if value is None:
            nested = sorted(k for k in flat if k.startswith("learners/") and k.endswith(f"/{name}"))
            value = number(flat, tuple(nested))
        if value is not None:
            found[name] = value
    if len(found) > 1:
        found.pop("total_loss", None)
    return found
