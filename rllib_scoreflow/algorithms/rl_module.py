"""The RLModule of both algorithms: a FlowPolicy and, for PPO, a critic."""

import copy
from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule

from rllib_scoreflow.flow.losses import flow_matching_error
from rllib_scoreflow.flow.networks import VelocityNetwork, residual_mlp
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig

CHAIN = "denoising_chain"
"""Column of the denoising chains, float32 `[B, K + 1, D]`."""
FLOW_NOISE = "flow_noise"
"""Column of the source draws `z` of flow matching, float32 `[B, D]`."""
FLOW_TIME = "flow_time"
"""Column of the times `t` of flow matching, float32 `[B, 1]`."""


class FlowPolicyRLModule(TorchRLModule, InferenceOnlyAPI, ValueFunctionAPI):
    """Wraps a `FlowPolicy` for EnvRunners (chains) and Learners (chain evaluation or flow matching).

    `model_config` holds plain values only: `policy` (a dumped `PolicyConfig`), `observation_low`, `observation_high`,
    `action_low`, `action_high` (lists), `critic` (`hidden_dim`, `num_layers`; or None for no critic) and
    `behavior_coeff` (a frozen copy of the velocity is kept if positive).

    Attributes:
        policy: The policy.
        critic: Value function on normalised observations, or None.
        behavior_velocity: Frozen pretrained velocity for the behaviour regulariser, or None.
    """

    def setup(self) -> None:
        """Builds the networks from `model_config`."""
        settings = self.model_config
        config = PolicyConfig.model_validate(settings["policy"])
        self.policy = FlowPolicy(
            config,
            observation_low=np.asarray(settings["observation_low"], dtype=np.float32),
            observation_high=np.asarray(settings["observation_high"], dtype=np.float32),
            action_low=np.asarray(settings["action_low"], dtype=np.float32),
            action_high=np.asarray(settings["action_high"], dtype=np.float32),
        )
        self.critic: torch.nn.Module | None = None
        self.behavior_velocity: VelocityNetwork | None = None
        if settings["critic"] is not None and not self.inference_only:
            self.critic = residual_mlp(config.observation_dim, 1, activation="mish", **settings["critic"])
        if settings["behavior_coeff"] > 0.0 and not self.inference_only:
            self.remember_behavior()

    def remember_behavior(self) -> None:
        """Takes the present velocity as the behaviour that the regulariser holds on to."""
        self.behavior_velocity = copy.deepcopy(self.policy.sde.velocity).requires_grad_(False)

    def train(self, mode: bool = True) -> "FlowPolicyRLModule":
        """Sets the training mode; at once where it is set already (RLlib asks before every forward pass)."""
        if self.training != mode:
            super().train(mode)
        return self

    def get_non_inference_attributes(self) -> list[str]:
        """Networks that EnvRunners do without."""
        return ["critic", "behavior_velocity"]

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Draws chains for raw observations `[B, O]`: actions `[B, H * A]`, their log-probability, the chains."""
        with torch.no_grad():
            distribution = self.policy.distribution(batch[Columns.OBS])
            chain, logp = distribution.sample_with_logp()
            return {
                Columns.ACTIONS: self.policy.to_actions(chain[:, -1]),
                Columns.ACTION_LOGP: logp,
                CHAIN: chain,
            }

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Follows the transition means from a random start: raw actions `[B, H * A]`."""
        with torch.no_grad():
            chain = self.policy.distribution(batch[Columns.OBS]).sample(explore=False)
            return {Columns.ACTIONS: self.policy.to_actions(chain[:, -1])}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Evaluates stored chains, or the flow-matching error where the batch has none.

        Everything that gradients flow through is computed here, so that DistributedDataParallel sees it.
        """
        if CHAIN in batch:
            return self._evaluate_chains(batch)
        return {"flow_matching_error": self._flow_matching_error(batch)}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> torch.Tensor:
        """State values `[B]` of raw observations `[B, O]`."""
        assert self.critic is not None
        normalized = self.policy.observation_normalizer.normalize(batch[Columns.OBS])
        values: torch.Tensor = self.critic(normalized).squeeze(-1)
        return values

    def _evaluate_chains(self, batch: dict[str, Any]) -> dict[str, Any]:
        distribution = self.policy.distribution(batch[Columns.OBS])
        out: dict[str, Any] = {
            "evaluation": distribution.evaluate(batch[CHAIN]),
            Columns.VF_PREDS: self.compute_values(batch),
        }
        if self.behavior_velocity is not None:
            out["behavior_distance"] = self._behavior_distance(batch)
        return out

    def _behavior_distance(self, batch: dict[str, Any]) -> torch.Tensor:
        """`|| a_pre(o, z) - a_ft(o, z) ||^2 [B]`: both flows from the chain's own start (a W2 upper bound)."""
        distribution = self.policy.distribution(batch[Columns.OBS])
        start = batch[CHAIN][:, 0]
        tuned = distribution.sample_flow(initial=start)
        with torch.no_grad():
            pretrained = distribution.sample_flow(initial=start, velocity=self.behavior_velocity)
        return (tuned - pretrained).square().sum(dim=-1)

    def _flow_matching_error(self, batch: dict[str, Any]) -> torch.Tensor:
        """Per-sample flow-matching error `[B]`; the batch holds raw `obs [B, O]` and `actions [B, H * A]`."""
        policy = self.policy
        return flow_matching_error(
            policy.sde.velocity,
            policy.observation_normalizer.normalize(batch[Columns.OBS]),
            policy.action_normalizer.normalize(batch[Columns.ACTIONS]),
            batch[FLOW_NOISE],
            batch[FLOW_TIME],
        )


def module_spec(policy: FlowPolicy, *, critic: dict[str, int] | None, behavior_coeff: float) -> RLModuleSpec:
    """The spec that builds this module with the shapes and statistics of `policy` (not its weights)."""

    def values(tensor: torch.Tensor) -> list[float]:
        return [float(value) for value in tensor]

    return RLModuleSpec(
        module_class=FlowPolicyRLModule,
        model_config={
            "policy": policy.config.model_dump(),
            "observation_low": values(policy.observation_normalizer.low),
            "observation_high": values(policy.observation_normalizer.high),
            "action_low": values(policy.action_normalizer.low),
            "action_high": values(policy.action_normalizer.high),
            "critic": critic,
            "behavior_coeff": behavior_coeff,
        },
    )
