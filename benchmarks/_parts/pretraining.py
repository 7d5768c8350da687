"""Samples per second of FlowBC's epoch against a bare loop of gradient steps, interleaved."""

import copy
from pathlib import Path
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from _parts.clocks import PartTimer, Seconds, median_by_clock
from _parts.settings import DENOISING_STEPS, HORIZON, Settings
from rllib_scoreflow.algorithms.flow_bc import FlowBC, FlowBCConfig
from rllib_scoreflow.algorithms.flow_bc.flow_bc_learner import FlowBCLearner
from rllib_scoreflow.algorithms.flow_bc.offline_data import ChunkMemory
from rllib_scoreflow.flow.losses import flow_matching_error

TIMER = PartTimer()


class TimedFlowBCLearner(FlowBCLearner):
    """The product's Learner with a clock around its epoch."""

    def update(self, **kwargs: Any) -> Any:
        """One epoch, from the start rows to the reduced metrics."""
        with TIMER.part("epoch"):
            return super().update(**kwargs)


class BareLoop:
    """Gradient steps on one preloaded batch: forward, loss, backward, optimiser step; nothing else.

    Network, weights, batch size and optimiser settings are those of the Learner. The batch is normalised beforehand
    and keeps its noise and times, so that the loop neither gathers nor draws.
    """

    def __init__(self, algorithm: FlowBC, *, default_adamw: bool = False) -> None:
        """Copies the Learner's velocity; `default_adamw` leaves the implementation of AdamW to torch's default."""
        (learner,) = (result.get() for result in algorithm.learner_group.foreach_learner(lambda each: each))
        policy = learner.rl_module.policy
        self.velocity = copy.deepcopy(policy.sde.velocity)
        ((_, optimizer),) = learner.get_optimizers_for_module(DEFAULT_MODULE_ID)
        group = optimizer.param_groups[0]
        self.optimizer = torch.optim.AdamW(
            self.velocity.parameters(),
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            fused=None if default_adamw else group["fused"],
        )
        config, data = algorithm.config, algorithm.offline_data
        self.batch_size = int(config.train_batch_size_per_learner)
        starts = torch.as_tensor(data.epoch_starts(0)[: self.batch_size])
        observations, chunks = ChunkMemory(data.dataset, config.horizon, torch.device("cpu")).gather(starts)
        self.observations = policy.observation_normalizer.normalize(observations)
        self.chunks = policy.action_normalizer.normalize(chunks)
        self.noise = torch.randn_like(self.chunks)
        self.times = torch.rand(self.batch_size, 1)

    def run(self, steps: int) -> dict[str, float]:
        """Runs `steps` gradient steps; samples per second by clock."""
        start = Seconds.now()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            error = flow_matching_error(self.velocity, self.observations, self.chunks, self.noise, self.times)
            loss: Any = error.mean()
            loss.backward()
            self.optimizer.step()
        return (Seconds.now() - start).rate(float(steps * self.batch_size))


def measure_pretraining(settings: Settings, policy_folder: Path) -> dict[str, Any]:
    """Trains FlowBC for `settings.pretraining_rounds` epochs, each between two runs of the bare loop.

    Args:
        settings: Of the benchmark.
        policy_folder: Where the pretrained policy is left for the rollouts.

    Returns:
        Medians over rounds by clock (`samples_per_second`, `bare_samples_per_second`, `ratio`), and the rounds.
    """
    config = (
        FlowBCConfig()
        .training(
            dataset=settings.dataset,
            horizon=HORIZON,
            act_steps=HORIZON,
            denoising_steps=DENOISING_STEPS,
            num_torch_threads=settings.threads,
            learner_class=TimedFlowBCLearner,
        )
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    bare, default_bare = BareLoop(algorithm), BareLoop(algorithm, default_adamw=True)
    # The Learner drops the last, smaller part of an epoch.
    steps = max(1, len(algorithm.offline_data.training) // bare.batch_size)
    around = max(1, min(steps, settings.bare_steps))
    bare.run(around // 4)
    default_bare.run(around // 4)
    rates, rounds = [bare.run(around)], []
    for _ in range(settings.pretraining_rounds):
        TIMER.clear()
        algorithm.train()
        real = TIMER.parts["epoch"].rate(float(steps * bare.batch_size))
        rates.append(bare.run(around))
        # Harmonic mean of the runs before and after: as if they were one.
        beside = {clock: 2.0 / (1.0 / rates[-2][clock] + 1.0 / rates[-1][clock]) for clock in real}
        rounds.append({"real": real, "bare": beside, "default": default_bare.run(around)})
    algorithm.flow_policy().save(policy_folder)
    algorithm.stop()
    return {
        "batch_size": bare.batch_size,
        "gradient_steps_per_epoch": steps,
        "parameters": sum(parameter.numel() for parameter in bare.velocity.parameters()),
        "samples_per_second": median_by_clock(each["real"] for each in rounds),
        "bare_samples_per_second": median_by_clock(each["bare"] for each in rounds),
        "bare_default_adamw_samples_per_second": median_by_clock(each["default"] for each in rounds),
        "ratio": median_by_clock(
            {clock: each["real"][clock] / each["bare"][clock] for clock in each["real"]} for each in rounds
        ),
        "rounds": rounds,
    }
