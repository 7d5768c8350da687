"""Where the time of ScoreFlow's iteration goes: environment, policy, gradients, everything else."""

from pathlib import Path
from typing import Any

import numpy as np
from ray.rllib.core import DEFAULT_MODULE_ID
from torch.utils.flop_counter import FlopCounterMode

from _parts.clocks import PartTimer, Seconds, matmul_flops, median_by_clock
from _parts.settings import DENOISING_STEPS, Settings
from rllib_scoreflow.algorithms.scoreflow import ScoreFlow, ScoreFlowConfig
from rllib_scoreflow.algorithms.scoreflow.env_runner import ChunkEnvRunner
from rllib_scoreflow.algorithms.scoreflow.scoreflow_learner import ScoreFlowLearner
from rllib_scoreflow.envs import ChunkVectorEnv, make_chunk_vector_env

TIMER = PartTimer()
GRADIENT_PARTS = ("forward", "loss", "backward", "optimiser")


class TimedChunkEnvRunner(ChunkEnvRunner):
    """The product's EnvRunner with clocks around environment and policy; it remembers the actions.

    Attributes:
        actions: Actions `[N, H * A]` of every step since the last `forget()`.
        total_reward: Sum of the rewards since then.
        reset_seeds: Seeds of all resets so far.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Builds the EnvRunner and wraps what it calls."""
        super().__init__(**kwargs)
        self.reset_seeds: list[int | None] = []
        self.forget()
        env: Any = self.env
        self._timed_step = TIMER.wrap("environment", env.step)
        self._plain_reset = env.reset
        env.step = self._record_step
        env.reset = self._record_reset
        self.module.forward_exploration = TIMER.wrap("policy", self.module.forward_exploration)

    def forget(self) -> None:
        """Drops the recorded actions."""
        self.actions: list[Any] = []
        self.total_reward = 0.0

    def sample(self, **kwargs: Any) -> Any:
        """The product's `sample()`."""
        with TIMER.part("sample"):
            return super().sample(**kwargs)

    def _record_step(self, actions: Any) -> Any:
        results = self._timed_step(actions)
        self.actions.append(actions)
        self.total_reward += float(np.sum(results[1]))
        return results

    def _record_reset(self, *, seed: int | None = None) -> Any:
        self.reset_seeds.append(seed)
        return self._plain_reset(seed=seed)


class TimedScoreFlowLearner(ScoreFlowLearner):
    """The product's Learner with clocks around forward pass, loss, backward pass and optimiser step.

    Attributes:
        flops: Of the matrix multiplications of an update, counted where `count_flops` is set.
        count_flops: Count in the next update (slow).
    """

    def build(self) -> None:
        """Builds the Learner and wraps what it calls."""
        super().build()
        self.flops = 0
        self.count_flops = False
        self.module.forward_train = TIMER.wrap("forward", self.module.forward_train)
        for _, optimizer in self.get_optimizers_for_module(DEFAULT_MODULE_ID):
            optimizer.register_step_pre_hook(lambda *_: TIMER.begin("optimiser"))
            optimizer.register_step_post_hook(lambda *_: TIMER.end("optimiser"))

    def compute_losses(self, **kwargs: Any) -> Any:
        """The product's loss."""
        with TIMER.part("loss"):
            return super().compute_losses(**kwargs)

    def postprocess_gradients(self, gradients_dict: Any) -> Any:
        """The product's clipping and norms."""
        with TIMER.part("clipping"):
            return super().postprocess_gradients(gradients_dict)

    def update(self, **kwargs: Any) -> Any:
        """One update, with or without counting."""
        if not self.count_flops:
            with TIMER.part("learner_update"), TIMER.timed_backward("backward"):
                return super().update(**kwargs)
        with FlopCounterMode(display=False) as counter:
            result = super().update(**kwargs)
        self.flops = counter.get_total_flops()
        return result


class Replay:
    """A second, equal vector environment that is stepped with the EnvRunner's actions and nothing else."""

    def __init__(self, algorithm: ScoreFlow) -> None:
        """Makes the environment and resets it with the EnvRunner's seed."""
        runner, config = algorithm.env_runner, algorithm.config
        policy = algorithm.policy_template().config
        (seed,) = runner.reset_seeds
        self.env: ChunkVectorEnv = make_chunk_vector_env(
            config.env,
            runner.num_envs,
            act_steps=policy.act_steps,
            horizon=policy.horizon,
            backend=config.env_backend,
            seed=seed,
        )
        self.env.reset(seed=seed)

    def run(self, actions: list[Any]) -> tuple[Seconds, float]:
        """Steps through the recorded actions; how long it took, and the sum of the rewards."""
        rewards = []
        start = Seconds.now()
        for chunk in actions:
            rewards.append(self.env.step(chunk)[1])
        return Seconds.now() - start, float(np.sum(rewards))


