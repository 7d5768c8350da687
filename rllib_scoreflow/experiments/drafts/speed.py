"""What this machine does in a second: environment steps, and gradient steps of cloning."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from rllib_scoreflow.data import ChunkIndex, TrajectoryDataset, gather_chunks
from rllib_scoreflow.envs import EnvDims, make_chunk_vector_env
from rllib_scoreflow.flow.kinds import Draws
from rllib_scoreflow.observations import IMAGES, STATE
from rllib_scoreflow.policy import FlowPolicy
from rllib_scoreflow.policy.threads import one_thread

_SIMULATOR_SECONDS, _GRADIENT_SECONDS = 2.0, 1.0
_ENVS = 4
_LEAST_CALLS = 5


def simulator_speed(env_id: str, dims: EnvDims, env_config: Mapping[str, Any], limit: int, act_steps: int) -> float:
    """Return the environment steps that one process makes in a second, by playing random actions for two.

    Args:
        env_id: the environment.
        dims: its dimensions.
        env_config: what it is made with.
        limit: time limit of an episode in steps.
        act_steps: steps of a chunk.

    Raises:
        InputError: it cannot be made, or breaks gymnasium's contract.
        SimulatorError: it raises an exception, or returns values that are not finite.
    """
    generator = np.random.default_rng(0)
    env = make_chunk_vector_env(
        env_id, _ENVS, act_steps=act_steps, horizon=act_steps, env_config=env_config, max_episode_steps=limit, seed=0
    )
    low, high = np.maximum(dims.action_low, -1e3), np.minimum(dims.action_high, 1e3)
    try:
        env.reset()

        def play() -> int:
            actions = generator.uniform(low, high, (_ENVS, act_steps, len(low))).astype(np.float32)
            return int(env.step(actions.reshape(_ENVS, -1))[-1]["env_steps"].sum())

        play()  # some simulators compile in their first step
        return _rate(play, _SIMULATOR_SECONDS)
    finally:
        env.close()


def gradient_speed(policy: FlowPolicy, dataset: TrajectoryDataset, batch_size: int, learning_rate: float) -> float:
    """Return the gradient steps of cloning that one thread makes in a second.

    Args:
        policy: an untrained one, which is changed.
        dataset: with a chunk of the policy's horizon at least.
        batch_size: chunks of a gradient step.
        learning_rate: of AdamW.
    """
    horizon, width = policy.config.horizon, policy.config.horizon * policy.config.action_dim
    starts = np.resize(ChunkIndex(dataset, horizon).starts[:batch_size], batch_size)
    observations, chunks = map(torch.from_numpy, gather_chunks(dataset.observations, dataset.actions, starts, horizon))
    seen: Any = observations
    if dataset.images is not None:
        seen = {STATE: observations, IMAGES: torch.from_numpy(dataset.images[starts])}
    kind = policy.config.sde.velocity.make_kind()
    parameters = [*policy.sde.velocity.parameters(), *(policy.encoder.parameters() if policy.encoder else ())]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, fused=True)
    draws = Draws(torch.Generator().manual_seed(0), chunks.device)
    target = policy.action_normalizer.normalize(chunks)

    def step() -> int:
        optimizer.zero_grad()
        points = kind.draw_points(draws, batch_size, width)
        kind.error(policy.sde.velocity, policy.features(seen), target, points).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return 1

    with one_thread():
        step()
        return _rate(step, _GRADIENT_SECONDS)


def _rate(work: Callable[[], int], seconds: float) -> float:
    """Units of work in a second, in the median call: another program that has the processor for a moment is none.

    Args:
        work: does some units and says how many.
        seconds: how long it is called, at least a few times.
    """
    rates: list[float] = []
    ends = time.perf_counter() + seconds
    while len(rates) < _LEAST_CALLS or time.perf_counter() < ends:
        begun = time.perf_counter()
        units = work()
        rates.append(units / (time.perf_counter() - begun))
    return float(np.median(rates))
