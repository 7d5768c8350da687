"""Checking `config:` against the algorithm before Ray starts: keys, types, config.validate()."""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rllib_scoreflow.errors import InputError, drop_addresses, quote
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.checks.algorithms import (
    attribute_of,
    base_name,
    config_keys,
    current_name,
    option_defaults,
    refusal_of,
    settable_key,
)
from rllib_scoreflow.experiments.checks.effects import (
    OFFLINE,
    is_dropped,
    why_without_effect,
    why_without_effect_in_evaluation,
)
from rllib_scoreflow.experiments.checks.result_keys import ResultKeys, reported_results
from rllib_scoreflow.experiments.checks.types import (
    CHOICES,
    CODE,
    as_int_if_meant,
    fits,
    means_int,
    out_of_range,
    setter_annotations,
    wanted_words,
)
from rllib_scoreflow.experiments.identity import with_absolute_paths
from rllib_scoreflow.experiments.renames.config_keys import CONFIG_KEYS
from rllib_scoreflow.experiments.renames.model_keys import MODEL_KEYS
from rllib_scoreflow.experiments.renames.table import Renamed
from rllib_scoreflow.experiments.search_space import CHOICE, DOMAINS, GRID, check_space, is_space
from rllib_scoreflow.experiments.settings import requirement
from rllib_scoreflow.experiments.spec import Experiment, first_line
from rllib_scoreflow.suggest import hint, nearest

_MAX_VALIDATED_COMBINATIONS = 32
_UNKNOWN = object()
# RLlib ends each of its refusals so; a config that is not validated fails later on.
_RLLIBS_ADVICE = re.compile(r"To suppress all validation errors, set .* at your own risk\.?")
# RLlib makes policies and functions of what is below it.
MULTIAGENT = "multiagent"


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
    return check_keys(experiment.config, algorithm, f"{experiment.where}: config", experiment.renamed)


def check_keys(
    config: Mapping[str, Any],
    algorithm: type[Any],
    where: str,
    renamed: Mapping[str, str] | None = None,
    *,
    evaluates: bool = False,
) -> dict[str, Any]:
    """Check the keys and types of a config; see `check_config`.

    Args:
        config: key -> value.
        algorithm: an Algorithm class.
        where: the start of the messages.
        renamed: key -> what the file calls it, where that is another name.
        evaluates: it is that of evaluations, which lies over the other.
    """
    search_space.refuse_code(config, where)
    attributes = option_defaults(algorithm)
    config_class = type(algorithm.get_default_config())
    annotations = setter_annotations(config_class)
    own_options: Any = getattr(config_class, "OPTIONS", None)
    own_types: Mapping[str, Any] = {} if own_options is None else own_options.types()
    checked: dict[str, Any] = {}
    for key, value in config.items():
        target = settable_key(algorithm, str(key))
        attribute = attribute_of(str(key))
        today = current_name(algorithm, attribute)
        reason = refusal_of(algorithm, str(key) if today is None else today)
        if reason is not None and not is_space(value) and value != attributes.get(attribute, _UNKNOWN):
            raise InputError(f"{where}.{key} is {quote(value)}, which has no effect on {algorithm.__name__}: {reason}.")
        if key == MULTIAGENT and isinstance(value, Mapping) and own_options is None:  # as `translation` makes it
            checked[key] = dict(value)
            continue
        if attribute not in attributes:
            if today is not None:
                raise InputError(f"{where}.{key} is called {today} in this version of RLlib; write that.")
            known = {name for name in config_keys(algorithm) if _is_for_users(algorithm, name)}
            if own_options is None:
                if key in MODEL_KEYS or key in _network_keys():
                    raise InputError(f"{where}: {quote(key)} belongs into model; write it there.")
                known |= {
                    old for old, entry in CONFIG_KEYS.items() if isinstance(entry, Renamed) and entry.new in known
                }
            raise InputError(f"{where}: {algorithm.__name__} has no key {quote(key)}; {hint(str(key), known)}")
        name = f"{where}.{key}" if not renamed or key not in renamed else f"{where}.{renamed[key]} (now {key})"
        functions = value if isinstance(value, list) else [value]
        if value is not None and attribute.startswith("callbacks_on_") and not all(map(callable, functions)):
            because = "must be a function, which no text stands for; give `callbacks: module.Class`"
            raise InputError(f"{name} is {quote(value)} and {because}.")
        if key == "evaluation_config" and not isinstance(value, Mapping | None):
            raise InputError(f"{name} is {quote(value)} and must be a mapping.")
        if key == "evaluation_config" and isinstance(value, Mapping) and not is_space(value):
            start = f"{key}."
            below = {
                today.removeprefix(start): old for today, old in (renamed or {}).items() if today.startswith(start)
            }
            checked[target] = check_keys(value, algorithm, name, below, evaluates=True)
            continue
        option = _Option(
            name,
            attributes[attribute],
            annotations.get(attribute, annotations.get(key)),
            own_types.get(attribute),
            functools.partial(own_options.find_problem, attribute) if attribute in own_types else None,
            attribute == "lr" and "actor_lr" in attributes,  # where each network has its rate, the common one is null
        )
        if is_dropped(algorithm, attribute):  # whose default says nothing of its type
            _refuse_without_effect(algorithm, value, option, attribute, evaluates)
        checked[target] = _check_space(value, option) if is_space(value) else _check_value(value, option)
        if own_options is None:
            _check_of_rllib(value, option, attribute)
        _refuse_without_effect(algorithm, value, option, attribute, evaluates)
    return checked


