"""What a sweep varies, in YAML: ``{loguniform: [1.0e-5, 1.0e-3]}`` is ``ray.tune.loguniform(1e-5, 1e-3)``.

In ``config:`` such a mapping may stand wherever a value may. It stays in this form until Tune gets it, so that a
fingerprint depends on the domain and never on a draw.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rllib_scoreflow.errors import InputError, quote

GRID = "grid_search"
CHOICE = "choice"
# Tune's functions of plain numbers, and the names of their arguments.
DOMAINS: Mapping[str, tuple[str, ...]] = {
    CHOICE: ("values",),
    "uniform": ("lower", "upper"),
    "quniform": ("lower", "upper", "q"),
    "loguniform": ("lower", "upper"),
    "qloguniform": ("lower", "upper", "q"),
    "randn": ("mean", "sd"),
    "qrandn": ("mean", "sd", "q"),
    "randint": ("lower", "upper"),
    "qrandint": ("lower", "upper", "q"),
    "lograndint": ("lower", "upper"),
    "qlograndint": ("lower", "upper", "q"),
}
Path = tuple[str, ...]


def is_space(value: Any) -> bool:
    """Say whether a config value stands for several: a grid, or a domain to draw from."""
    return isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in {GRID, *DOMAINS}


def map_values(value: Any, change: Callable[[Any], Any]) -> Any:
    """Change a value, or each one of a grid or choice.

    Args:
        value: of a key.
        change: what to do with one value.
    """
    if is_space(value):
        kind, values = next(iter(value.items()))
        if kind in (GRID, CHOICE) and isinstance(values, list):
            return {kind: [change(one) for one in values]}
    return change(value)


def each_value(value: Any) -> list[Any]:
    """The values of a grid or choice, or the value itself."""
    if is_space(value):
        kind, values = next(iter(value.items()))
        if kind in (GRID, CHOICE) and isinstance(values, list):
            return list(values)
    return [value]


def check_space(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Check the form of a grid or domain.

    Args:
        value: a mapping for which `is_space` holds.
        name: its key, for the message.

    Returns:
        The same, with whole floats as ints where Tune needs ints.

    Raises:
        InputError: a list is missing or empty, or Tune takes other arguments.
    """
    kind, arguments = next(iter(value.items()))
    where = f"{name}.{kind}"
    if not isinstance(arguments, list) or not arguments:
        what = "values to try" if kind in (GRID, CHOICE) else ", ".join(DOMAINS[kind])
        raise InputError(f"{where} is {quote(arguments)} and must be a list of {what}.")
    if kind in (GRID, CHOICE):
        return {kind: list(arguments)}
    names = DOMAINS[kind]
    plain = all(isinstance(number, int | float) and not isinstance(number, bool) for number in arguments)
    if len(arguments) != len(names) or not plain:
        raise InputError(f"{where} is {quote(arguments)} and must be the numbers [{', '.join(names)}].")
    if names[0] == "lower" and arguments[0] >= arguments[1]:
        raise InputError(f"{where} is {quote(arguments)}, whose lower end is not below its upper one; correct them.")
    if kind.endswith("randint"):
        if not all(float(number).is_integer() for number in arguments):
            raise InputError(f"{where} is {quote(arguments)} and must be whole numbers; use uniform for others.")
        arguments = [int(number) for number in arguments]
    checked = {kind: list(arguments)}
    try:
        to_tune(checked)
    except Exception as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0].rstrip(".")
        raise InputError(f"{where} is {quote(arguments)}, and Tune refuses that ({reason}).") from error
    return checked


def draws_fractions(value: Mapping[str, Any]) -> bool:
    """Say whether a checked domain of numbers can give one that is not whole."""
    kind = next(iter(value))
    return kind not in (GRID, CHOICE) and not kind.endswith("randint")


def points(value: Mapping[str, Any]) -> list[Any]:
    """Return the values of a checked grid or choice, or both ends of a domain (one deviation around a mean).

    Args:
        value: from `check_space`.
    """
    kind, arguments = next(iter(value.items()))
    if kind in (GRID, CHOICE):
        return list(arguments)
    first, second = arguments[:2]
    if kind in ("randn", "qrandn"):
        return [first - second, first + second]
    # A quantum makes the upper end inclusive, except for 1.
    inclusive = not kind.endswith("randint") or (len(arguments) > 2 and arguments[2] != 1)
    return [first, second if inclusive else second - 1]


def bounds(value: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the smallest and the largest value of a checked domain of numbers, or None where there is none."""
    kind = next(iter(value))
    if kind in (GRID, CHOICE, "randn", "qrandn"):
        return None
    lower, upper = points(value)
    return lower, upper


def spaces(config: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield path and value of every grid and domain in a config, however deep in its mappings.

    Args:
        config: a config.
        path: what to put before every path.
    """
    for key, value in config.items():
        here = (*path, str(key))
        if is_space(value):
            yield here, value
        elif isinstance(value, Mapping):
            yield from spaces(value, here)


def find_swept_keys(config: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys that a config leaves open, such as ``noise.sigma_max``."""
    return [".".join(path) for path, _ in spaces(config)]


def combinations(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the configs that a config with grids stands for; a domain counts as a grid of its ends.

    The first ones hold every single value at least once, for those who look at a few only.

    Args:
        config: a checked config.
    """
    axes = {path: points(value) for path, value in spaces(config)}
    lengths = [len(values) for values in axes.values()]
    diagonal = [tuple(row % length for length in lengths) for row in range(max(lengths, default=1))]
    every = itertools.product(*(range(length) for length in lengths))
    known = set(diagonal)
    for indices in itertools.chain(dict.fromkeys(diagonal), (row for row in every if row not in known)):
        chosen = {path: values[i] for (path, values), i in zip(axes.items(), indices, strict=True)}
        yield _resolve(config, chosen)


def _resolve(config: Mapping[str, Any], chosen: Mapping[Path, Any], path: Path = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        here = (*path, str(key))
        if here in chosen:
            found[key] = chosen[here]
        else:
            found[key] = _resolve(value, chosen, here) if isinstance(value, Mapping) else value
    return found


def to_tune(value: Any) -> Any:
    """Return a checked config in which every domain is Tune's object; grids Tune knows in this form.

    Args:
        value: a config, or a part of one.
    """
    from ray import tune

    if not isinstance(value, Mapping):
        return value
    if is_space(value) and GRID not in value:
        kind, arguments = next(iter(value.items()))
        return getattr(tune, kind)(arguments) if kind == CHOICE else getattr(tune, kind)(*arguments)
    return {key: to_tune(below) for key, below in value.items()}


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return one config with another laid over it, mapping by mapping; a grid or domain counts as a value.

    Args:
        below: what counts where `above` says nothing.
        above: what counts.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping) and not is_space(value) and not is_space(old)
        merged[key] = overlay(old, value) if both else value  # type: ignore[arg-type]
    return merged


def refuse_code(value: Any, name: str) -> None:
    """Refuse ``{eval: ...}``, which Tune would run as Python: an experiment file is data.

    Args:
        value: a config, or a part of one.
        name: its key, for the message.

    Raises:
        InputError: it is there.
    """
    below: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        if set(value) == {"eval"}:
            raise InputError(
                f"{name} is {quote(dict(value))}, which Tune would run as Python code; write the value itself."
            )
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    for key, part in below:
        refuse_code(part, f"{name}.{key}")
