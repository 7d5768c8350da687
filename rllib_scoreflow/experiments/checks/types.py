"""Does a value fit an option of RLlib's? Judged by its default and its setter's annotation.

RLlib's defaults alone would refuse good values (``rollout_fragment_length`` is "auto" or a number) and its annotations
alone are loose, so a value is refused only when neither takes it. Options of this package are judged by their model.
"""

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from rllib_scoreflow.algorithms.common.rllib_options import OWN_CODE
from rllib_scoreflow.errors import quote

_SIMPLE = (bool, int, float, str)
# Texts that RLlib's options take, where its own checks come late or not at all.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "batch_mode": ("truncate_episodes", "complete_episodes"),
    "count_steps_by": ("env_steps", "agent_steps"),
    "evaluation_duration_unit": ("episodes", "timesteps"),
    "grad_clip_by": ("value", "norm", "global_norm"),
    "gym_env_vectorize_mode": ("sync", "async", "vector_entry_point"),
    "model_size": ("nano", "XXS", "XS", "S", "M", "L", "XL"),
    "log_level": ("DEBUG", "INFO", "WARN", "WARNING", "ERROR"),
    "placement_strategy": ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"),
}
# The least that numbers of RLlib's mean something from.
LEAST: Mapping[str, float] = {
    **dict.fromkeys(
        ("num_env_runners", "num_learners", "evaluation_num_env_runners", "evaluation_interval", "gamma", "lambda_",
         "num_cpus_per_env_runner", "num_gpus_per_env_runner", "num_cpus_per_learner", "num_gpus_per_learner",
         "num_steps_sampled_before_learning_starts", "min_time_s_per_iteration", "tau"), 0,
    ),
    **dict.fromkeys(
        ("num_envs_per_env_runner", "num_epochs", "minibatch_size", "train_batch_size_per_learner",
         "evaluation_duration", "rollout_fragment_length", "n_step", "batch_size_B", "batch_length_T",
         "metrics_num_episodes_for_smoothing"), 1,
    ),
}  # fmt: skip
MOST: Mapping[str, float] = {"gamma": 1, "lambda_": 1, "tau": 1}
# Classes and functions, which no text stands for.
CODE = frozenset({
    *OWN_CODE, *(name.removeprefix("_") for name in OWN_CODE), "rl_module_spec", "custom_evaluation_function",
    "offline_data_class", "prelearner_class", "prelearner_buffer_class",
})  # fmt: skip


def out_of_range(attribute: str, value: Any) -> str | None:
    """Return what a number must be, or None where it may be as it is, or is none.

    Args:
        attribute: of a config of RLlib's.
        value: its value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    least, most = LEAST.get(attribute), MOST.get(attribute)
    if most is not None and not 0 <= value <= most:
        return f"between 0 and {most:g}"
    return f"at least {least:g}" if least is not None and value < least else None


def setter_annotations(config_class: type[Any]) -> Mapping[str, Any]:
    """Return option -> annotation, from the fluent setters (``training(lr=...)``) of a class.

    Args:
        config_class: AlgorithmConfig or a subclass. The setters of the subclass win.
    """
    found: dict[str, Any] = {}
    for base in reversed(config_class.__mro__):
        for name, method in vars(base).items():
            if name.startswith("_") or not inspect.isfunction(method):
                continue
            for parameter in inspect.signature(method).parameters.values():
                if parameter.kind is parameter.KEYWORD_ONLY and parameter.annotation is not parameter.empty:
                    found[parameter.name] = parameter.annotation
    return found


def fits_annotation(value: Any, annotation: Any) -> bool:
    """Say whether a value can be meant by an annotation; what is not understood counts as yes.

    Args:
        value: a plain value.
        annotation: such as ``Optional[Union[int, str]]``. None as a member is ignored, since RLlib
            writes Optional
            everywhere for "may be left out".
    """
    origin = get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(fits_annotation(value, member) for member in get_args(annotation) if member is not type(None))
    if origin is Literal:
        return value in get_args(annotation)
    plain = origin or annotation
    if plain in _SIMPLE:
        return fits_type(value, plain)
    if plain in (list, tuple, Sequence):
        return isinstance(value, list | tuple)
    if plain in (dict, Mapping):
        return isinstance(value, dict)
    return True


def fits_type(value: Any, wanted: type[Any]) -> bool:
    """Say whether a value is of a simple type; ``1e6`` counts as an int, an int as a float.

    Args:
        value: a plain value.
        wanted: bool, int, float or str.
    """
    if wanted is bool or isinstance(value, bool):
        return wanted is bool and isinstance(value, bool)
    if wanted is int:
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if wanted is float:
        return isinstance(value, int | float) or _is_schedule(value)
    return isinstance(value, wanted)


def _is_schedule(value: Any) -> bool:
    """RLlib takes ``[[step, value], ...]`` for most numbers of the loss and the optimiser."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, list) and len(row) == 2 for row in value)


def fits(value: Any, default: Any, annotation: Any) -> bool:
    """Say whether a value fits an option.

    Args:
        value: a plain value, not None.
        default: the option's default.
        annotation: of the option's setter, or None when there is none.
    """
    verdicts: list[bool] = []
    if type(default) in _SIMPLE:
        verdicts.append(fits_type(value, type(default)))
    if annotation is not None:
        verdicts.append(fits_annotation(value, annotation))
    return not verdicts or any(verdicts)


def means_int(default: Any, annotation: Any = None) -> bool:
    """Say whether an option takes whole numbers only.

    Args:
        default: the option's default, which may be an int.
        annotation: the type of an option of ours, such as ``int | None``.
    """
    kinds = get_args(annotation) if get_origin(annotation) in (typing.Union, types.UnionType) else (annotation,)
    return type(default) is int or (int in kinds and float not in kinds)


def as_int_if_meant(value: Any, default: Any, annotation: Any = None) -> Any:
    """Return ``1000000`` for ``1e6`` where an int is meant; every other value as it is.

    Args:
        value: a plain value.
        default: as in `means_int`.
        annotation: as in `means_int`.
    """
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole and means_int(default, annotation) else value


def wanted_words(default: Any) -> str:
    """Say in words what an option takes, from its default."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a mapping",
             list: "a list"}  # fmt: skip
    kind = words.get(type(default), "of another type")
    return f"{kind} (the default is {quote(default)})"