def _network_keys() -> frozenset[str]:
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    return frozenset(field.name for field in dataclasses.fields(DefaultModelConfig))


def _check_of_rllib(value: Any, option: "_Option", attribute: str) -> None:
    """What RLlib judges late, or not at all."""
    for one in search_space.points(value) if is_space(value) else [value]:
        if attribute in CHOICES:
            _check_choice(one, option, CHOICES[attribute])
        if attribute in CODE and isinstance(one, str):
            raise InputError(f"{option.name} is {quote(one)} and must be code, which no text is; run a Python file.")
        if (wanted := out_of_range(attribute, one)) is not None:
            raise InputError(f"{option.name} is {quote(one)} and must be {wanted}.")


def _check_choice(value: Any, option: "_Option", choices: Sequence[str]) -> None:
    if value != option.default and value not in choices:
        guess = nearest(str(value), choices)
        near = "" if guess is None else f"; did you mean {guess!r}?"
        raise InputError(f"{option.name} is {quote(value)} and must be {' or '.join(choices)}{near or '.'}")


def _is_for_users(algorithm: type[Any], key: str) -> bool:
    """Whether a key may be proposed: it has an effect and is not gone."""
    attribute = attribute_of(key)
    return (
        refusal_of(algorithm, key) is None
        and key not in CONFIG_KEYS
        and not is_dropped(algorithm, attribute)
        and why_without_effect(algorithm, base_name(algorithm), attribute) is None
    )


def _refuse_without_effect(
    algorithm: type[Any], value: Any, option: "_Option", attribute: str, evaluates: bool
) -> None:
    """Refuse a value of an option of RLlib's that nothing looks at."""
    base = base_name(algorithm)
    if evaluates and (reason := why_without_effect_in_evaluation(algorithm, base, attribute)) is not None:
        raise InputError(f"{option.name} is {quote(value)}, which has no effect there: {reason}.")
    if all(one == option.default for one in search_space.each_value(value)):
        return
    reason = why_without_effect(algorithm, base, attribute)
    if reason is not None:
        raise InputError(f"{option.name} is {quote(value)}, which has no effect on {base}: {reason}.")


class _Option(NamedTuple):
    """An option's name in messages and default; its setter's annotation; type and check of one of ours; null?"""

    name: str
    default: Any
    annotation: Any
    own: Any
    find_problem: Callable[[Any], Mapping[str, Any] | None] | None
    may_be_null: bool


def _check_space(value: Mapping[str, Any], option: _Option) -> dict[str, Any]:
    checked = check_space(value, option.name)
    if means_int(option.default, option.own) and search_space.draws_fractions(checked):
        kind = next(iter(checked))
        raise InputError(f"{option.name} takes whole numbers and {kind} draws others; use randint, or qrandint.")
    fitting = [_check_value(point, option) for point in search_space.points(checked)]
    return dict.fromkeys(checked, fitting) if set(checked) & {GRID, CHOICE} else checked


def _check_nested(value: Any, name: str) -> Any:
    """The form of the grids and domains within an option; what they draw is judged by config.validate()."""
    if not isinstance(value, Mapping):
        return value
    if is_space(value):
        return check_space(value, name)
    return {key: _check_nested(below, f"{name}.{key}") for key, below in value.items()}


def _check_value(value: Any, option: _Option) -> Any:
    name, default = option.name, option.default
    value = as_int_if_meant(value, default, option.own)
    if option.find_problem is not None:
        _check_own_value(value, option)
    elif value is None:
        # An empty value (`lr:`) is a slip where a number is needed; null means "wait for ever" for
        # RLlib's timeouts.
        if type(default) in (bool, int, float) and not name.endswith("_s") and not option.may_be_null:
            raise InputError(f"{name} is empty and must be {wanted_words(default)}; give a value or drop the key.")
    else:
        if name.rpartition(".")[2].startswith(("num_cpus_", "num_gpus_")) and isinstance(default, int):
            # RLlib's default is 1, but Ray gives out fractions.
            default = float(default)
        if not fits(value, default, option.annotation):
            near = _find_misspelt_domain(value)
            raise InputError(f"{name} is {quote(value)} and must be {wanted_words(default)}{near or '.'}")
    return _check_nested(value, name)


def _check_own_value(value: Any, option: _Option) -> None:
    assert option.find_problem is not None
    problem = None if _has_space(value) else option.find_problem(value)
    if problem is None:
        return
    wanted = f"{requirement(problem)} (the default is {quote(option.default)})"
    if value is None:
        raise InputError(f"{option.name} is empty and must be {wanted}; give a value or drop the key.")
    name = ".".join([option.name, *(str(part) for part in problem["loc"][1:])])
    choices = re.findall(r"'([^']*)'", requirement(problem)) if problem["type"] == "literal_error" else ()
    guess = nearest(str(problem["input"]), choices)
    near = _find_misspelt_domain(value) if guess is None else f"; did you mean {guess!r}?"
    raise InputError(f"{name} is {quote(problem['input'])} and must be {wanted}{near or '.'}")


