"""Configuration of the flow policy in one place: its sections, and the named variants of the method.

The classes are the single place of their defaults: YAML sections, Python keyword arguments and the saved policy
artefact are all read into them, and unknown keys or wrong types are refused. The defaults are the published values
for D4RL locomotion (arXiv 2604.10962 and 2505.22094).
"""

from rllib_scoreflow.flow.fields import FieldConfig, VelocityConfig
from rllib_scoreflow.flow.processes import ProcessConfig, SDEConfig
from rllib_scoreflow.flow.sections import (
    LARGEST_ALPHA,
    MAX_DENOISING_STEPS,
    STORED,
    ChainConfig,
    NoiseConfig,
    ScoreConfig,
    VisionConfig,
)
from rllib_scoreflow.flow.variants import VARIANTS, Variant, apply_chain, apply_variant

__all__ = [
    "LARGEST_ALPHA",
    "MAX_DENOISING_STEPS",
    "STORED",
    "VARIANTS",
    "ChainConfig",
    "FieldConfig",
    "NoiseConfig",
    "ProcessConfig",
    "SDEConfig",
    "ScoreConfig",
    "Variant",
    "VelocityConfig",
    "VisionConfig",
    "apply_chain",
    "apply_variant",
    "default_steps",
    "default_tuned_steps",
]


def default_steps(field: FieldConfig) -> int:
    """Denoising steps `K` of a policy with such a velocity field where nobody says: those that its kind is made for."""
    return field.make_kind().denoising_steps or ChainConfig().denoising_steps


def default_tuned_steps(field: FieldConfig, denoising_steps: int) -> int | None:
    """How many of `denoising_steps` PPO on chains of such a field trains where nobody says; None: all."""
    untuned = field.make_kind().untuned_steps
    return denoising_steps - untuned if 0 < untuned < denoising_steps else None
