"""The objective that the options of a `ScoreFlowConfig` describe."""

from typing import Any

from rllib_scoreflow.algorithms.common.options import build_section
from rllib_scoreflow.algorithms.scoreflow.options import ScoreFlowOptions
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.objectives import OBJECTIVES, Objective, make_objective

_OF_CHAINS = ("normalize_logp", "logp_clamp")


def build_objective(config: Any) -> Objective:
    """The objective of a config, whose options fit each other; the policy is not asked.

    Raises:
        InputError: On an unknown objective, a bad entry of its section, or an option that would have no effect on it.
    """
    objective = make_objective(dump_objective(config))
    name = config.objective
    for other in OBJECTIVES.values():
        if other.SECTION not in (None, objective.SECTION) and getattr(config, str(other.SECTION), None):
            raise InputError(f"Option '{other.SECTION}' has no effect on the objective '{name}'; leave it out.")
    if not objective.HAS_ENTROPY and config.entropy_coeff not in (0.0, ScoreFlowOptions.defaults()["entropy_coeff"]):
        raise InputError(
            f"Option 'entropy_coeff' ({config.entropy_coeff:g}) has no effect on the objective '{name}', which has no "
            "entropy; leave it out."
        )
    if not objective.EVALUATES_CHAINS:
        _check_without_chains(config)
    return objective


def dump_objective(config: Any) -> dict[str, Any]:
    """The objective of a config as plain values: its options, and its name under `type`.

    Raises:
        InputError: On an unknown objective or a bad entry of its section.
    """
    chosen = OBJECTIVES.choose(config.objective)
    given = {} if chosen.SECTION is None else getattr(config, chosen.SECTION)
    options = build_section(chosen.SECTION or config.objective, chosen.CONFIG, given)
    return {"type": config.objective, **options.model_dump()}


def _check_without_chains(config: Any) -> None:
    for key in _OF_CHAINS:
        if key in config.chain:
            raise InputError(
                f"Option 'chain.{key}' has no effect on the objective '{config.objective}', which has no "
                "log-probability; leave it out."
            )
    if config.frozen_velocity:
        raise InputError(
            f"Option 'frozen_velocity' leaves the objective '{config.objective}' nothing to train; leave it out."
        )
