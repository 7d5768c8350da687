"""Tune's schedulers of trials from an experiment file, among them ASHA and population-based training."""

import inspect
from collections.abc import Mapping
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.checks.config import check_keys, one_sentence
from rllib_scoreflow.experiments.renames.results import OLD_KEYS
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.suggest import hint

# Names under which papers know them.
_ALIASES = {"asha": "async_hyperband"}
_MUTATIONS = "hyperparam_mutations"


def scheduler_name(experiment: Experiment) -> str | None:
    """Return Tune's name of an experiment's scheduler in lower case, or None where there is none."""
    name = experiment.settings.get("scheduler")
    return None if name is None else _ALIASES.get(name.lower(), name.lower())


def judged_by(experiment: Experiment) -> dict[str, str]:
    """Return the ``metric`` and ``mode`` by which trials are compared, none where the experiment names no metric."""
    arguments = experiment.settings.get("scheduler_config") or {}
    metric = experiment.settings.get("metric") or arguments.get("metric")
    mode = experiment.settings.get("mode") or arguments.get("mode") or "max"
    return {} if metric is None else {"metric": metric, "mode": mode}


def mutations(experiment: Experiment) -> dict[str, Any]:
    """Return what population-based training changes, in the form of `search_space`; empty for other schedulers."""
    arguments = experiment.settings.get("scheduler_config") or {}
    given = arguments.get(_MUTATIONS)
    if scheduler_name(experiment) != "pbt" or not isinstance(given, Mapping):
        return {}
    return _as_spaces(given, f"{experiment.where}: scheduler_config.{_MUTATIONS}")


def _as_spaces(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in given.items():
        here = f"{name}.{key}"
        if isinstance(value, list):
            found[key] = {search_space.CHOICE: value}
        elif isinstance(value, Mapping) and not search_space.is_space(value):
            found[key] = _as_spaces(value, here)
        elif isinstance(value, Mapping) and search_space.GRID not in value:
            found[key] = dict(value)
        else:
            raise InputError(
                f"{here} is {quote(value)} and must be a list, or a domain such as {{uniform: [0.1, 0.3]}}."
            )
    return found


def add_mutations(experiment: Experiment, algorithm: type[Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with what population-based training changes and the config leaves out.

    Tune fills in no key within another (``noise.sigma_max``), and draws from no seed what it fills in.

    Args:
        experiment: the experiment.
        algorithm: its Algorithm class.
        config: its checked config, which keeps its own values.

    Raises:
        InputError: a mutation names no option of the algorithm, or values that do not fit it.
    """
    where = f"{experiment.where}: scheduler_config.{_MUTATIONS}"
    return search_space.overlay(check_keys(mutations(experiment), algorithm, where), config)


def expand_mutations(experiment: Experiment, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with all values that mutations can lead to, for validating it before a run."""
    return search_space.overlay(config, mutations(experiment))


def make_scheduler(experiment: Experiment) -> Any:
    """Return Tune's scheduler for an experiment, or None for plain first-come-first-served.

    Args:
        experiment: names it (``scheduler: asha``) and gives its arguments (``scheduler_config``).

    Raises:
        InputError: there is no such scheduler, or it refuses its arguments.
    """
    from ray.tune.schedulers import SCHEDULER_IMPORT, create_scheduler

    name = scheduler_name(experiment)
    arguments = dict(experiment.settings.get("scheduler_config") or {})
    if name is None:
        return None
    if name not in SCHEDULER_IMPORT:
        raise InputError(
            f"{experiment.where}: unknown scheduler {quote(name)}; {hint(name, SCHEDULER_IMPORT, 'known are')}"
        )
    # Tune drops arguments that it does not know and misses the metric only once Ray runs.
    where = f"{experiment.where}: scheduler_config"
    known = inspect.signature(SCHEDULER_IMPORT[name]).parameters
    for key in arguments:
        if key not in known or key == "custom_explore_fn":
            raise InputError(f"{where}: {name} has no setting {quote(key)}; {hint(key, known)}")
    if "metric" in known and not judged_by(experiment):
        raise InputError(
            f"{experiment.where}: the scheduler {name} compares trials by a result; give it "
            "by `metric:` (such as return_mean) and `mode: max` or `mode: min`."
        )
    for key in ("metric", "mode"):  # Tune refuses them at both places; `judged_by` is what it gets
        arguments.pop(key, None)
    if name == "async_hyperband" and "max_t" not in arguments:
        arguments["max_t"] = _longest(experiment, arguments, where)
    if name == "pbt":
        arguments = _population_arguments(experiment, arguments)
    try:
        return create_scheduler(name, **arguments)
    except Exception as error:
        reason = f"the scheduler {name} refuses its settings ({one_sentence(error)})"
        raise InputError(f"{experiment.where}: {reason}.") from error


def _longest(experiment: Experiment, arguments: Mapping[str, Any], where: str) -> int:
    """ASHA's max_t: Tune's default of 100 would silently end longer runs there."""
    time = arguments.get("time_attr", "training_iteration")
    stop = {OLD_KEYS.get(key, key): value for key, value in experiment.stop.items()} | dict(experiment.stop)
    if time not in stop:
        raise InputError(f"{where}: asha ends a trial at max_t; give max_t in units of {time}, or stop.{time}.")
    return int(stop[time])


def _population_arguments(experiment: Experiment, arguments: Mapping[str, Any]) -> dict[str, Any]:
    spaces = mutations(experiment)
    return {
        # Tune counts in seconds; ASHA and the rest of a file count in iterations.
        "time_attr": "training_iteration",
        # A metric may be missing in an iteration, as an evaluation's is.
        "require_attrs": False,
        **arguments,
        _MUTATIONS: _for_population(spaces),
        "custom_explore_fn": WithinBounds(dict(search_space.spaces(spaces))) if spaces else None,
    }


def _for_population(spaces: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in spaces.items():
        if not search_space.is_space(value):
            found[key] = _for_population(value)
        else:
            # In a list it steps to a neighbour, and a domain of categories it would multiply.
            found[key] = value.get(search_space.CHOICE) or search_space.to_tune(value)
    return found


class WithinBounds:
    """Moves what population-based training has multiplied back into its domain.

    Args:
        spaces: path of a key -> its domain.
    """

    def __init__(self, spaces: Mapping[search_space.Path, Mapping[str, Any]]) -> None:
        self.bounds = {path: found for path, value in spaces.items() if (found := search_space.bounds(value))}

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return `config`, changed in place."""
        for (*parents, key), (lower, upper) in self.bounds.items():
            here = config
            for parent in parents:
                here = here[parent]
            here[key] = min(max(here[key], lower), upper)
        return config
