"""The policy that ScoreFlow starts from: the pretrained one with a run's own drift, noise and chain."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from rllib_scoreflow.algorithms.common.options import build_section
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.config import (
    VARIANTS,
    ChainConfig,
    FieldConfig,
    NoiseConfig,
    ScoreConfig,
    SDEConfig,
    default_steps,
    default_tuned_steps,
)
from rllib_scoreflow.flow.objectives import OBJECTIVES
from rllib_scoreflow.flow.processes import process_class
from rllib_scoreflow.policy import FlowPolicy, find_policy


def load_initial_policy(config: Any) -> FlowPolicy:
    """The pretrained policy with the drift, noise and chain of a `ScoreFlowConfig`.

    Raises:
        InputError: If there is no policy at `pretrained_policy`, a section has a bad entry, the policy lacks the
            learned start that `chain` asks for, or its kind leaves the chain no step to train.
    """
    sde = build_denoising(config)
    assert config.pretrained_policy is not None
    folder = find_policy(config.pretrained_policy)
    if folder is None:
        raise InputError(
            f"'{Path(config.pretrained_policy)}' (option 'pretrained_policy') is neither a policy folder "
            "nor a checkpoint that holds one; run FlowBC first."
        )
    with torch.random.fork_rng(devices=[]):
        # New drift and noise networks depend on the seed, and on nothing that was drawn before.
        torch.manual_seed(int(config.seed or 0))
        pretrained = FlowPolicy.load(folder)
        if sde.chain.start == "learned" and pretrained.config.sde.chain.start != "learned":
            raise InputError(
                f"Option 'chain.start' is 'learned', and '{folder}' has no learned start; search one with rllib "
                "evaluate RUN --search-start N, and fine-tune the policy that it stores."
            )
        sde = build_denoising(config, _chain_of_kind(config, sde.chain, pretrained.config.sde.velocity))
        if sde.chain.denoising_steps == 1 and sde.score.form == "contraction" and sde.score.has_drift:
            raise InputError(
                "Option 'score.form' is 'contraction' and the chain has one step, which keeps none of the noise, "
                "so that the drift has no effect; leave 'score' out, or choose a variant without one."
            )
        return pretrained.with_dynamics(sde.score, sde.noise, sde.chain, config.trained_variant, sde.process)


def _chain_of_kind(config: Any, chain: ChainConfig, field: FieldConfig) -> dict[str, Any]:
    """The options of the chain that follow the kind of the velocity, where neither the variant nor the run says."""
    steps = chain.denoising_steps if "denoising_steps" in chain.model_fields_set else default_steps(field)
    if not OBJECTIVES.choose(config.objective).EVALUATES_CHAINS:
        return {"denoising_steps": steps}
    if field.make_kind().untuned_steps >= steps:
        raise InputError(
            f"Option 'chain.denoising_steps' is {steps}, and a velocity of kind '{field.kind}' knows nothing of the "
            "action at the first step, so that PPO on chains has nothing to train; take 2 steps or more, or the "
            "objective 'fpo'."
        )
    return {"denoising_steps": steps, "tuned_steps": default_tuned_steps(field, steps)}


def build_denoising(config: Any, defaults: Mapping[str, Any] | None = None) -> SDEConfig:
    """The sections of a `ScoreFlowConfig`; the velocity is the pretrained policy's, and here any.

    Args:
        config: The `ScoreFlowConfig`.
        defaults: Options of the chain where neither the variant nor the run says; None: those of `ChainConfig`.

    Raises:
        InputError: On the first bad entry of a section, or sections that do not fit each other.
    """
    process = process_class(config.process)
    for name in ("score", "noise"):
        if getattr(config, name) and name not in process.SECTIONS:
            raise InputError(
                f"Option '{name}' has no effect on the denoising process {config.process['type']!r}; leave it out."
            )
    preset = VARIANTS[config.variant]
    score = build_section("score", ScoreConfig, {**preset.score, **config.score})
    noise = build_section("noise", NoiseConfig, {**preset.noise, **config.noise})
    chain = build_section("chain", ChainConfig, {**(defaults or {}), **preset.chain, **config.chain})
    chosen = build_section("process", process.CONFIG, config.process)
    try:
        return SDEConfig(process=chosen, score=score, noise=noise, chain=chain)
    except ValidationError as error:
        reason = error.errors()[0]["ctx"]["error"]
        raise InputError(
            f"Options 'score', 'noise' and 'chain' do not fit each other in variant '{config.variant}': {reason}."
        ) from error
