"""The results that ScoreFlow reports."""

import math
from dataclasses import replace
from typing import Any

from rllib_scoreflow.algorithms.common.reported import EPISODE_RESULTS, Reported, own_results
from rllib_scoreflow.algorithms.scoreflow.diagnostics import process_names
from rllib_scoreflow.flow.advantages import ESTIMATORS, needs_critic
from rllib_scoreflow.flow.config import SDEConfig
from rllib_scoreflow.flow.objectives import OBJECTIVES
from rllib_scoreflow.flow.processes.base import VELOCITY

_NETWORKS = ("encoder", "critic", "critic_encoder")
_ROLLOUT = {
    "env_steps", "env_steps_this_iteration", "env_steps_per_second", "timesteps_total",
    "num_env_steps_sampled_lifetime", "episodes", "incomplete_episodes", "return_mean", "return_stderr",
    "episode_steps_mean", "success_rate", "action_clip_rate", "reward_scale", "reward_clip_rate", "rollout_seconds",
    "update_seconds", "seconds_in_env", "seconds_in_policy",
}  # fmt: skip
_LEARNER = {
    "policy_loss", "value_loss", "ratio_mean", "kl", "clip_fraction", "explained_variance", "stopped_by_kl",
    "gradient_steps", "skipped_updates", "num_trainable_parameters",
}  # fmt: skip
_ENV_RUNNER = {
    "num_env_steps_sampled", "num_env_steps_sampled_lifetime", "num_episodes", "num_episodes_lifetime", "sample",
    "seconds_in_env", "seconds_in_policy", "time_between_sampling", "weights_seq_no",
}  # fmt: skip
_COUNTERS = {
    "env_runner_group/actor_manager_num_outstanding_async_reqs", "fault_tolerance/num_healthy_workers",
    "fault_tolerance/num_env_runners_dropped_lifetime", "fault_tolerance/num_remote_worker_restarts",
}  # fmt: skip


def scoreflow_results(config: Any, sde: SDEConfig) -> Reported:
    """What a run with a `ScoreFlowConfig` reports.

    Args:
        config: The config.
        sde: Its denoising process.
    """
    networks, diagnostics = process_names(sde)
    objective = OBJECTIVES.choose(config.objective)
    learner = _LEARNER | objective.METRICS
    if objective.EVALUATES_CHAINS:
        learner |= diagnostics
    others: tuple[str, ...] = _NETWORKS
    if not needs_critic(ESTIMATORS.choose(config.advantages)):
        learner -= {"value_loss", "explained_variance"}
        others = ("encoder",)
    learner |= {f"{kind}/{network}" for kind in ("lr", "grad_norm") for network in (*networks, *others)}
    learner |= {f"moved/{network}" for network in networks - {VELOCITY}}
    if config.behavior_coeff > 0:
        learner.add("behavior_distance")
    runner = {f"env_runners/{name}" for name in (*_ENV_RUNNER, *EPISODE_RESULTS)}
    cloning = "that is a result of FlowBC; ScoreFlow reports return_mean, policy_loss, value_loss"
    found = own_results(
        config,
        "ScoreFlow",
        plain={*_ROLLOUT, *learner, *runner, *_COUNTERS},
        learner={*learner, "ratio_error", "ratio_error_first"},
        below=("episode/", "before_training/") if config.evaluate_before_training else ("episode/",),
        absent=dict.fromkeys(("epoch", "train_loss", "validation_loss", "samples_per_second"), cloning),
    )
    # Here it counts the steps of one update, and not all of the run.
    rows = config.train_batch_size_per_learner * max(1, config.num_learners)
    steps = config.num_epochs * math.ceil(rows / (config.minibatch_size or rows))
    return replace(found, at_most={**found.at_most, "gradient_steps": float(steps)})
