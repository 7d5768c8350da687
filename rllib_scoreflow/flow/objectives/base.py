"""What an objective of fine-tuning is, and how a configuration chooses one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.processes import DenoisingProcess
from rllib_scoreflow.flow.section import Section
from rllib_scoreflow.flow.transition import MaskedSum
from rllib_scoreflow.registry import Registry

Columns = Mapping[str, torch.Tensor]
"""Tensors `[B, ...]` by name, a row for every decision."""


class ObjectiveConfig(Section):
    """Options of an objective that has none."""


@dataclass(frozen=True)
class Surrogate:
    """An objective's share in the loss, to be minimised.

    Attributes:
        loss: Of every decision, `[B]`.
        kl: Approximate KL of the sampling policy from the present one, per decision, `[B]`.
        metrics: By name, per decision `[B]` or for all of them, a scalar; they may hang on the graph.
    """

    loss: torch.Tensor
    kl: torch.Tensor
    metrics: Mapping[str, torch.Tensor | MaskedSum]


class Objective:
    """A surrogate for the return, from a ratio of the present policy to the one that sampled.

    A subclass is registered in `OBJECTIVES`. An EnvRunner calls `sample`. A Learner calls `draw` once before the first
    gradient step of an update, computes the columns `REFERENCE` that the samples lack without gradient (`evaluate`,
    `remember`), and calls `evaluate` and `surrogate` in every gradient step. `evaluate` is all that gradients flow
    through networks in.

    Attributes:
        config: Its options.
    """

    CONFIG: ClassVar[type[ObjectiveConfig]] = ObjectiveConfig
    """Model of its options."""
    SECTION: ClassVar[str | None] = None
    """Option of `ScoreFlowConfig` that holds them; None: it has none."""
    REFERENCE: ClassVar[tuple[str, ...]] = ()
    """Columns that hold what is known of the policy that sampled."""
    SAMPLED: ClassVar[tuple[str, ...]] = ()
    """Those of them that `sample` gives."""
    METRICS: ClassVar[frozenset[str]] = frozenset()
    """Names of the metrics of every process."""
    HAS_ENTROPY: ClassVar[bool] = False
    """Whether the entropy bonus has an effect."""
    EVALUATES_CHAINS: ClassVar[bool] = False
    """Whether `evaluate` is that of `ChainDistribution`; the process's own diagnostics are among the metrics then."""

    def __init__(self, config: ObjectiveConfig) -> None:
        """Takes the options."""
        self.config = config

    def check(self, process: DenoisingProcess, variant: str) -> None:
        """Refuses a process that it cannot train.

        Args:
            process: With the velocity of the pretrained policy.
            variant: What messages call it.

        Raises:
            InputError: With the reason and the remedy.
        """

    def sample(
        self, distribution: ChainDistribution, random_step: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Draws chains `[B, K + 1, D]`, and the columns `SAMPLED`; `random_step` is of `draw_step`."""
        return distribution.sample(), {}

    def draw(self, rows: int, chunk_dim: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Random columns of an update.

        Args:
            rows: Decisions of all Learners; each keeps its own of them.
            chunk_dim: Size `D` of a chunk.
            generator: Of the Learner, on its device.
        """
        return {}

    def evaluate(self, distribution: ChainDistribution, chain: torch.Tensor, columns: Columns) -> Any:
        """What the surrogate is computed from, with gradient.

        Args:
            distribution: Of the present policy, given the observations.
            chain: Sampled chains, `[B, K + 1, D]`.
            columns: Those of `draw`.
        """
        raise NotImplementedError

    def remember(self, evaluation: Any) -> dict[str, torch.Tensor]:
        """The columns `REFERENCE`, of an evaluation by the policy that sampled."""
        raise NotImplementedError

    def surrogate(
        self,
        process: DenoisingProcess,
        evaluation: Any,
        columns: Columns,
        advantages: torch.Tensor,
        *,
        clip_range: float,
        entropy_coeff: float,
    ) -> Surrogate:
        """The loss of every decision, and metrics.

        Args:
            process: That was evaluated.
            evaluation: Of `evaluate`.
            columns: With `REFERENCE`.
            advantages: Normalised, `[B]`.
            clip_range: Of the ratio.
            entropy_coeff: Weight of the entropy bonus.
        """
        raise NotImplementedError


OBJECTIVES: Registry[type[Objective]] = Registry("objective", "objective")
"""Objectives by the name that the option `objective` gives them."""

DEFAULT_OBJECTIVE = "chain"


def make_objective(values: Mapping[str, Any] | None = None) -> Objective:
    """An objective from its options and, under `type`, its name; the default one of None.

    Raises:
        InputError: No such objective is registered.
        pydantic.ValidationError: On an unknown key or a wrong value.
    """
    options = dict(values or {})
    chosen = OBJECTIVES.choose(options.pop("type", DEFAULT_OBJECTIVE))
    return chosen(chosen.CONFIG(**options))


def ratio_metrics(ratio: torch.Tensor, log_ratio: torch.Tensor, clip_range: float) -> dict[str, torch.Tensor]:
    """Where probability ratios `[B]`, or `[B, n]` of `n` pairs, stand; per decision, `[B]`."""
    away = (ratio - 1.0).abs()
    found = {
        "ratio_mean": ratio,
        "kl": ratio - 1.0 - log_ratio,
        "clip_fraction": (away > clip_range).float(),
        "ratio_error": away,
    }
    return {name: value if value.dim() == 1 else value.mean(dim=1) for name, value in found.items()}
