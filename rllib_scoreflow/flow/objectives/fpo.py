"""Flow policy optimisation: the ratio is made of errors of flow matching, and needs no density."""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.losses import clipped_surrogate_loss, trust_region_loss
from rllib_scoreflow.flow.objectives.base import (
    OBJECTIVES,
    Columns,
    Objective,
    ObjectiveConfig,
    Surrogate,
    ratio_metrics,
)
from rllib_scoreflow.flow.processes import DenoisingProcess
from rllib_scoreflow.flow.processes.base import VELOCITY

NOISE = "fpo_noise"
"""Column of the source draws of `n` pairs, float32 `[B, n, D]`."""
TIME = "fpo_time"
"""Column of their times, float32 `[B, n, 1]`."""
ERROR = "fpo_error"
"""Column of the errors of the policy that sampled, float32 `[B, n]`."""


class FlowPolicyOptimizationConfig(ObjectiveConfig):
    """Options of `objective: fpo`; the defaults are those of FPO++'s fine-tuning (arXiv 2602.02481).

    Those of the first FPO (arXiv 2507.21053) are `fpo: {pairs: 8, ratio: mean}` with `clip_param: 0.05`. An error is a
    mean over the numbers of a chunk, as in cloning.
    """

    pairs: int = Field(default=16, ge=1)
    """Pairs of noise and time at which every chunk's error is taken."""
    ratio: Literal["pair", "mean"] = "pair"
    """`pair`: every pair has a ratio, which is clipped by itself; `mean`: one ratio, of the mean error."""
    negative: Literal["clip", "trust_region"] = "clip"
    """What bounds the ratio where the advantage is negative: PPO's clip, or a quadratic penalty, whose gradient leads
    back from anywhere (FPO++'s asymmetric trust region)."""


@OBJECTIVES.register("fpo")
class FlowPolicyOptimization(Objective):
    """FPO: the ratio is `exp(old error - new error)` of conditional flow matching towards the executed chunk.

    The error bounds the negative log-likelihood of a chunk, so that the ratio stands for that of the likelihoods. It
    trains the velocity alone, however chains are sampled: with a random start, with noise of fixed size, or both
    (method section 12).
    """

    CONFIG = FlowPolicyOptimizationConfig
    SECTION = "fpo"
    REFERENCE = (ERROR,)
    METRICS: ClassVar[frozenset[str]] = frozenset({"flow_matching_error"})

    config: FlowPolicyOptimizationConfig

    def check(self, process: DenoisingProcess, variant: str) -> None:
        """Refuses what it would not train, and a policy that does not explore."""
        velocity = process.config.velocity
        if velocity.takes_step_size:
            raise InputError(
                f"Objective 'fpo' trains a velocity by the error of flow matching, and that of the pretrained policy, "
                f"of kind '{velocity.kind}', is followed over steps that this error does not see; clone one of kind "
                "'flow', or take the objective 'chain'."
            )
        for name, network in process.networks().items():
            if name != VELOCITY and any(True for _ in network.parameters()):
                raise InputError(
                    f"Objective 'fpo' trains the velocity alone, and variant '{variant}' learns '{name}'; set variant: "
                    "flow, or make drift and noise constant (score.strength, noise.kind)."
                )
        chain = process.config.chain
        if chain.tuned_steps is not None:
            raise InputError(
                "Objective 'fpo' trains the velocity at all times, and chain.tuned_steps at some steps; set it to null."
            )
        if chain.start != "normal" and not process.is_stochastic:
            raise InputError(
                f"Variant '{variant}' has no noise and chain.start is '{chain.start}', so that objective 'fpo' has "
                "nothing to compare; set chain.start to 'normal', or noise.kind to 'constant'."
            )

    def draw(self, rows: int, chunk_dim: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Noise and uniform times of all pairs."""
        pairs = (rows, self.config.pairs)
        return {
            NOISE: torch.randn((*pairs, chunk_dim), generator=generator, device=generator.device),
            TIME: torch.rand((*pairs, 1), generator=generator, device=generator.device),
        }

    def evaluate(self, distribution: ChainDistribution, chain: torch.Tensor, columns: Columns) -> torch.Tensor:
        """Errors `[B, n]` of the chunks that the chains end in, in one network pass of batch `B * n`."""
        noise, time = columns[NOISE], columns[TIME]
        rows, pairs, dim = noise.shape
        velocity = distribution.process.velocity
        error = velocity.config.make_kind().matching_error(
            velocity,
            distribution.observation.repeat_interleave(pairs, dim=0),
            chain[:, -1].repeat_interleave(pairs, dim=0),
            noise.reshape(-1, dim),
            time.reshape(-1, 1),
        )
        return error.view(rows, pairs)

    def remember(self, evaluation: torch.Tensor) -> dict[str, torch.Tensor]:
        """The errors `[B, n]`."""
        return {ERROR: evaluation}

    def surrogate(
        self,
        process: DenoisingProcess,
        evaluation: torch.Tensor,
        columns: Columns,
        advantages: torch.Tensor,
        *,
        clip_range: float,
        entropy_coeff: float,
    ) -> Surrogate:
        """The clipped surrogate, averaged over the pairs where each has a ratio; there is no entropy."""
        log_ratio = columns[ERROR] - evaluation
        if self.config.ratio == "mean":
            log_ratio = log_ratio.mean(dim=1, keepdim=True)
        ratio, weight = log_ratio.exp(), advantages.unsqueeze(1)
        loss = clipped_surrogate_loss(ratio, weight, clip_range)
        if self.config.negative == "trust_region":
            loss = torch.where(weight < 0.0, trust_region_loss(ratio, weight, clip_range), loss)
        loss = loss.mean(dim=1)
        metrics = ratio_metrics(ratio, log_ratio, clip_range)
        return Surrogate(
            loss=loss,
            kl=metrics["kl"],
            metrics={"policy_loss": loss, "flow_matching_error": evaluation.mean(dim=1), **metrics},
        )
