"""Configuration of the flow policy, and the named variants of the method.

The classes are the single place of their defaults: YAML sections, Python keyword arguments and the saved policy
artefact are all read into them, and unknown keys or wrong types are refused. The defaults are the published values
for D4RL locomotion (arXiv 2604.10962 and 2505.22094).
"""

from typing import Any

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
    "VelocityConfig",
    "VisionConfig",
    "apply_variant",
]

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "flow": {"score": {"strength": "none"}, "noise": {"kind": "none"}},
    "reinflow": {"score": {"strength": "none"}, "noise": {"kind": "learn"}},
    "score_sde_fixed": {"score": {"strength": "constant"}, "noise": {"kind": "coupled"}},
    "score_sde": {"score": {"strength": "mlp"}, "noise": {"kind": "coupled"}},
    "constant_alpha": {"score": {"strength": "constant"}, "noise": {"kind": "learn"}},
    "scoreflow": {"score": {"strength": "mlp"}, "noise": {"kind": "learn"}},
}
"""The method, its baselines and its ablations as overrides of `ScoreConfig` and `NoiseConfig`."""


def apply_variant(
    variant: str, score: dict[str, Any] | None = None, noise: dict[str, Any] | None = None
) -> tuple[ScoreConfig, NoiseConfig]:
    """Builds the two sections of a named variant; explicit `score` and `noise` keys win.

    Raises:
        KeyError: If `variant` is not in `VARIANTS`.
        pydantic.ValidationError: On an unknown key or a wrong type in `score` or `noise`.
    """
    preset = VARIANTS[variant]
    return (
        ScoreConfig(**{**preset["score"], **(score or {})}),
        NoiseConfig(**{**preset["noise"], **(noise or {})}),
    )
