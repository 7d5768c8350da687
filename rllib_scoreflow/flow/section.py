"""The base of every configuration section."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

# Far above what anybody trains, so that a damaged or hostile policy.json cannot ask for hours of building.
MAX_LAYERS = 256


class Section(BaseModel):
    """A section such as `score:`: unknown keys, wrong types and numbers that are not finite are refused.

    The text below a field describes it (`rllib_scoreflow.algorithms.common.option_text`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


Chosen = TypeVar("Chosen", bound=Section)


def parse_tagged(
    values: Mapping[str, Any] | Chosen, base: type[Chosen], choose: Callable[[Mapping[str, Any]], type[Any]]
) -> Chosen:
    """Builds a section whose key `type` says which class it configures, such as one of a saved policy.

    Args:
        values: The section's keys, or the section itself.
        base: What all such sections extend.
        choose: The class that a section's keys name; its `CONFIG` is the section's model.

    Raises:
        ValueError: No such class is registered (`InputError`), or an unknown key or a wrong value.
    """
    if isinstance(values, base):
        return values
    if not isinstance(values, Mapping):
        raise ValueError("it must be a mapping of options")
    section: Chosen = choose(values).CONFIG.model_validate(dict(values))
    return section
