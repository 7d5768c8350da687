"""The RLModule of both algorithms: a FlowPolicy and, for PPO, a critic."""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.annotations import override

from rllib_scoreflow.algorithms.common.action_distribution import ChainActionDistribution
from rllib_scoreflow.flow.distribution import ChainDistribution
from rllib_scoreflow.flow.fields.mlp import residual_mlp
from rllib_scoreflow.flow.kinds import NOISE, STEP, TIME
from rllib_scoreflow.flow.objectives import RANDOM_STEP, make_objective, random_step_of
from rllib_scoreflow.flow.precision import Precision, network_passes
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig
from rllib_scoreflow.policy.vision import ImageEncoder, encode, make_encoder


class FlowPolicyRLModule(TorchRLModule, InferenceOnlyAPI, ValueFunctionAPI):
    """Wraps a `FlowPolicy` for EnvRunners (chains) and Learners (chain evaluation or flow matching).

    Its action is the denoising chain: `actions`, float32 `[B, K + 1, D]`, is what is sampled and whose probability is
    evaluated. The chunk that an environment executes is `actions_for_env`, float32 `[B, H * A]` in raw units, and so
    are the chunks of a dataset.

    `model_config` holds plain values only: `policy` (a dumped `PolicyConfig`), `observation_low`, `observation_high`,
    `action_low`, `action_high` (lists), `critic` (`hidden_dim`, `num_layers`, `output_bias`; or None),
    `behavior_coeff` (a frozen copy of the policy is kept if positive), `precision` (of the passes in training) and
    `objective` (its options and, under `type`, its name; or None).

    Attributes:
        policy: The policy.
        critic: Value function on the features of an observation, or None.
        critic_encoder: The critic's own image encoder, or None.
        behavior: Frozen pretrained policy that the behaviour regulariser holds on to, or None.
        objective: What an update maximises.
        chain_columns: Columns of the exploration that the Learner needs again, beside observations and rewards.
    """

    @override(TorchRLModule)
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
        self.precision: Precision = settings.get("precision", "float32")
        self.objective = make_objective(settings.get("objective"))
        self.chain_columns: tuple[str, ...] = (Columns.ACTIONS, *self.objective.SAMPLED)
        if config.sde.chain.random_steps == "one" and self.objective.EVALUATES_CHAINS:
            self.chain_columns += (RANDOM_STEP,)
        self.critic: torch.nn.Module | None = None
        self.critic_encoder: ImageEncoder | None = None
        self.behavior: FlowPolicy | None = None
        if settings["critic"] is not None and not self.inference_only:
            self.critic_encoder = make_encoder(config)
            features = 0 if self.critic_encoder is None else self.critic_encoder.output_dim
            width = features + config.observation_dim
            self.critic = residual_mlp(width, 1, activation="mish", **settings["critic"])
        if settings["behavior_coeff"] > 0.0 and not self.inference_only:
            self.behavior = copy.deepcopy(self.policy).requires_grad_(False)
        chains = ChainDistribution(self.policy.sde, torch.zeros(1, 1))  # of no observation: only their form is asked
        self.action_space = gym.spaces.Box(-np.inf, np.inf, chains.chain_shape, np.float32)
        self.action_dist_cls = ChainActionDistribution.get_partial_dist_cls(space=self.action_space, scale=chains.scale)

    @override(TorchRLModule)
    def train(self, mode: bool = True) -> "FlowPolicyRLModule":
        """Sets the training mode; at once where it is set already (RLlib asks before every forward pass)."""
        if self.training != mode:
            super().train(mode)
        return self

    @override(InferenceOnlyAPI)
    def get_non_inference_attributes(self) -> list[str]:
        """Networks that EnvRunners do without."""
        return ["critic", "critic_encoder", "behavior"]

    @override(TorchRLModule)
    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Draws chains for raw observations `[B, O]`: chains, what the objective remembers, the chunks they end in."""
        with torch.no_grad():
            distribution = self.policy.distribution(batch[Columns.OBS])
            random_step = distribution.draw_step() if self.objective.EVALUATES_CHAINS else None
            chain, columns = self.objective.sample(distribution, random_step)
            return {
                Columns.ACTIONS: chain,
                **columns,
                Columns.ACTIONS_FOR_ENV: self.policy.to_actions(chain[:, -1]),
                **({} if random_step is None else {RANDOM_STEP: random_step}),
            }

    @override(TorchRLModule)
    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Follows the transition means from the policy's start: chains, and the chunks that they end in."""
        with torch.no_grad():
            chain = self.policy.distribution(batch[Columns.OBS]).sample(explore=False)
            return {Columns.ACTIONS: chain, Columns.ACTIONS_FOR_ENV: self.policy.to_actions(chain[:, -1])}

    @override(TorchRLModule)
    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Evaluates the objective on stored chains (`actions`), or the flow-matching error where the batch has none.

        Everything that gradients flow through is computed here, so that DistributedDataParallel sees it.
        """
        with network_passes(self.precision, self.policy.action_normalizer.low.device):
            if Columns.ACTIONS in batch:
                return self._evaluate_objective(batch)
            return {"flow_matching_error": self._flow_matching_error(batch)}

    @torch.no_grad()
    def remember(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """The objective's `REFERENCE` columns of a batch by this policy, with the passes of the update."""
        with network_passes(self.precision, self.policy.action_normalizer.low.device):
            return self.objective.remember(self._evaluation(batch)[0])

    @override(ValueFunctionAPI)
    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> torch.Tensor:
        """State values `[B]` of raw observations (`FlowPolicy.features`)."""
        assert self.critic is not None
        features = encode(self.policy.observation_normalizer, self.critic_encoder, batch[Columns.OBS])
        values: torch.Tensor = self.critic(features).squeeze(-1)
        return values

    def _evaluation(self, batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """What the objective evaluates, and for chains the inputs of their action distribution."""
        chain, distribution = batch[Columns.ACTIONS], self.policy.distribution(batch[Columns.OBS])
        if not self.objective.EVALUATES_CHAINS:
            return self.objective.evaluate(distribution, chain, batch), {}
        gaussian, details = distribution.along(chain, random_step_of(batch))
        inputs = ChainActionDistribution.to_logits(gaussian)
        evaluation = self.get_train_action_dist_cls().from_logits(inputs).evaluate(chain, details)
        return evaluation, {Columns.ACTION_DIST_INPUTS: inputs}

    def _evaluate_objective(self, batch: dict[str, Any]) -> dict[str, Any]:
        evaluation, out = self._evaluation(batch)
        out["evaluation"] = evaluation
        if self.critic is not None:
            out[Columns.VF_PREDS] = self.compute_values(batch)
        if self.behavior is not None:
            out["behavior_distance"] = self._behavior_distance(batch, self.behavior)
        return out

    def _behavior_distance(self, batch: dict[str, Any], behavior: FlowPolicy) -> torch.Tensor:
        """`|| a_pre(o, z) - a_ft(o, z) ||^2 [B]`: both flows from the chain's own start (a W2 upper bound)."""
        start = batch[Columns.ACTIONS][:, 0]
        tuned = self.policy.distribution(batch[Columns.OBS]).sample_flow(initial=start, behind_lead=True)
        with torch.no_grad():
            pretrained = behavior.distribution(batch[Columns.OBS]).sample_flow(initial=start, behind_lead=True)
        return (tuned - pretrained).square().sum(dim=-1)

    def _flow_matching_error(self, batch: dict[str, Any]) -> torch.Tensor:
        """Error `[B]` per sample of raw observations, `actions_for_env` and the draws of the velocity's kind."""
        policy = self.policy
        features = policy.features(batch[Columns.OBS])
        chunk = policy.action_normalizer.normalize(batch[Columns.ACTIONS_FOR_ENV])
        draws = {name: batch[name] for name in (NOISE, TIME, STEP) if name in batch}
        return policy.config.sde.velocity.make_kind().error(policy.sde.velocity, features, chunk, draws)


def module_spec(
    policy: FlowPolicy,
    *,
    critic: dict[str, Any] | None,
    behavior_coeff: float,
    precision: Precision = "float32",
    objective: dict[str, Any] | None = None,
) -> RLModuleSpec:
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
            "precision": precision,
            "objective": objective,
        },
    )
