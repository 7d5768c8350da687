"""Learner connectors: episodes with denoising chains to one train batch with advantages."""

from typing import Any

import numpy as np
import torch
import tree
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.annotations import override

from rllib_scoreflow.algorithms.scoreflow.rollout_buffer import GROUP
from rllib_scoreflow.flow.advantages import AdvantageEstimator, FloatArray, Fragment, scale_rewards
from rllib_scoreflow.observations import num_rows
from rllib_scoreflow.policy.tensors import to_tensors

REWARD_SCALE = "reward_scale"
"""Key of the shared data: what rewards are divided by (1 where it is missing)."""
_VALUES = "fragment_values"
"""Key of the shared data between the connectors: the critic's values, float64 `[T + 1]`, of every fragment."""
_VALUE_BATCH = 8192
_VALUE_BATCH_OF_IMAGES = 256


class ChainColumns(ConnectorV2):
    """Concatenates whole columns of all episode fragments, and asks the critic, if there is one, for their values.

    It replaces RLlib's default pipeline, which appends an artificial step to every episode and works item by item.
    """

    @override(ConnectorV2)
    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        shared_data: dict[str, Any],
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Builds the batch of the default module from numpy'ised episodes.

        Returns:
            Float32 tensors by module id: `obs [B, O]` (with cameras a dictionary, its images uint8), the module's
            `chain_columns` and, with a critic, `vf_preds [B]`.
        """
        module = rl_module[DEFAULT_MODULE_ID].unwrapped()
        device = next(module.parameters()).device
        observations = [episode.get_observations() for episode in episodes]
        columns = {name: _column(episodes, name) for name in module.chain_columns}
        lengths = [num_rows(fragment) for fragment in observations]
        if module.critic is None:
            shared_data[_VALUES] = [np.zeros(length) for length in lengths]
        else:
            values = _values(module, tree.map_structure(_concatenate, *observations), device)
            shared_data[_VALUES] = np.split(values, np.cumsum(lengths)[:-1])
            columns[Columns.VF_PREDS] = np.concatenate([own[:-1] for own in shared_data[_VALUES]])
        batch[DEFAULT_MODULE_ID] = {name: _to_float32(column, device) for name, column in columns.items()}
        acted_on = tree.map_structure(lambda *parts: np.concatenate([part[:-1] for part in parts]), *observations)
        batch[DEFAULT_MODULE_ID][Columns.OBS] = to_tensors(acted_on, device)
        return batch


class Advantages(ConnectorV2):
    """Adds the advantages of an estimator, and with a critic the value targets that follow from them.

    A fragment that ends in a terminal state does not bootstrap; one cut by a time limit or by the end of the rollout
    bootstraps from the value of its last observation.
    """

    def __init__(self, estimator: AdvantageEstimator, *, reward_clip: float | None = None, **kwargs: Any) -> None:
        """Takes an estimator of `rllib_scoreflow.flow.advantages`, and the bound of the scaled rewards (None: none)."""
        super().__init__(**kwargs)
        self.estimator = estimator
        self.reward_clip = reward_clip

    @override(ConnectorV2)
    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        shared_data: dict[str, Any],
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Adds `advantages`, and with a critic `value_targets`, float32 `[B]`, to the batch of `ChainColumns`."""
        scale, values = shared_data.get(REWARD_SCALE, 1.0), shared_data[_VALUES]
        fragments = [
            Fragment(
                episode=str(episode.id_),
                rewards=scale_rewards(episode.get_rewards(), scale, self.reward_clip),
                values=own,
                terminated=bool(episode.is_terminated),
                done=bool(episode.is_done),
                group=_group_name(episode),
            )
            for episode, own in zip(episodes, values, strict=True)
        ]
        advantages = np.concatenate(self.estimator(fragments))
        columns = batch[DEFAULT_MODULE_ID]
        device = columns[Columns.ACTIONS].device
        columns[Postprocessing.ADVANTAGES] = _to_float32(advantages, device)
        if Columns.VF_PREDS in columns:
            predictions = np.concatenate([own[:-1] for own in values])
            columns[Postprocessing.VALUE_TARGETS] = _to_float32(advantages + predictions, device)
        return batch


def _group_name(episode: Any) -> str | None:
    group = episode.custom_data.get(GROUP)
    return None if group is None else f"{group[0]}/{group[1]}"


def _to_float32(column: Any, device: torch.device) -> torch.Tensor:
    return torch.as_tensor(np.asarray(column, dtype=np.float32), device=device)


def _concatenate(*parts: Any) -> Any:
    return np.concatenate(parts)


def _column(episodes: list[Any], name: str) -> Any:
    """A column of all steps: the actions, or what the module gave out beside them."""
    if name == Columns.ACTIONS:
        return np.concatenate([episode.get_actions() for episode in episodes])
    return np.concatenate([episode.get_extra_model_outputs(name) for episode in episodes])


def _values(module: Any, observations: Any, device: torch.device) -> FloatArray:
    with torch.no_grad():
        size = _VALUE_BATCH if not isinstance(observations, dict) else _VALUE_BATCH_OF_IMAGES
        parts = []
        for first in range(0, num_rows(observations), size):
            rows = tree.map_structure(lambda column: column[first : first + size], observations)  # noqa: B023
            parts.append(module.compute_values({Columns.OBS: to_tensors(rows, device)}))
        values: FloatArray = torch.cat(parts).cpu().numpy().astype(np.float64)
        return values
