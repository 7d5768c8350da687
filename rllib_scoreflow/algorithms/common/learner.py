"""What the Learners of both algorithms share: per-network clipping, safe steps, randomness, policy export."""

import math
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.annotations import override

from rllib_scoreflow.algorithms.common.exchange import rank
from rllib_scoreflow.algorithms.common.rl_module import FlowPolicyRLModule
from rllib_scoreflow.plugins import import_plugins
from rllib_scoreflow.policy.memory import keep_freed_memory

_RANDOM_STATE = "scoreflow_random_state"


class PolicyLearner(TorchLearner):
    """A `TorchLearner` for one `FlowPolicyRLModule` with named networks.

    Attributes:
        generator: Source of randomness, in the same state on all Learners (`learner_exchange.draw_share`); a part of
            every checkpoint.
        iteration: Training iterations done, the clock of all schedules.
    """

    @override(TorchLearner)
    def build(self) -> None:
        """Seeds the generator, on all Learners alike, and builds the module, the optimisers and the connectors."""
        self.iteration = 0
        keep_freed_memory()
        import_plugins(self.config.plugins)
        super().build()
        seed = 0 if self.config.seed is None else int(self.config.seed)
        self.generator = torch.Generator(device=self.device)
        self.generator.manual_seed(int(np.random.SeedSequence([seed, 0]).generate_state(1)[0]))

    @property
    def rl_module(self) -> FlowPolicyRLModule:
        """The module, without a DistributedDataParallel wrapper."""
        module: FlowPolicyRLModule = self.module[DEFAULT_MODULE_ID].unwrapped()
        return module

    def trained_networks(self) -> dict[str, list[torch.nn.Parameter]]:
        """Trained parameters by network name; gradient clipping and metrics are per entry."""
        raise NotImplementedError

    @override(TorchLearner)
    def postprocess_gradients(self, gradients_dict: dict[Any, Any]) -> dict[Any, Any]:
        """Clips the gradients to `grad_clip` and logs the norms of every network's before clipping.

        `grad_clip_by` says what is bounded: the norm of every `network`'s gradient, the `global_norm` of all networks'
        together, the `norm` of every tensor's, or every single `value`.
        """
        limit, networks = self.config.grad_clip, self.trained_networks()
        self.gradient_norms = {
            name: torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            for name, parameters in networks.items()
        }
        # Without a limit, multiplying all gradients by 1 would be some per cent of a small step.
        if limit is not None:
            _clip(networks, self.gradient_norms, float(limit), self.config.grad_clip_by)
        return gradients_dict

    @override(TorchLearner)
    def apply_gradients(self, gradients_dict: dict[Any, Any]) -> None:
        """Steps all optimisers, or none if a gradient is not finite (such a step is logged as skipped)."""
        if math.isfinite(float(sum(self.gradient_norms.values()))):
            for _, optimizer in self.get_optimizers_for_module(DEFAULT_MODULE_ID):
                optimizer.step()
        else:
            self._log_skipped(1)

    def policy_state(self) -> dict[str, np.ndarray[Any, Any]]:
        """The policy's weights and statistics as arrays: what is evaluated and exported."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.rl_module.policy.state_dict().items()}

    def load_policy_state(self, state: dict[str, np.ndarray[Any, Any]]) -> None:
        """Starts from a pretrained policy's weights; they become the behaviour of the regulariser too."""
        module = self.rl_module
        module.policy.load_state_dict({k: torch.as_tensor(v) for k, v in state.items()})
        if module.behavior is not None:
            module.behavior.load_state_dict(module.policy.state_dict())

    @override(TorchLearner)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's state plus the random state and the schedules' clock."""
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        if "optimizer" in state:
            state[_RANDOM_STATE] = {
                "generator": self.generator.get_state().cpu().numpy(),
                "iteration": self.iteration,
            }
        return state

    @override(TorchLearner)
    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a state of `get_state`."""
        super().set_state(state)
        if _RANDOM_STATE in state:
            own = state[_RANDOM_STATE]
            self.generator.set_state(torch.as_tensor(np.array(own["generator"])))
            self.iteration = int(own["iteration"])

    def log_metrics(self, values: dict[str, Any]) -> None:
        """Logs numbers or scalar tensors of this update under plain names."""
        for name, value in values.items():
            self.metrics.log_value((DEFAULT_MODULE_ID, name), float(value), window=1)
        self._log_skipped(0)

    def _log_skipped(self, count: int) -> None:
        # All Learners skip the same steps.
        self.metrics.log_value((DEFAULT_MODULE_ID, "skipped_updates"), count if rank() == 0 else 0, reduce="sum")


def _clip(networks: dict[str, list[torch.nn.Parameter]], norms: dict[str, torch.Tensor], limit: float, by: str) -> None:
    """Clips the gradients of all networks in place."""
    if by == "network":
        for name, parameters in networks.items():
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norms[name])
        return
    parameters = [parameter for each in networks.values() for parameter in each]
    if by == "global_norm":
        total = torch.stack(list(norms.values())).norm()
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, total)
    elif by == "norm":
        for parameter in parameters:
            torch.nn.utils.clip_grad_norm_(parameter, limit)
    else:
        torch.nn.utils.clip_grad_value_(parameters, limit)
