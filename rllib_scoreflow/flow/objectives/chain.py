"""PPO on denoising chains: the ratio is that of the chain's exact density."""

from typing import ClassVar

import torch

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.losses import clipped_surrogate_loss
from rllib_scoreflow.flow.objectives.base import OBJECTIVES, Columns, Objective, Surrogate, ratio_metrics
from rllib_scoreflow.flow.processes import ChainEvaluation, DenoisingProcess
from rllib_scoreflow.flow.transition import MaskedSum

RANDOM_STEP = "random_step"
"""Column of the number of the one random step, where it is drawn (`chain.random_steps`), `[B]`."""
LOGP = "action_logp"
"""Column of the log-probability of the sampled chain on the configured scale, float32 `[B]`; RLlib's name."""


def random_step_of(columns: Columns) -> torch.Tensor | None:
    """The number of every chain's one random step, int64 `[B]`, as `ChainDistribution` takes it; None: all are random.

    A Learner's columns are float32.
    """
    step = columns.get(RANDOM_STEP)
    return None if step is None else step.long()


@OBJECTIVES.register("chain")
class ChainObjective(Objective):
    """PPO's clipped surrogate with the chain as the action (arXiv 2505.22094; method section 6)."""

    REFERENCE = (LOGP,)
    SAMPLED = (LOGP,)
    METRICS: ClassVar[frozenset[str]] = frozenset(
        {"kl_chain", "logprob_clamp_rate", "sigma_min", "sigma_mean", "sigma_max", "entropy"}
    )
    HAS_ENTROPY = True
    EVALUATES_CHAINS = True

    def check(self, process: DenoisingProcess, variant: str) -> None:
        """Refuses a process without noise, whose chain has no density."""
        if not process.is_stochastic:
            raise InputError(
                f"Variant '{variant}' has no noise, hence nothing to optimise; choose 'noise.kind', or the objective "
                "'fpo', which needs none."
            )

    def sample(
        self, distribution: ChainDistribution, random_step: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Draws chains `[B, K + 1, D]` and their log-probability `[B]`."""
        chain, logp = distribution.sample_with_logp(random_step=random_step)
        return chain, {LOGP: logp}

    def evaluate(self, distribution: ChainDistribution, chain: torch.Tensor, columns: Columns) -> ChainEvaluation:
        """All transitions of the sampled chains."""
        return distribution.evaluate(chain, random_step_of(columns))

    def remember(self, evaluation: ChainEvaluation) -> dict[str, torch.Tensor]:
        """The log-probability `[B]`."""
        return {LOGP: evaluation.logp}

    def surrogate(
        self,
        process: DenoisingProcess,
        evaluation: ChainEvaluation,
        columns: Columns,
        advantages: torch.Tensor,
        *,
        clip_range: float,
        entropy_coeff: float,
    ) -> Surrogate:
        """The clipped surrogate less the entropy bonus, both on the scale of `chain.normalize_logp`."""
        log_ratio = evaluation.logp - columns[LOGP]
        ratio = log_ratio.exp()
        surrogate = clipped_surrogate_loss(ratio, advantages, clip_range)
        metrics = ratio_metrics(ratio, log_ratio, clip_range)
        return Surrogate(
            loss=surrogate - entropy_coeff * evaluation.entropy,
            kl=metrics["kl"],
            metrics={
                "policy_loss": surrogate,
                "entropy": evaluation.entropy,
                **metrics,
                **chain_diagnostics(process, evaluation, columns[LOGP]),
            },
        )


def chain_diagnostics(
    process: DenoisingProcess, evaluation: ChainEvaluation, old_logp: torch.Tensor
) -> dict[str, torch.Tensor | MaskedSum]:
    """Scalars that say where a process stands: common ones, and those of `DenoisingProcess.diagnostics`.

    `kl_chain` is the approximate KL in nats of the whole chain.

    Args:
        process: That was evaluated.
        evaluation: Of `B` chains with `K` steps.
        old_logp: Log-probability at sampling time, on the configured scale, `[B]`.
    """
    std = evaluation.std.detach()
    log_ratio = (evaluation.logp - old_logp).detach() * evaluation.logp_divisor
    return {
        "kl_chain": log_ratio.exp() - 1.0 - log_ratio,
        "logprob_clamp_rate": evaluation.logp_clamp_rate,
        "sigma_min": std.amin(),
        "sigma_mean": std.mean(),
        "sigma_max": std.amax(),
        **process.diagnostics(evaluation),
    }
