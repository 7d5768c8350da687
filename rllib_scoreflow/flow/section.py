"""The base of every configuration section."""

from pydantic import BaseModel, ConfigDict

# Far above what anybody trains, so that a damaged or hostile policy.json cannot ask for hours of building.
MAX_LAYERS = 256


class Section(BaseModel):
    """A section such as `score:`: unknown keys, wrong types and numbers that are not finite are refused.

    The text below a field describes it (`rllib_scoreflow.algorithms.common.option_text`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)
