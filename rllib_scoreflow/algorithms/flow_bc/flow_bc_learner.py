"""Learner of FlowBC: flow matching with an exponential moving average."""

import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.annotations import override

from rllib_scoreflow.algorithms.common.exchange import draw_share, sum_over_learners, world_size
from rllib_scoreflow.algorithms.common.learner import PolicyLearner
from rllib_scoreflow.algorithms.common.ray_adapter import announce_new_weights
from rllib_scoreflow.algorithms.flow_bc.offline_data import CHUNK_START, ChunkMemory, open_dataset
from rllib_scoreflow.algorithms.flow_bc.training_length import GRADIENT_STEPS
from rllib_scoreflow.flow.ema import ExponentialMovingAverage
from rllib_scoreflow.flow.kinds import Draws
from rllib_scoreflow.flow.schedules import cosine_with_restarts
from rllib_scoreflow.observations import IMAGES, STATE
from rllib_scoreflow.policy.vision import shift_images

_EMA = "scoreflow_ema"
# Gathering and drawing for several minibatches at once: at this size a step is short beside each call.
_MINIBATCHES_PER_GATHER = 16
# As published; a pass over a small network's weights is some per cent of a step.
_EMA_INTERVAL = 10
# In epochs: longer than any published training, whose learning rate is therefore nearly constant.
_PUBLISHED_CYCLE = 3000
Batch = dict[str, Any]


