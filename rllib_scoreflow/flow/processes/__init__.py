"""Denoising processes: one module each, chosen by `process: {type: NAME}`."""

from rllib_scoreflow.flow.processes.base import (
    PROCESSES,
    DenoisingProcess,
    ProcessConfig,
    SDEConfig,
    make_process,
    parse_process,
    process_class,
)
from rllib_scoreflow.flow.processes.gaussian import GaussianConfig, GaussianDenoising
from rllib_scoreflow.flow.transition import ChainEvaluation, Transition

__all__ = [
    "PROCESSES",
    "ChainEvaluation",
    "DenoisingProcess",
    "GaussianConfig",
    "GaussianDenoising",
    "ProcessConfig",
    "SDEConfig",
    "Transition",
    "make_process",
    "parse_process",
    "process_class",
]
