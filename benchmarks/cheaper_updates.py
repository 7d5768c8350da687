"""What bfloat16 and one random step save: gradient steps of cloning and of the update, alternating within one run.

    python benchmarks/cheaper_updates.py [--rounds N] [--threads N]

Networks and batches are those of Hopper (512 x 3, chunks of 4 actions of 3, K = 4). A step is forward pass, backward
pass and optimiser; of an update's step the critic's too. Ratios are of the medians of CPU time, to float32 with all
steps random. Nothing is asserted.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns

from rllib_scoreflow.algorithms.common.rl_module import module_spec
from rllib_scoreflow.flow.config import SDEConfig, VelocityConfig, apply_chain, apply_variant
from rllib_scoreflow.flow.losses import flow_matching_error
from rllib_scoreflow.flow.precision import network_passes
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig
from rllib_scoreflow.policy.memory import keep_freed_memory

STATE, ACTION, HORIZON = 11, 3, 4
MICROBATCH = 1024
Step = Callable[[], Any]


def make_policy(random_steps: str) -> FlowPolicy:
    """A fresh policy of Hopper's sizes."""
    torch.manual_seed(0)
    score, noise = apply_variant("scoreflow")
    chain = apply_chain("scoreflow", {"random_steps": random_steps})
    sde = SDEConfig(velocity=VelocityConfig(), score=score, noise=noise, chain=chain)
    config = PolicyConfig(observation_dim=STATE, action_dim=ACTION, horizon=HORIZON, act_steps=HORIZON, sde=sde)
    low, high = -np.ones(STATE, np.float32), np.ones(STATE, np.float32)
    return FlowPolicy(
        config, observation_low=low, observation_high=high, action_low=low[:ACTION], action_high=high[:ACTION]
    )


def cloning_step(batch: int, precision: Any) -> Step:
    """A gradient step of flow matching."""
    field = make_policy("all").sde.velocity
    optimizer = torch.optim.AdamW(field.parameters(), lr=1e-3, fused=True)
    observation, chunk, noise = (torch.randn(batch, width) for width in (STATE, HORIZON * ACTION, HORIZON * ACTION))
    t = torch.rand(batch, 1)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with network_passes(precision, t.device):
            loss = flow_matching_error(field, observation, chunk, noise, t).mean()
        loss.backward()
        optimizer.step()

    return step


def update_step(random_steps: str, precision: Any) -> Step:
    """A gradient step of PPO on a microbatch of chains."""
    critic = {"hidden_dim": 256, "num_layers": 3}
    spec = module_spec(make_policy(random_steps), critic=critic, behavior_coeff=0.0, precision=precision)
    spec.observation_space = gym.spaces.Box(-1.0, 1.0, (STATE,), np.float32)
    module = spec.build()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    # As the Learner has it.
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=None if precision == "float32" else True)
    batch = {Columns.OBS: torch.rand(MICROBATCH, STATE) * 2.0 - 1.0}
    batch |= module.forward_exploration(batch)
    advantages = torch.randn(MICROBATCH)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        out = module.forward_train(batch)
        ratio = (out["evaluation"].logp - batch[Columns.ACTION_LOGP]).exp()
        (ratio * advantages + out[Columns.VF_PREDS].square()).mean().backward()
        optimizer.step()

    return step


def medians(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median CPU seconds of every step, taken in turns."""
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            started = time.process_time()
            step()
            seconds[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=30, help="steps of each kind (30)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as the Learner does
    kinds: dict[str, dict[str, Step]] = {
        f"cloning, batch {size}": {p: cloning_step(size, p) for p in ("float32", "bfloat16")} for size in (128, 256)
    }
    kinds[f"update, {MICROBATCH} chains"] = {
        f"{precision}, {steps}": update_step(steps, precision)
        for precision in ("float32", "bfloat16")
        for steps in ("all", "one")
    }
    for kind, steps in kinds.items():
        found = medians(steps, options.rounds)
        base = next(iter(found.values()))
        for name, seconds in found.items():
            print(f"{kind:24} {name:14} {1000.0 * seconds:8.2f} ms  {base / seconds:5.2f} x")


if __name__ == "__main__":
    main()