def build_scoreflow(settings: Settings, policy_folder: Path) -> ScoreFlow:
    """ScoreFlow with its defaults, but for the sizes in `settings`, and with equal work in every update."""
    config = (
        ScoreFlowConfig()
        .environment(settings.env_id)
        .env_runners(
            env_runner_cls=TimedChunkEnvRunner,
            num_env_runners=0,
            num_envs_per_env_runner=settings.num_envs,
            rollout_fragment_length=settings.rollout_chunks,
        )
        .training(
            pretrained_policy=str(policy_folder),
            chain={"denoising_steps": DENOISING_STEPS},
            num_epochs=settings.num_epochs,
            # An early stop by KL would make the updates unequal.
            target_kl=None,
            num_torch_threads=settings.threads,
            learner_class=TimedScoreFlowLearner,
        )
        .debugging(seed=0)
    )
    algorithm: ScoreFlow = config.build_algo()
    return algorithm


def measure_finetuning(settings: Settings, policy_folder: Path) -> dict[str, Any]:
    """Runs ScoreFlow for one iteration that is not measured, then `settings.finetuning_rounds` that are.

    All of `train()` belongs to one of the two halves: up to the Learner group's update it is rollout (with statistics
    and reward scaling), from there on update (with weight sync, metrics and results). After every iteration a second
    environment repeats the rollout's actions.

    Returns:
        `rollout` and `update`, each with its medians over rounds by clock, and the rounds.
    """
    algorithm = build_scoreflow(settings, policy_folder)
    (learner,) = (result.get() for result in algorithm.learner_group.foreach_learner(lambda each: each))
    runner = algorithm.env_runner
    group_update = algorithm.learner_group.update

    def marked_update(**kwargs: Any) -> Any:
        TIMER.end("rollout")
        with TIMER.part("group_update"):
            return group_update(**kwargs)

    algorithm.learner_group.update = marked_update

    def iterate() -> tuple[dict[str, Any], Seconds]:
        TIMER.clear()
        runner.forget()
        TIMER.begin("rollout")
        start = Seconds.now()
        result = algorithm.train()
        return result, Seconds.now() - start

    learner.count_flops = True
    iterate()
    learner.count_flops = False
    replay = Replay(algorithm)
    replay.run(runner.actions)
    same, rounds = [], []
    for _ in range(settings.finetuning_rounds):
        machine = matmul_flops(settings.threads)
        result, whole = iterate()
        rounds.append(_round(settings, result, whole, learner.flops, machine))
        seconds, replayed = replay.run(runner.actions)
        same.append(bool(np.isclose(replayed, runner.total_reward, rtol=1e-9)))
        rounds[-1]["rollout"] |= {
            "env_only_steps_per_second": seconds.rate(result["env_steps_this_iteration"]),
            "env_only_share": seconds.share_of(TIMER.parts["rollout"]),
        }
    backend = runner.env.backend
    replay.env.close()
    algorithm.stop()
    summary = {half: _medians([each[half] for each in rounds]) for half in ("rollout", "update")}
    summary["rollout"] |= {"backend": backend, "replay_met_the_same_rewards": all(same)}
    summary["update"] |= {
        "rows": settings.num_envs * settings.rollout_chunks,
        "num_epochs": settings.num_epochs,
        "flops_per_update": learner.flops,
    }
    return {**summary, "rounds": rounds}


def _round(
    settings: Settings, result: dict[str, Any], whole: Seconds, flops: float, machine: dict[str, float]
) -> dict[str, Any]:
    """Figures by clock of one iteration."""
    parts = TIMER.parts
    rollout, env, policy = parts["rollout"], parts["environment"], parts["policy"]
    update = whole - rollout
    gradients = sum((parts[name] for name in GRADIENT_PARTS), Seconds())
    rows = settings.num_envs * settings.rollout_chunks * settings.num_epochs
    flop_rate = update.rate(float(flops))
    return {
        "rollout": {
            "env_steps_per_second": rollout.rate(result["env_steps_this_iteration"]),
            "seconds": {"wall": rollout.wall, "cpu": rollout.cpu},
            "environment": env.share_of(rollout),
            "policy": policy.share_of(rollout),
            "else": (rollout - env - policy).share_of(rollout),
            "else_in_sample": (parts["sample"] - env - policy).share_of(rollout),
            "else_around_sample": (rollout - parts["sample"]).share_of(rollout),
        },
        "update": {
            "rows_per_second": update.rate(float(rows)),
            "seconds": {"wall": update.wall, "cpu": update.cpu},
            **{name: parts[name].share_of(update) for name in (*GRADIENT_PARTS, "clipping")},
            "gradients": gradients.share_of(update),
            "else": (update - gradients).share_of(update),
            "else_in_learner": (parts["learner_update"] - gradients).share_of(update),
            "else_around_learner": (update - parts["learner_update"]).share_of(update),
            "flops_per_second": {"wall": flop_rate["wall"], "cpu": flop_rate["cpu"] * settings.threads},
            "matmul_flops_per_second": machine,
            "share_of_matmul_rate": {
                "wall": flop_rate["wall"] / machine["wall"],
                "cpu": flop_rate["cpu"] * settings.threads / machine["cpu"],
            },
        },
    }


def _medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: median_by_clock(each[name] for each in rounds) for name in rounds[0]}
