"""Learner of ScoreFlow: PPO on denoising chains."""

import math
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.annotations import override

from rllib_scoreflow.algorithms.common.exchange import own_range, run_together, sum_over_learners, world_size
from rllib_scoreflow.algorithms.common.learner import PolicyLearner
from rllib_scoreflow.algorithms.common.ray_adapter import (
    announce_new_weights,
    run_learner_connector,
)
from rllib_scoreflow.algorithms.scoreflow.connectors import REWARD_SCALE
from rllib_scoreflow.algorithms.scoreflow.diagnostics import MeanOverRows, explained_variance
from rllib_scoreflow.algorithms.scoreflow.objective_columns import Batch, prepare_columns, select_rows
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.advantages import ESTIMATORS, needs_groups
from rllib_scoreflow.flow.processes.base import VELOCITY
from rllib_scoreflow.flow.schedules import cosine_with_restarts

ACTOR, CRITIC = "actor", "critic"
_CRITIC_NETWORKS = {"critic", "critic_encoder"}


class ScoreFlowLearner(PolicyLearner):
    """One `update()` is one PPO iteration on the chains of a rollout.

    The actor's optimiser holds the networks of the denoising process (such as velocity, alpha and sigma) and the image
    encoder, each with a learning rate of its own; the critic, if there is one, has a second optimiser.
    """

    @override(TorchLearner)
    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Registers AdamW for the actor's networks and for the critic."""
        if self.config.frozen_velocity:
            policy = self.module[module_id].policy
            for network in (policy.sde.networks()[VELOCITY], policy.encoder):
                if network is not None:
                    network.requires_grad_(False)
        reserved = _CRITIC_NETWORKS | {"encoder"}
        taken = sorted(reserved & self._process_networks())
        if taken:
            raise InputError(f"A network of the denoising process is named '{taken[0]}', which is taken; rename it.")
        networks = self.trained_networks()
        # On the CPU it takes a third of the time, and rounds the last bit differently.
        fused = True if self.device.type == "cuda" or self.config.precision != "float32" else None
        for optimizer_name, names, decay in (
            (ACTOR, networks.keys() - _CRITIC_NETWORKS, self.config.actor_weight_decay),
            (CRITIC, _CRITIC_NETWORKS, self.config.critic_weight_decay),
        ):
            group = [{"params": networks[name], "name": name} for name in networks if name in names]
            if not group:  # no critic
                continue
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=optimizer_name,
                optimizer=torch.optim.AdamW(group, weight_decay=decay, fused=fused),
                params=[parameter for part in group for parameter in part["params"]],
            )

    def trained_networks(self) -> dict[str, list[torch.nn.Parameter]]:
        """Parameters of the process's networks, of `encoder` (where there is one) and of the critic."""
        module = self.rl_module
        networks: dict[str, torch.nn.Module | None] = {
            **module.policy.sde.networks(),
            "encoder": module.policy.encoder,
            "critic": module.critic,
            "critic_encoder": module.critic_encoder,
        }
        trained = {
            name: [p for p in network.parameters() if p.requires_grad]
            for name, network in networks.items()
            if network is not None
        }
        return {name: parameters for name, parameters in trained.items() if parameters}

    def load_policy_state(self, state: Any) -> None:
        """Starts from pretrained weights and remembers where what is new in the policy started."""
        super().load_policy_state(state)
        self._start = {
            name: torch.nn.utils.parameters_to_vector(parameters).detach().clone()
            for name, parameters in self.trained_networks().items()
            if name in self._process_networks() - {VELOCITY}
        }

    @override(TorchLearner)
    def update(self, *, training_data: TrainingData, reward_scale: float = 1.0, **kwargs: Any) -> Any:
        """Runs `num_epochs` passes over the episodes in `training_data`, or fewer if the KL stops them.

        Rewards are divided by `reward_scale`, which the Algorithm keeps over all EnvRunners. The noise bound is the one
        with which the rollout was sampled; that of the next rollout is set at the end.
        """
        announce_new_weights(self)
        training_data.solve_refs()
        shared = {REWARD_SCALE: reward_scale}
        batch: Batch = run_together(
            lambda: run_learner_connector(self, training_data.episodes, shared)[DEFAULT_MODULE_ID], self.device
        )
        rates = self._apply_schedules()
        rows, device = len(batch[Columns.ACTIONS]), batch[Columns.ACTIONS].device
        first_row, total_rows = own_range(rows, device)
        batch = prepare_columns(
            self.rl_module,
            batch,
            generator=self.generator,
            first_row=first_row,
            total_rows=total_rows,
            rows_per_pass=self.config.microbatch_size,
        )
        size = self.config.minibatch_size or total_rows
        num_minibatches = max(1, math.ceil(total_rows / size))
        metrics = MeanOverRows()
        stopped, steps = False, 0
        for _ in range(self.config.num_epochs):
            # On the CPU whatever the device, so that the order of a seed is the same everywhere. It runs over the rows
            # of all Learners: together they take the minibatches of a single one.
            order = torch.randperm(total_rows, generator=self._order_generator()) - first_row
            for part in order.tensor_split(num_minibatches):
                own = part[(part >= 0) & (part < rows)].to(device)
                # Of a small minibatch a Learner may hold no row. It takes part in every exchange with one that counts
                # for nothing.
                self._share = 1.0 if len(own) else 0.0
                kl = self._gradient_step(select_rows(batch, own if len(own) else [0]), metrics)
                steps += 1
                target = self.config.target_kl
                stopped = target is not None and kl > target
                if stopped:
                    break
            if stopped:
                break
        self.iteration += 1
        self._log_update(batch, metrics, rates, stopped=stopped, steps=steps)
        self.anneal()
        return self.metrics.reduce()

    @override(TorchLearner)
    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: Batch, fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        """Share of this microbatch in PPO's loss over the whole minibatch, a scalar (method section 6)."""
        surrogate = self.rl_module.objective.surrogate(
            self.rl_module.policy.sde,
            fwd_out["evaluation"],
            batch,
            batch[Postprocessing.ADVANTAGES],
            clip_range=self.config.clip_param,
            entropy_coeff=self.config.entropy_coeff,
        )
        actor, self._row_metrics = surrogate.loss, {**surrogate.metrics, "kl": surrogate.kl}
        if "behavior_distance" in fwd_out:
            self._row_metrics["behavior_distance"] = fwd_out["behavior_distance"]
            actor = actor + self.config.behavior_coeff * fwd_out["behavior_distance"]
        if self._critic_only:
            actor = actor * 0.0
        if Columns.VF_PREDS in fwd_out:
            value_error = fwd_out[Columns.VF_PREDS] - batch[Postprocessing.VALUE_TARGETS]
            self._row_metrics["value_loss"] = value_loss = 0.5 * value_error.square()
            actor = actor + self.config.vf_loss_coeff * value_loss
        loss: torch.Tensor = self._share * actor.sum() / self._minibatch_rows
        return loss

    @override(TorchLearner)
    def apply_gradients(self, gradients_dict: dict[Any, Any]) -> None:
        """Steps the optimisers; during the critic's warm-up the actor stands still."""
        if self._critic_only:
            self.get_optimizer(DEFAULT_MODULE_ID, ACTOR).zero_grad(set_to_none=True)
        super().apply_gradients(gradients_dict)

    @property
    def _critic_only(self) -> bool:
        return bool(self.iteration < self.config.critic_warmup_iterations)

    def _gradient_step(self, minibatch: Batch, metrics: MeanOverRows) -> float:
        """One optimiser step on a minibatch, accumulated over microbatches; returns its approximate KL."""
        rows = len(minibatch[Columns.ACTIONS])
        advantages = minibatch[Postprocessing.ADVANTAGES]
        count = sum_over_learners(torch.tensor(self._share * rows, device=advantages.device))
        if not needs_groups(ESTIMATORS.choose(self.config.advantages)):
            mean = sum_over_learners(self._share * advantages.sum()) / count
            variance = sum_over_learners(self._share * (advantages - mean).square().sum()) / count
            minibatch[Postprocessing.ADVANTAGES] = (advantages - mean) / (variance.sqrt() + 1e-8)
        # DistributedDataParallel averages gradients over Learners; this makes the average a mean over all rows.
        self._minibatch_rows = float(count) / world_size()
        for _, optimizer in self.get_optimizers_for_module(DEFAULT_MODULE_ID):
            optimizer.zero_grad(set_to_none=True)
        parts = math.ceil(rows / self.config.microbatch_size)
        bounds = [rows * part // parts for part in range(parts + 1)]
        step_metrics = MeanOverRows()
        for first, last in pairwise(bounds):
            columns = select_rows(minibatch, slice(first, last))
            with self._gradient_exchange(last=last == rows):
                out = self.module.forward_train({DEFAULT_MODULE_ID: columns})
                losses = self.compute_losses(fwd_out=out, batch={DEFAULT_MODULE_ID: columns})
                losses[DEFAULT_MODULE_ID].backward()
            step_metrics.add(self._row_metrics, last - first)
        self.apply_gradients(self.postprocess_gradients({}))
        metrics.merge(step_metrics, counts=bool(self._share))
        return float(sum_over_learners(self._share * step_metrics.sums["kl"][0]) / count)

    def _gradient_exchange(self, *, last: bool) -> AbstractContextManager[Any]:
        module = self.module[DEFAULT_MODULE_ID]
        if last or not isinstance(module, torch.nn.parallel.DistributedDataParallel):
            return nullcontext()
        no_sync: AbstractContextManager[Any] = module.no_sync()
        return no_sync

    def _order_generator(self) -> torch.Generator:
        if self.generator.device.type == "cpu":
            return self.generator
        seed = torch.randint(2**62, (1,), generator=self.generator, device=self.generator.device)
        return torch.Generator().manual_seed(int(seed))

    def _apply_schedules(self) -> dict[str, float]:
        """Sets the learning rates of this iteration; the rates by network."""
        config = self.config
        # What follows the velocity anneals as far as it does.
        share = min(config.lr_min / config.lr, 1.0) if config.lr > 0.0 else 1.0

        def following(peak: float | None) -> tuple[float, float]:
            return (config.lr, config.lr_min) if peak is None else (peak, share * peak)

        options = self.rl_module.policy.sde.LEARNING_RATES
        critic = (config.critic_lr, config.critic_lr_min)
        rates = {}
        for _, optimizer in self.get_optimizers_for_module(DEFAULT_MODULE_ID):
            for group in optimizer.param_groups:
                name = group["name"]
                own_rate = getattr(config, options[name]) if name in options else None
                peak, lowest = critic if name in _CRITIC_NETWORKS else following(own_rate)
                group["lr"] = cosine_with_restarts(
                    self.iteration,
                    peak=peak,
                    lowest=min(lowest, peak),
                    cycle=config.lr_cycle_iterations,
                    warmup=config.lr_warmup_iterations,
                )
                rates[name] = group["lr"]
        return rates

    @override(TorchLearner)
    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a state of `get_state`, but for what is annealed, such as the noise bound: that is this config's."""
        super().set_state(state)
        self.anneal()

    def anneal(self) -> None:
        """Sets the noise bound, and what else the process anneals, of the next rollout and its update.

        It belongs to the policy that samples: moved between a rollout and its update, the probability ratio would not
        begin at 1. In population-based training a restored one is another trial's.
        """
        self.rl_module.policy.sde.anneal(self.iteration / self.config.schedule_iterations)

    def _log_update(
        self,
        batch: Batch,
        metrics: MeanOverRows,
        rates: dict[str, float],
        *,
        stopped: bool,
        steps: int,
    ) -> None:
        values = {}
        if Columns.VF_PREDS in batch:
            predictions, targets = batch[Columns.VF_PREDS], batch[Postprocessing.VALUE_TARGETS]
            values["explained_variance"] = explained_variance(predictions, targets)
        self.log_metrics(
            {
                **metrics.means(),
                **values,
                "ratio_error_first": metrics.first_means()["ratio_error"],
                "stopped_by_kl": float(stopped),
                "gradient_steps": steps,
                **{f"lr/{name}": rate for name, rate in rates.items()},
                **{f"grad_norm/{name}": norm for name, norm in self.gradient_norms.items()},
                **self._movements(),
            }
        )

    def _process_networks(self) -> set[str]:
        return set(self.rl_module.policy.sde.networks())

    def _movements(self) -> dict[str, float]:
        """Relative distance of alpha, sigma and their like from where fine-tuning started (method section 8)."""
        moved = {}
        networks = self.trained_networks()
        for name, start in getattr(self, "_start", {}).items():
            now = torch.nn.utils.parameters_to_vector(networks[name]).detach()
            moved[f"moved/{name}"] = float((now - start).norm() / start.norm().clamp_min(1e-8))
        return moved
