"""Learner connector: episodes with denoising chains to one train batch with advantages."""

from typing import Any

import numpy as np
import torch
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_scoreflow.algorithms.rl_module import CHAIN
from rllib_scoreflow.flow.advantages import generalized_advantages
from rllib_scoreflow.observations import map_observation, num_rows
from rllib_scoreflow.policy.tensors import to_tensors

REWARD_SCALE = "reward_scale"
"""Key of the shared data: what rewards are divided by (1 where it is missing)."""
_VALUE_BATCH = 8192
_VALUE_BATCH_OF_IMAGES = 256


class EpisodesToChainBatch(ConnectorV2):
    """Concatenates whole columns of all episode fragments and adds advantages and value targets.

    It replaces RLlib's default pipeline, which appends an artificial step to every episode and works item by item.
    A fragment that ends in a terminal state does not bootstrap; one cut by a time limit or by the end of the rollout
    bootstraps from the value of its last observation.
    """

    def __init__(self, *, gamma: float, lambda_: float, **kwargs: Any) -> None:
        """Takes discount and trace decay per chunk."""
        super().__init__(**kwargs)
        self.gamma = gamma
        self.lambda_ = lambda_

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Builds the batch of the default module from numpy'ised episodes.

        Returns:
            Float32 tensors by module id: `obs [B, O]` (with cameras a dictionary, its images uint8), the chains
            `[B, K + 1, D]`, `action_logp`, `advantages`,
            `value_targets` and `vf_preds` (`[B]` each).
        """
        module = rl_module[DEFAULT_MODULE_ID].unwrapped()
        device = next(module.parameters()).device
        observations = [episode.get_observations() for episode in episodes]
        scale = (shared_data or {}).get(REWARD_SCALE, 1.0)
        values = _values(module, map_observation(_concatenate, *observations), device)
        advantages, predictions, first = [], [], 0
        for episode, fragment in zip(episodes, observations, strict=True):
            own = values[first : first + num_rows(fragment)]
            first += num_rows(fragment)
            predictions.append(own[:-1])
            advantages.append(
                generalized_advantages(
                    np.asarray(episode.get_rewards(), dtype=np.float64) / scale,
                    own,
                    terminated=episode.is_terminated,
                    gamma=self.gamma,
                    lambda_=self.lambda_,
                )
            )
        advantage, prediction = np.concatenate(advantages), np.concatenate(predictions)
        columns = {
            CHAIN: _extra_column(episodes, CHAIN),
            Columns.ACTION_LOGP: _extra_column(episodes, Columns.ACTION_LOGP),
            Postprocessing.ADVANTAGES: advantage,
            Postprocessing.VALUE_TARGETS: advantage + prediction,
            Columns.VF_PREDS: prediction,
        }
        batch[DEFAULT_MODULE_ID] = {
            name: torch.as_tensor(np.asarray(column, dtype=np.float32), device=device)
            for name, column in columns.items()
        }
        acted_on = map_observation(lambda *parts: np.concatenate([part[:-1] for part in parts]), *observations)
        batch[DEFAULT_MODULE_ID][Columns.OBS] = to_tensors(acted_on, device)
        return batch


def _concatenate(*parts: Any) -> Any:
    return np.concatenate(parts)


def _extra_column(episodes: list[Any], key: str) -> Any:
    return np.concatenate([np.asarray(e.get_extra_model_outputs(key)) for e in episodes])


def _values(module: Any, observations: Any, device: torch.device) -> Any:
    with torch.no_grad():
        size = _VALUE_BATCH if not isinstance(observations, dict) else _VALUE_BATCH_OF_IMAGES
        parts = []
        for first in range(0, num_rows(observations), size):
            rows = map_observation(lambda column: column[first : first + size], observations)  # noqa: B023
            parts.append(module.compute_values({Columns.OBS: to_tensors(rows, device)}))
        return torch.cat(parts).cpu().numpy().astype(np.float64)
