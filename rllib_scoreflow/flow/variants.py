"""The methods of the family by name, as one table: what each is, and the sections that make it so."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rllib_scoreflow.flow.sections import ChainConfig, NoiseConfig, ScoreConfig


@dataclass(frozen=True)
class Variant:
    """A method of the family: what it is, and the sections that make it so.

    On its path, one step of it is `x_s = a(s) D^ + w N^ + sigma z` (`rllib_scoreflow.flow.kernel`, with `c = b(s)`).

    Attributes:
        path: The path that it is published on; every variant works on the path that the policy was cloned on.
        w: Coefficient of the noise estimate.
        sigma: Standard deviation of the fresh noise.
        random_steps: Which steps are drawn and scored.
        objective: What fine-tuning improves.
        source: Where it is from.
        score: Overrides of `ScoreConfig`.
        noise: Overrides of `NoiseConfig`.
        chain: Overrides of `ChainConfig`.
    """

    path: str
    w: str
    sigma: str
    random_steps: str
    objective: str
    source: str
    score: Mapping[str, Any]
    noise: Mapping[str, Any]
    chain: Mapping[str, Any] = field(default_factory=dict)


_CHAIN_RATIO = "chain"
_NO_DRIFT = {"strength": "none"}
_FREE = {"mean_clip": None}
_SCORE_W = "c - alpha dt / b"
_SCOREFLOW, _REINFLOW, _PIRL = "arXiv 2604.10962", "arXiv 2505.22094", "arXiv 2510.25889"

_REINFLOW_VARIANT = Variant("linear", "c", "learned", "all", _CHAIN_RATIO, _REINFLOW, _NO_DRIFT, {"kind": "learn"})

VARIANTS: dict[str, Variant] = {
    "flow": Variant("any", "c", "0", "none", "fpo, or evaluation", "arXiv 2210.02747", _NO_DRIFT, {"kind": "none"}),
    "reinflow": _REINFLOW_VARIANT,
    "flow_noise": replace(_REINFLOW_VARIANT, source=f"piRL's name for reinflow, {_PIRL}"),
    "scoreflow": Variant(
        "linear", f"{_SCORE_W}, alpha learned", "learned", "all", _CHAIN_RATIO, _SCOREFLOW,
        {"strength": "mlp"}, {"kind": "learn"},
    ),
    "constant_alpha": Variant(
        "linear", f"{_SCORE_W}, alpha constant", "learned", "all", _CHAIN_RATIO, f"ablation, {_SCOREFLOW}",
        {"strength": "constant"}, {"kind": "learn"},
    ),
    "score_sde": Variant(
        "linear", f"{_SCORE_W}, alpha learned", "sqrt(2 alpha dt)", "all", _CHAIN_RATIO, f"ablation, {_SCOREFLOW}",
        {"strength": "mlp"}, {"kind": "coupled"},
    ),
    "score_sde_fixed": Variant(
        "linear", f"{_SCORE_W}, alpha constant", "sqrt(2 alpha dt)", "all", _CHAIN_RATIO, f"ablation, {_SCOREFLOW}",
        {"strength": "constant"}, {"kind": "coupled"},
    ),
    "flow_sde": Variant(
        "linear", "c - s^2 dt / (2 b)", "s sqrt(dt), s = level sqrt(b / a)", "all", _CHAIN_RATIO,
        f"Flow-GRPO, arXiv 2505.05470; {_PIRL}", _NO_DRIFT, {"kind": "flow_sde"}, _FREE,
    ),
    "cps": Variant(
        "linear", "c cos(pi level / 2)", "c sin(pi level / 2)", "all but the last", _CHAIN_RATIO, "arXiv 2509.05952",
        _NO_DRIFT, {"kind": "cps"}, _FREE,
    ),
    "ddim": Variant(
        "cosine", "sqrt(c^2 - eta^2 p^2)", "max(eta p, sigma_min)", "all", _CHAIN_RATIO,
        "DDIM, arXiv 2010.02502, as fine-tuned by DPPO, K = 5", _NO_DRIFT, {"kind": "ddim"},
        {**_FREE, "denoising_steps": 5},
    ),
    "dppo": Variant(
        "cosine", "sqrt(c^2 - p^2)", "max(p, sigma_min)", "the last 10 of 20", _CHAIN_RATIO,
        "DPPO, arXiv 2409.00588", _NO_DRIFT, {"kind": "ddim"},
        {**_FREE, "denoising_steps": 20, "tuned_steps": 10},
    ),
    "action_noise": Variant(
        "linear", "c", "learned at the last step, 0 before", "last", _CHAIN_RATIO,
        "StructRL's control, arXiv 2608.15139", _NO_DRIFT, {"kind": "learn"}, {"random_steps": "last"},
    ),
}  # fmt: skip
"""The methods of the family, their baselines and ablations. `p` is the deviation of DDPM's posterior."""


def apply_variant(
    variant: str, score: Mapping[str, Any] | None = None, noise: Mapping[str, Any] | None = None
) -> tuple[ScoreConfig, NoiseConfig]:
    """Builds the sections `score` and `noise` of a named variant; explicit keys win.

    Raises:
        KeyError: If `variant` is not in `VARIANTS`.
        pydantic.ValidationError: On an unknown key or a wrong type in `score` or `noise`.
    """
    preset = VARIANTS[variant]
    return ScoreConfig(**{**preset.score, **(score or {})}), NoiseConfig(**{**preset.noise, **(noise or {})})


def apply_chain(variant: str, chain: Mapping[str, Any] | None = None) -> ChainConfig:
    """Builds the section `chain` of a named variant; explicit keys win.

    Raises:
        KeyError: If `variant` is not in `VARIANTS`.
        pydantic.ValidationError: On an unknown key or a wrong type in `chain`.
    """
    return ChainConfig(**{**VARIANTS[variant].chain, **(chain or {})})


def variants_table() -> str:
    """The table of all variants in Markdown, as README shows it."""
    columns = ("path", "w", "sigma", "random_steps", "objective", "source")
    rows = [["variant", *(name.replace("_", " ") for name in columns)], ["---"] * (len(columns) + 1)]
    for name, variant in VARIANTS.items():
        rows.append([f"`{name}`", *(getattr(variant, key) for key in columns)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
