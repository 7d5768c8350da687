"""Checking `config:` against the algorithm before Ray starts: keys, types, config.validate()."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from rllib_scoreflow.cli.algorithms import (
    attribute_of,
    config_keys,
    option_defaults,
    settable_key,
)
from rllib_scoreflow.cli.config_types import as_int_if_meant, fits, setter_annotations, wanted_words
from rllib_scoreflow.cli.experiments import Experiment, first_line
from rllib_scoreflow.cli.suggest import hint
from rllib_scoreflow.errors import InputError

_MAX_VALIDATED_COMBINATIONS = 32


def is_grid(value: Any) -> bool:
    """Say whether a config value is ``{grid_search: [...]}``."""
    return isinstance(value, Mapping) and set(value) == {"grid_search"}


def check_config(experiment: Experiment, algorithm: type[Any]) -> dict[str, Any]:
    """Check the keys and types of an experiment's config.

    Args:
        experiment: the experiment.
        algorithm: its Algorithm class.

    Returns:
        The config, with whole floats turned into ints where the option is an int.

    Raises:
        InputError: an unknown key (with the nearest valid one) or a wrong type.
    """
    return _check_keys(experiment.config, algorithm, f"{experiment.where}: config")


def _check_keys(config: Mapping[str, Any], algorithm: type[Any], where: str) -> dict[str, Any]:
    attributes = option_defaults(algorithm)
    config_class = type(algorithm.get_default_config())
    annotations = setter_annotations(config_class)
    own_options: Mapping[str, Any] = getattr(config_class, "OPTIONS", {})
    checked: dict[str, Any] = {}
    for key, value in config.items():
        target = settable_key(algorithm, str(key))
        attribute = attribute_of(str(key))
        if attribute not in attributes:
            raise InputError(
                f"{where}: {algorithm.__name__} has no key {key!r}; {hint(str(key), config_keys(algorithm))}"
            )
        name = f"{where}.{key}"
        if key == "evaluation_config" and isinstance(value, Mapping) and not is_grid(value):
            checked[target] = _check_keys(value, algorithm, name)
            continue
        annotation = annotations.get(attribute, annotations.get(key))
        if value is None and type(None) in get_args(own_options.get(attribute)):
            checked[target] = None  # such as target_kl: null, which switches it off
        elif is_grid(value):
            checked[target] = {
                "grid_search": _check_grid(value["grid_search"], name, attributes[attribute], annotation)
            }
        else:
            checked[target] = _check_value(value, name, attributes[attribute], annotation)
    return checked


def _check_grid(values: Any, name: str, default: Any, annotation: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise InputError(f"{name}.grid_search is {values!r} and must be a list of values to try.")
    return [_check_value(value, name, default, annotation) for value in values]


def _check_value(value: Any, name: str, default: Any, annotation: Any) -> Any:
    if value is None:
        # An empty value (`lr:`) is a slip where a number is needed; null means "wait for ever" for
        # RLlib's timeouts.
        if type(default) in (bool, int, float) and not name.endswith("_s"):
            raise InputError(f"{name} is empty and must be {wanted_words(default)}; give a value or drop the key.")
        return None
    if name.rpartition(".")[2].startswith(("num_cpus_", "num_gpus_")) and isinstance(default, int):
        # RLlib's default is 1, but Ray gives out fractions.
        default = float(default)
    if not fits(value, default, annotation):
        raise InputError(f"{name} is {value!r} and must be {wanted_words(default)}.")
    return as_int_if_meant(value, default)


def combinations(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the configs that a config with ``grid_search`` at its top level stands for.

    Args:
        config: a checked config.
    """
    grids = {key: value["grid_search"] for key, value in config.items() if is_grid(value)}
    for chosen in itertools.product(*grids.values()):
        yield {**config, **dict(zip(grids, chosen, strict=True))}


def build_config(experiment: Experiment, algorithm: type[Any], config: Mapping[str, Any]) -> Any:
    """Build the AlgorithmConfig of one combination.

    Args:
        experiment: gives the base config (Python files) and the environment.
        algorithm: its Algorithm class.
        config: checked keys and values, without grids.

    Returns:
        An unfrozen AlgorithmConfig, not yet validated.
    """
    base = experiment.base if experiment.base is not None else algorithm.get_default_config()
    built = base.copy(copy_frozen=False)
    if experiment.env is not None:
        built.environment(env=experiment.env)
    built.update_from_dict(dict(config))
    return built


def validate(experiment: Experiment, algorithm: type[Any], config: Mapping[str, Any]) -> None:
    """Let the algorithm's own ``config.validate()`` judge every combination, at most 32.

    Args:
        experiment: the experiment.
        algorithm: its Algorithm class.
        config: the checked config.

    Raises:
        InputError: the algorithm refuses the config; its reason is passed on as one sentence.
    """
    for chosen in itertools.islice(combinations(config), _MAX_VALIDATED_COMBINATIONS):
        try:
            build_config(experiment, algorithm, chosen).validate()
        except InputError as error:
            raise InputError(f"{experiment.where}: {error}") from error
        except Exception as error:
            reason = one_sentence(error)
            raise InputError(f"{experiment.where}: {algorithm.__name__} refuses its config: {reason}.") from error


def one_sentence(error: BaseException, limit: int = 300) -> str:
    """Return the first paragraph of an exception's text on one line, without its full stop.

    Args:
        error: the exception.
        limit: number of characters after which the text is cut.
    """
    paragraph = str(error).strip().split("\n\n")[0]
    text = " ".join(paragraph.split()).rstrip(".") or first_line(error)
    return text if len(text) <= limit else text[:limit].rstrip() + " ..."
