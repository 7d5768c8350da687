"""Several policies on the same episodes: the same initial states and the same draws, so that differences are paired."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from rllib_scoreflow.envs.make import Backend
from rllib_scoreflow.evaluation.evaluate import Act, evaluate_policy
from rllib_scoreflow.evaluation.result import EvaluationResult, none_if_undefined, standard_error
from rllib_scoreflow.flow.start import Start
from rllib_scoreflow.observations import num_rows
from rllib_scoreflow.policy import FlowPolicy

# So many at once, each in a sub environment of its own: what one policy makes of an episode must not change how the
# next one begins.
_BLOCK = 40
# The noise of exploration comes from another stream than the starts, which are then the same with it and without.
_NOISE_STREAM = 1 << 32


@dataclass(frozen=True)
class Manner:
    """How a policy is played.

    Attributes:
        mode: as of FlowPolicy.act.
        start: where the chain starts; None: the policy's own.
        explore: draw with the policy's noise.
        denoising_steps: K, or None for the policy's own.
    """

    mode: Literal["policy", "flow"] = "policy"
    start: Start | None = None
    explore: bool = False
    denoising_steps: int | None = None


@dataclass(frozen=True)
class Place:
    """Where policies are compared.

    Attributes:
        env_id: D4RL dataset id, gymnasium id or "module:EnvId".
        env_config: keyword arguments of the environment and the keys of EnvSettings.
        backend: see make_chunk_vector_env.
    """

    env_id: str
    env_config: Mapping[str, Any]
    backend: Backend = "auto"


def make_act(policy: FlowPolicy, manner: Manner, seed: int) -> Act:
    """Return what plays a policy, with draws that depend on `seed` alone.

    The start of every chain is drawn in every call, also where it is not used: the draw of an episode's decision is
    the same for every policy and manner.

    Args:
        policy: the policy.
        manner: how to play it.
        seed: of starts and noise.
    """
    starts = torch.Generator().manual_seed(seed)
    noise = torch.Generator().manual_seed(seed + _NOISE_STREAM)
    start = manner.start or policy.config.sde.chain.start

    def act(observation: Any) -> Any:
        drawn = torch.randn((num_rows(observation), policy.config.chunk_dim), generator=starts).numpy()
        return policy.act(
            observation,
            mode=manner.mode,
            explore=manner.explore,
            denoising_steps=manner.denoising_steps,
            start=manner.start,
            initial=drawn if start == "normal" else None,
            generator=noise,
        )

    return act


def play_same_episodes(
    policy: FlowPolicy, manner: Manner, place: Place, *, episodes: int, seed: int
) -> EvaluationResult:
    """Play episodes that begin alike, with the same draws, for every policy and manner.

    Up to 40 episodes are those of `evaluate_policy` with this seed.

    Args:
        policy: the policy.
        manner: how to play it.
        place: the environment.
        episodes: number of episodes.
        seed: of initial states and draws.

    Raises:
        InputError: as evaluate_policy.
    """
    blocks = []
    for number, first in enumerate(range(0, episodes, _BLOCK)):
        # Of the first block it is the seed itself.
        block_seed = seed if number == 0 else int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        count = min(_BLOCK, episodes - first)
        blocks.append(
            evaluate_policy(
                make_act(policy, manner, block_seed),
                place.env_id,
                episodes=count,
                num_envs=count,
                seed=block_seed,
                act_steps=policy.config.act_steps,
                horizon=policy.config.horizon,
                env_config=place.env_config,
                backend=place.backend,
            )
        )
    return _join(blocks, seed)


def _join(blocks: Sequence[EvaluationResult], seed: int) -> EvaluationResult:
    first = blocks[0]
    names = {name for block in blocks for name in block.metrics}
    return EvaluationResult(
        first.env_id,
        first.backend,
        seed,
        returns=sum((block.returns for block in blocks), ()),
        lengths=sum((block.lengths for block in blocks), ()),
        successes=sum((block.successes for block in blocks), ()),
        metrics={
            name: sum((block.metrics.get(name, (math.nan,) * block.episodes) for block in blocks), ())
            for name in sorted(names)
        },
        is_standard=first.is_standard,
        success_rule=first.success_rule,
    )


@dataclass(frozen=True)
class Difference:
    """The mean difference of two policies' figures on the same episodes, and its standard error (None: one episode).

    Attributes:
        return_mean: of the returns.
        return_stderr: its standard error.
        success_mean: of the successes (0 or 1), None where the environment does not say.
        success_stderr: its standard error.
    """

    return_mean: float
    return_stderr: float | None
    success_mean: float | None = None
    success_stderr: float | None = None


def paired_difference(result: EvaluationResult, other: EvaluationResult) -> Difference:
    """Return `result` minus `other`, episode by episode.

    Args:
        result: from `play_same_episodes`.
        other: likewise, with the same seed and number of episodes.
    """
    returns = [x - y for x, y in zip(result.returns, other.returns, strict=True)]
    mean, error = _mean_and_error(returns)
    successes = [
        x - y for x, y in zip(result.successes, other.successes, strict=True) if x is not None and y is not None
    ]
    if len(successes) < len(returns):
        return Difference(mean, error)
    return Difference(mean, error, *_mean_and_error(successes))


def _mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    return float(np.mean(values)), none_if_undefined(standard_error(values))
