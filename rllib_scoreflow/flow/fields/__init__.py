"""Velocity fields: one module each, chosen by `velocity: {type: NAME}`."""

from rllib_scoreflow.flow.fields.base import FIELDS, FieldConfig, VelocityField, field_class, make_field, parse_field
from rllib_scoreflow.flow.fields.mlp import VelocityConfig

__all__ = ["FIELDS", "FieldConfig", "VelocityConfig", "VelocityField", "field_class", "make_field", "parse_field"]
