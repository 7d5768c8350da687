"""What an experiment may say, key by key, with the defaults, and what to say of a value that does not fit."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.suggest import hint

# A slip in num_samples would run until somebody stops it.
_MOST_SAMPLES = 100_000
_LARGEST_SEED = 2**32 - 1  # numpy takes none above
_Order = Literal["max", "min"]


class Settings(BaseModel):
    """Keys of a file: nothing is parsed from texts, and what is not known is refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CheckpointSettings(Settings):
    """`checkpoint_config:`, the arguments of Tune's CheckpointConfig."""

    checkpoint_frequency: int = Field(default=10, ge=0)
    checkpoint_at_end: bool = True
    num_to_keep: int | None = Field(default=2, ge=1)
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: _Order = "max"


class ExperimentSettings(Settings):
    """The keys of an experiment; those of `config` are the algorithm's to judge."""

    run: str
    stop: dict[Any, float]
    env: str | None = None
    weights_from: str | None = None
    restore: str | None = None  # an RLlib checkpoint that trials start from, with its counters
    config: dict[Any, Any] | None = None
    num_samples: int = Field(default=1, ge=1, le=_MOST_SAMPLES)
    search_seed: int = Field(default=0, ge=0, le=_LARGEST_SEED)
    checkpoint_config: dict[Any, Any] | None = None
    max_failures: int = Field(default=3, ge=-1)  # of a trial, as when it has lost a Learner or its node
    max_concurrent_trials: int = Field(default=0, ge=1)  # by default as many as there is room for
    scheduler: str | None = None
    scheduler_config: dict[Any, Any] | None = None
    metric: str | None = None
    mode: _Order = "max"
    loggers: dict[Any, dict[Any, Any] | None] | None = None


_KINDS = {
    "bool_type": "true or false", "int_type": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "string_type": "a string", "dict_type": "a mapping", "list_type": "a list",
    "finite_number": "a finite number",
}  # fmt: skip
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"), "greater_than": ("greater than", "gt"),
    "less_than_equal": ("at most", "le"), "less_than": ("less than", "lt"),
}  # fmt: skip


def requirement(error: Mapping[str, Any]) -> str:
    """What a value must be, such as `a whole number`, `at least 1` or `'max' or 'min'`.

    Args:
        error: an entry of `ValidationError.errors()`.
    """
    kind = error["type"]
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        bound = error["ctx"][name]
        return f"{words} {bound if isinstance(bound, int) else format(bound, 'g')}"
    if kind == "literal_error":
        return str(error["ctx"]["expected"])
    return _KINDS.get(kind) or str(error["msg"]).removeprefix("Input should be ")


def refuse_unknown_keys(model: type[Settings], values: Mapping[str, Any], where: str, *, below: str = "") -> None:
    """Checks the keys of a file; see `check_settings`.

    Raises:
        InputError: naming the first key that is unknown, and the nearest one that is not.
    """
    for key in values:
        if key not in model.model_fields:
            named = f"{below}{shorten(str(key))}" if below else quote(key)
            raise InputError(f"{where}: unknown key {named}; {hint(str(key), model.model_fields, 'the keys are')}")


def check_settings(model: type[Settings], values: Mapping[str, Any], where: str, *, below: str = "") -> None:
    """Checks the values of known keys of a file.

    Args:
        model: what there may be.
        values: key -> value.
        where: the start of the message.
        below: the key that they stand below, with a dot.

    Raises:
        InputError: naming the first key whose value does not fit.
    """
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = below + ".".join(shorten(str(part)) for part in first["loc"])
        raise InputError(f"{where}: {key} is {quote(first['input'])} and must be {requirement(first)}.") from error