class FlowBCLearner(PolicyLearner):
    """One `update()` is one epoch of flow matching on the Learner's share of the chunks."""

    @override(TorchLearner)
    def build(self) -> None:
        """Builds module and optimiser, and starts the moving average from the fresh weights."""
        self._memory: ChunkMemory | None = None
        super().build()
        self.ema = ExponentialMovingAverage(
            self._parameters,
            decay=self.config.ema_decay,
            warmup_steps=self.config.ema_warmup_steps,
            interval=_EMA_INTERVAL,
        )

    @override(TorchLearner)
    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Registers AdamW on velocity and encoder; drift and noise wait for fine-tuning."""
        policy = self.module[module_id].policy
        self._kind = policy.config.sde.velocity.make_kind()
        # Found once: they are asked for several times in every gradient step.
        self._networks = {"velocity": list(policy.sde.velocity.parameters())}
        if policy.encoder is not None:
            self._networks["encoder"] = list(policy.encoder.parameters())
        self._parameters = [parameter for network in self._networks.values() for parameter in network]
        self._biases = [parameter for parameter in self._parameters if parameter.dim() == 1]
        policy.requires_grad_(False)
        for parameter in self._parameters:
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW(
            self._parameters,
            lr=self.config.lr,
            weight_decay=self.config.weight_decay,
            # A third of a step at this size, on the CPU too, is the unfused optimiser.
            fused=True,
        )
        self.register_optimizer(
            module_id=module_id, optimizer_name="velocity", optimizer=optimizer, params=self._parameters
        )

    def trained_networks(self) -> dict[str, list[torch.nn.Parameter]]:
        """The velocity field and the encoder."""
        return self._networks

    @override(TorchLearner)
    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        """Mean flow-matching error, a scalar."""
        loss: torch.Tensor = fwd_out["flow_matching_error"].mean()
        return loss

    @override(TorchLearner)
    def update(
        self,
        *,
        training_data: TrainingData,
        planned_epochs: int | None = None,
        max_steps: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Runs one epoch over start rows (`training_data.batch`) or a stream (`training_data.data_iterators`).

        Args:
            training_data: The epoch.
            planned_epochs: Epochs of the whole training, for the learning rate; None where nobody knows.
            max_steps: Gradient steps after which the epoch is cut off.
            kwargs: RLlib's, without effect.
        """
        announce_new_weights(self)
        rate = self._learning_rate(planned_epochs)
        for _, optimizer in self.get_optimizers_for_module(DEFAULT_MODULE_ID):
            for group in optimizer.param_groups:
                group["lr"] = rate
        started = time.perf_counter()
        losses, samples = [], 0
        for minibatch in islice(self._minibatches(training_data), max_steps):
            losses.append(self._gradient_step(minibatch))
            samples += len(minibatch[Columns.ACTIONS_FOR_ENV])
        self.ema.catch_up(self._parameters)
        self.iteration += 1
        if losses and self.config.grad_clip is None:
            # The gradients of the last step are still there.
            super().postprocess_gradients({})
        seconds = time.perf_counter() - started
        if losses:
            self.log_metrics(
                {
                    "train_loss": sum_over_learners(torch.stack(losses).mean()) / world_size(),
                    "samples_per_second": samples * world_size() / seconds,
                    GRADIENT_STEPS: len(losses),
                    "lr/velocity": rate,
                    "grad_norm/velocity": self.gradient_norms["velocity"],
                }
            )
        return self.metrics.reduce()

    @override(TorchLearner)
    def postprocess_gradients(self, gradients_dict: dict[Any, Any]) -> dict[Any, Any]:
        """Clips if `grad_clip` is set; otherwise only lets `apply_gradients` see whether the gradients are finite.

        A pass over all gradients is some per cent of a step, and the norm is reported once per epoch. A bias's gradient
        is the sum of its layer's error signal, so that it tells whether the layer's other gradients are finite.
        """
        if self.config.grad_clip is not None:
            return super().postprocess_gradients(gradients_dict)
        self.gradient_norms = {"velocity": torch.cat([p.grad for p in self._biases if p.grad is not None]).norm()}
        return gradients_dict

    def validation_loss(self, starts: np.ndarray[Any, Any]) -> float:
        """Flow-matching loss of the averaged weights on held-out chunks, with the same draws at every call.

        It is that of the instantaneous velocity, whatever the kind, so that kinds can be compared.

        Args:
            starts: Start rows, int64 `[M]`.
        """
        device = self.device
        generator = torch.Generator(device=device).manual_seed(0)
        present = [p.detach().clone() for p in self._parameters]
        self.ema.copy_to(self._parameters)
        errors = []
        size = 4096 if self.rl_module.policy.encoder is None else 256
        with torch.no_grad():
            for part in np.array_split(starts, max(1, len(starts) // size)):
                observations, chunks = self._chunk_memory().gather(torch.as_tensor(part))
                # The same draws for every Learner, as all of them judge the same chunks.
                points = self._kind.draw_points(Draws(generator, chunks.device), *chunks.shape)
                out = self.rl_module.forward_train(
                    {Columns.OBS: observations, Columns.ACTIONS_FOR_ENV: chunks, **points}
                )
                errors.append(out["flow_matching_error"])
            for parameter, value in zip(self._parameters, present, strict=True):
                parameter.copy_(value)
        return float(torch.cat(errors).mean())

    def policy_state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Weights with the moving average in place of the trained networks' own."""
        state = super().policy_state()
        averages = dict(zip(map(id, self._parameters), self.ema.values, strict=True))
        for name, parameter in self.rl_module.policy.named_parameters():
            if id(parameter) in averages:
                state[name] = averages[id(parameter)].cpu().numpy().copy()
        return state

    @override(TorchLearner)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Adds the moving average."""
        state = super().get_state(*args, **kwargs)
        if "optimizer" in state:
            state[_EMA] = {
                "values": [value.cpu().numpy() for value in self.ema.values],
                "num_steps": self.ema.num_steps,
            }
        return state

    @override(TorchLearner)
    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the moving average too."""
        super().set_state(state)
        if _EMA in state:
            device = self.device
            self.ema.values = [torch.tensor(v, device=device) for v in state[_EMA]["values"]]
            self.ema.num_steps = int(state[_EMA]["num_steps"])

    def _gradient_step(self, minibatch: Batch) -> torch.Tensor:
        batch = {DEFAULT_MODULE_ID: minibatch}
        out = self.module.forward_train(batch)
        losses = self.compute_losses(fwd_out=out, batch=batch)
        # RLlib's compute_gradients() would collect all gradients in a dictionary that nobody reads.
        for _, optimizer in self.get_optimizers_for_module(DEFAULT_MODULE_ID):
            optimizer.zero_grad(set_to_none=True)
        losses[DEFAULT_MODULE_ID].backward()
        self.apply_gradients(self.postprocess_gradients({}))
        self.ema.step(self._parameters)
        loss: torch.Tensor = losses[DEFAULT_MODULE_ID].detach()
        return loss

    def _training_batch(self, observations: Any, chunks: torch.Tensor) -> Batch:
        """A batch with this step's draws: shifted images, and those of the velocity's kind."""
        if isinstance(observations, dict):
            images, pad = observations[IMAGES], self.rl_module.policy.config.vision.augment_pad
            shifts = draw_share(partial(_draw_shifts, images, pad, self.generator), len(images))
            observations = {**observations, IMAGES: shift_images(images, shifts)}
        return self._draw_batch(observations, chunks)

    def _minibatches(self, training_data: TrainingData) -> Iterator[Batch]:
        size = self.config.train_batch_size_per_learner
        if training_data.data_iterators:
            stream = training_data.data_iterators[0]
            for batch in stream.iter_torch_batches(batch_size=size, device=self.device):
                observations = batch[Columns.OBS].float()
                if IMAGES in batch:
                    observations = {STATE: observations, IMAGES: batch[IMAGES]}
                yield self._training_batch(observations, batch[Columns.ACTIONS_FOR_ENV].float())
            return
        training_data.solve_refs()
        starts = torch.as_tensor(np.asarray(training_data.batch.policy_batches[DEFAULT_MODULE_ID][CHUNK_START]))
        # The last, smaller part of a shuffled epoch is dropped: another one falls into it every time.
        rows = max(len(starts) // size * size, min(size, len(starts)))
        if self.rl_module.policy.encoder is None and not self._kind.takes_step_size:
            yield from self._plain_minibatches(starts[:rows], size)
            return
        memory = self._chunk_memory()
        for part in torch.split(starts[:rows], size):
            yield self._training_batch(*memory.gather(part))

    def _plain_minibatches(self, starts: torch.Tensor, size: int) -> Iterator[Batch]:
        """Minibatches on state vectors whose rows are all alike, gathered and drawn for several steps at once."""
        memory = self._chunk_memory()
        for block_starts in torch.split(starts, size * _MINIBATCHES_PER_GATHER):
            block = self._draw_batch(*memory.gather(block_starts))
            for columns in zip(*(torch.split(column, size) for column in block.values()), strict=True):
                yield dict(zip(block, columns, strict=True))

    def _draw_batch(self, observations: Any, chunks: torch.Tensor) -> Batch:
        """Observations and chunks with what the velocity's kind draws for them."""
        draws = Draws(self.generator, chunks.device, draw_share)
        drawn = self._kind.draw(draws, *chunks.shape, self.config.consistency_fraction)
        return {Columns.OBS: observations, Columns.ACTIONS_FOR_ENV: chunks, **drawn}

    def _chunk_memory(self) -> ChunkMemory:
        if self._memory is None:
            self._memory = ChunkMemory(open_dataset(self.config), self.config.horizon, self.device)
        return self._memory

    def _learning_rate(self, planned_epochs: int | None) -> float:
        cycle = self.config.lr_cycle_iterations
        if cycle is None:
            if planned_epochs is not None and self.iteration >= planned_epochs:
                return float(self.config.lr_min)
            cycle = planned_epochs or _PUBLISHED_CYCLE
        return cosine_with_restarts(
            self.iteration,
            peak=self.config.lr,
            lowest=self.config.lr_min,
            cycle=cycle,
            warmup=self.config.lr_warmup_iterations,
        )


def _draw_shifts(images: torch.Tensor, pad: int, generator: torch.Generator, rows: int) -> torch.Tensor:
    return torch.randint(-pad, pad + 1, (rows, images.shape[1], 2), generator=generator, device=images.device)
