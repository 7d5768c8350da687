"""``--set a.b.c=value``: changing single values of an experiment file from the command line."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.spec import EXPERIMENT_KEYS
from rllib_scoreflow.experiments.translation.keys import new_name
from rllib_scoreflow.experiments.yaml import parse_yaml
from rllib_scoreflow.suggest import hint

_MAX_PARTS = 20
RawExperiments = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Override:
    """One ``--set``: the dotted path, its value (typed as YAML types it) and the text as given."""

    path: tuple[str, ...]
    value: Any
    text: str


def parse_override(text: str) -> Override:
    """Parse one ``a.b.c=value``; the value is YAML, so ``0.99``, ``true``, ``[1]`` are typed.

    Args:
        text: what followed ``--set``.

    Returns:
        The override.

    Raises:
        InputError: there is no ``=``, or a part of the path is empty, or the value is not YAML.
    """
    path, equals, value = text.partition("=")
    parts = tuple(path.strip().split("."))
    if not equals or not all(parts) or len(parts) > _MAX_PARTS:
        raise InputError(f"--set {quote(text)} must have the form KEY=VALUE, such as config.gamma=0.99.")
    return Override(parts, parse_yaml(value, f"--set {path.strip()}"), text)


def apply_overrides(
    experiments: Mapping[str, Mapping[str, Any]],
    overrides: Iterable[Override],
    config_keys: Callable[[Mapping[str, Any]], Mapping[str, bool]],
    reports: Callable[[Mapping[str, Any], str], bool] = lambda body, key: True,
) -> RawExperiments:
    """Return a copy of the raw experiments with every override laid over it, in order.

    A path starts with an experiment's name, or with a key of experiments (``config``, ``stop``,
    ...) and then changes
    every experiment for which the key is valid.

    Args:
        experiments: name -> raw keys; not modified.
        overrides: what to change.
        config_keys: the valid keys of the config of a raw experiment, and whether they have an effect; called
            only for paths starting with ``config``.
        reports: whether a raw experiment may report a result; called only for paths starting with ``stop``.

    Returns:
        The changed copy.

    Raises:
        InputError: the path starts with neither, is valid for no experiment, or runs through a
        value that is no mapping.
    """
    result = {name: _copy(body) for name, body in experiments.items()}
    for override in overrides:
        for name, path in _targets(result, override, config_keys, reports):
            _assign(result[name], path, override)
    return result


def _copy(body: Mapping[str, Any]) -> dict[str, Any]:
    # Objects from Python files (an AlgorithmConfig) are shared; the plain data of YAML is copied.
    return {key: value if key.startswith("_") or key == "run" else copy.deepcopy(value) for key, value in body.items()}


def _targets(
    experiments: RawExperiments,
    override: Override,
    config_keys: Callable[[Mapping[str, Any]], Mapping[str, bool]],
    reports: Callable[[Mapping[str, Any], str], bool],
) -> list[tuple[str, tuple[str, ...]]]:
    for name in sorted(experiments, key=len, reverse=True):  # names may hold dots: the longest that fits wins
        parts = tuple(name.split("."))
        if override.path[: len(parts)] == parts:
            rest = override.path[len(parts) :]
            if not rest:
                raise InputError(f"--set {quote(override.text)} names the experiment {name} but none of its keys.")
            return [(name, rest)]
    first = override.path[0]
    if first not in EXPERIMENT_KEYS:
        known = [*experiments, *EXPERIMENT_KEYS]
        what = f"--set {quote(override.text)}: {quote(first)} is neither an experiment nor one of its keys"
        raise InputError(f"{what}; {hint(first, known)}")
    every_one = [(name, override.path) for name in experiments]
    if first not in ("config", "stop") or len(override.path) < 2:
        return every_one
    key = override.path[1]
    if first == "stop":  # one that none reports is refused later on, with the reason
        return [(name, override.path) for name, body in experiments.items() if reports(body, key)] or every_one
    valid = {name: config_keys(body) for name, body in experiments.items()}
    chosen = [(name, override.path) for name, keys in valid.items() if keys.get(key)]
    # What has an effect on none is refused later on, with the reason.
    chosen = chosen or [(name, override.path) for name, keys in valid.items() if key in keys]
    if not chosen:
        every = {known for keys in valid.values() for known in keys}
        raise InputError(f"--set {quote(override.text)}: no experiment has the key config.{key}; {hint(key, every)}")
    return chosen


def _assign(body: dict[str, Any], path: tuple[str, ...], override: Override) -> None:
    _drop_other_names(body, path)
    here: dict[str, Any] = body
    for depth, part in enumerate(path[:-1]):
        below = here.get(part)
        if below is None:
            below = here[part] = {}
        if not isinstance(below, dict):
            upto = ".".join(path[: depth + 1])
            raise InputError(f"--set {quote(override.text)}: {upto} is {quote(below)}, which has no keys below it.")
        here = below
    here[path[-1]] = override.value


def _drop_other_names(body: dict[str, Any], path: tuple[str, ...]) -> None:
    """Takes the other names of a key out of `config`: what comes last counts, however it is called."""
    config = body.get("config")
    if path[0] != "config" or len(path) != 2 or not isinstance(config, dict):
        return
    for key in [key for key in config if key != path[1] and new_name(str(key)) == new_name(path[1])]:
        del config[key]