def _has_space(value: Any) -> bool:
    """Whether there are grids or domains within an option, so that its values are known in a trial only."""
    return isinstance(value, Mapping) and (is_space(value) or any(map(_has_space, value.values())))


def _find_misspelt_domain(value: Any) -> str:
    if not isinstance(value, Mapping) or len(value) != 1:
        return ""
    guess = nearest(str(next(iter(value))), {GRID, *DOMAINS})
    return "" if guess is None else f"; did you mean {guess!r}?"


def sample_combinations(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the combinations of a config that are judged before a run, at most 32.

    Args:
        config: a checked config.
    """
    return itertools.islice(search_space.combinations(config), _MAX_VALIDATED_COMBINATIONS)


def build_config(experiment: Experiment, algorithm: type[Any], config: Mapping[str, Any]) -> Any:
    """Build the AlgorithmConfig of one combination.

    Args:
        experiment: gives the base config (Python files) and the environment.
        algorithm: its Algorithm class.
        config: checked keys and values, without grids.

    Returns:
        An unfrozen AlgorithmConfig, not yet validated.

    Raises:
        InputError: RLlib cannot take a value, such as a class that cannot be imported.
    """
    base = experiment.base if experiment.base is not None else algorithm.get_default_config()
    built = base.copy(copy_frozen=False)
    if experiment.env is not None:
        built.environment(env=experiment.env)
    given = with_absolute_paths(config)  # as a trial gets it
    try:
        return built.update_from_dict(given)
    except Exception as error:
        key = next((key for key, value in given.items() if _is_refused(base, key, value)), None)
        what = "its config" if key is None else f"config.{key}, which is {quote(given[key])}"
        reason = f"{algorithm.__name__} refuses {what} ({one_sentence(error)}); correct it"
        raise InputError(f"{experiment.where}: {reason}.") from error


def _is_refused(base: Any, key: str, value: Any) -> bool:
    try:
        base.copy(copy_frozen=False).update_from_dict({key: value})
    except Exception:  # RLlib raises what it likes
        return True
    return False


def validate(experiment: Experiment, algorithm: type[Any], config: Mapping[str, Any]) -> None:
    """Let the algorithm's own ``config.validate()`` judge the combinations, at most 32; of a domain, its ends.

    Args:
        experiment: the experiment.
        algorithm: its Algorithm class.
        config: the checked config.

    Raises:
        InputError: the algorithm refuses the config; its reason is passed on as one sentence.
    """
    _judge(experiment, algorithm, config, "validate")


def validate_options(experiment: Experiment, algorithm: type[Any], config: Mapping[str, Any]) -> None:
    """Judge the options by themselves where the policy that a stage starts from is still to come.

    Args:
        experiment: the experiment.
        algorithm: its Algorithm class; those of RLlib's own judge nothing here.
        config: the checked config.

    Raises:
        InputError: as `validate`.
    """
    if hasattr(algorithm.get_default_config(), "validate_options"):
        _judge(experiment, algorithm, config, "validate_options")


def _judge(experiment: Experiment, algorithm: type[Any], config: Mapping[str, Any], method: str) -> None:
    for chosen in sample_combinations(config):
        built = build_config(experiment, algorithm, chosen)
        _require_data(experiment, algorithm, built)
        try:
            getattr(built, method)()
        except InputError as error:
            raise InputError(f"{experiment.where}: {error}") from error
        except Exception as error:
            reason = one_sentence(error)
            raise InputError(f"{experiment.where}: {algorithm.__name__} refuses its config: {reason}.") from error


def _require_data(experiment: Experiment, algorithm: type[Any], built: Any) -> None:
    """Refuse one of RLlib's offline algorithms without data, which would take the word `sampler` for a path."""
    base = base_name(algorithm)
    if base in OFFLINE and built.input_ == "sampler":
        raise InputError(f"{experiment.where}: {base} learns from recorded data; give `config: {{input: PATH}}`.")


def result_keys(experiment: Experiment, algorithm: type[Any], config: Mapping[str, Any]) -> ResultKeys:
    """Return the results that all trials report, as far as combinations are looked at.

    Args:
        experiment: the experiment.
        algorithm: its Algorithm class.
        config: the checked config, whose options `validate_options` has judged.
    """
    configs = (build_config(experiment, algorithm, chosen) for chosen in sample_combinations(config))
    return ResultKeys(reported_results(each, algorithm) for each in configs)


def one_sentence(error: BaseException) -> str:
    """Return the first paragraph of an exception's text on one line, without its full stop.

    Args:
        error: the exception.
    """
    paragraph = " ".join(str(error).strip().split("\n\n")[0].split())
    return drop_addresses(_RLLIBS_ADVICE.sub("", paragraph)).strip().rstrip(".!") or first_line(error)
