"""An experiment with old keys, as one with today's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.checks.algorithms import base_name, option_defaults, own_name, refusal_of
from rllib_scoreflow.experiments.renames.environments import current_environment
from rllib_scoreflow.experiments.renames.table import say_renamed
from rllib_scoreflow.experiments.search_space import map_values
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.experiments.translation import (
    callbacks,
    keys,
    learning,
    networks,
    offline,
    output,
    replay,
    sampling,
)
from rllib_scoreflow.experiments.translation.draft import Draft

_EVALUATION = "evaluation_config"
_MUTATIONS = "hyperparam_mutations"


def translate(experiment: Experiment, algorithm: type[Any]) -> Experiment:
    """Return an experiment in today's keys and environments; its `notes` say what was translated.

    Args:
        experiment: as the file has it.
        algorithm: its Algorithm class.

    Raises:
        InputError: a key has no counterpart; the reason and the remedy are given.
    """
    notes: list[str] = []
    env = _todays_env(experiment.env, notes)
    config = dict(experiment.config)
    if config.get("env", experiment) is None:
        del config["env"]  # which would come before the experiment's own
    if "env" in config:
        config["env"] = map_values(config["env"], lambda one: _todays_env(one, notes))
    draft = _translated(config, algorithm, f"{experiment.where}: config", env)
    if draft.limited is not None:
        env = draft.limited
        draft.config.pop("env", None)
    settings = _todays_mutations(experiment.settings, draft)
    said = tuple(dict.fromkeys([*notes, *draft.notes]))
    return replace(experiment, env=env, config=draft.config, settings=settings, notes=said, renamed=dict(draft.renamed))


def _todays_mutations(settings: Mapping[str, Any], draft: Draft) -> Mapping[str, Any]:
    """What population-based training changes, under today's names."""
    scheduler = settings.get("scheduler_config") or {}
    given = scheduler.get(_MUTATIONS)
    if not isinstance(given, Mapping):
        return settings
    for key in given:
        if keys.new_name(key) != key:
            draft.say(say_renamed(key, keys.new_name(key)))
    todays = {keys.new_name(key): value for key, value in given.items()}
    return {**settings, "scheduler_config": {**scheduler, _MUTATIONS: todays}}


def _todays_env(env: Any, notes: list[str]) -> Any:
    from rllib_scoreflow.algorithms.common.ray_adapter import is_registered_env

    if not isinstance(env, str) or is_registered_env(env):
        return env
    today = current_environment(env)
    if today != env:
        moved = "." in env and ":" not in env
        notes.append(f"{env} has moved to {today}" if moved else f"{env} is retired, so {today} is run")
    return today


def translate_config(
    config: Mapping[str, Any], algorithm: type[Any], where: str, env: Any = None
) -> tuple[dict[str, Any], list[str]]:
    """Return a config in today's keys, and what was translated; see `translate`.

    Args:
        config: key -> value.
        algorithm: an Algorithm class.
        where: the start of messages.
        env: the environment.
    """
    draft = _translated(config, algorithm, where, env)
    return draft.config, draft.notes


def _translated(config: Mapping[str, Any], algorithm: type[Any], where: str, env: Any) -> Draft:
    draft = Draft(dict(config), base_name(algorithm), option_defaults(algorithm), where, env)
    _step(draft, algorithm)
    nested = draft.config.get(_EVALUATION)
    if isinstance(nested, Mapping) and not search_space.is_space(nested):
        below = Draft(dict(nested), draft.algorithm, draft.defaults, f"{where}.{_EVALUATION}", env)
        below.shown, below.notes = f"{_EVALUATION}.{{}}", draft.notes
        _step(below, algorithm)
        if "lr" not in nested:
            below.config.pop("lr", None)
        draft.config[_EVALUATION] = below.config
        draft.renamed.update({f"{_EVALUATION}.{today}": old for today, old in below.renamed.items()})
    return draft


def _step(draft: Draft, algorithm: type[Any]) -> None:
    if own_name(algorithm) is not None:  # which say themselves what has no effect, of old keys too
        keys.rename(draft, {key for key in draft.config if refusal_of(algorithm, keys.new_name(key)) is not None})
        return
    keys.rename(draft)
    offline.translate(draft)  # what a file without its data says first
    sampling.translate(draft)
    output.translate(draft)
    callbacks.translate(draft)
    learning.translate(draft)
    networks.translate(draft)
    replay.translate(draft)
    keys.refuse_removed(draft)
    sampling.flatten_observations(draft)
