"""What the Algorithm keeps about episodes across rollouts."""

from typing import Any

import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_scoreflow.algorithms.rl_module import CHAIN
from rllib_scoreflow.algorithms.scoreflow.rollout_buffer import ENV_STEPS, EPISODE_METRICS, SUCCESS
from rllib_scoreflow.flow.advantages import RunningRewardScaler


class RolloutStatistics:
    """Returns of all episodes that end in a rollout, wherever they began; environment steps; action clipping.

    Attributes:
        env_steps: Environment steps (not chunks) so far.
    """

    def __init__(self) -> None:
        """Starts with no episodes."""
        self.env_steps = 0
        self._ongoing: dict[str, tuple[float, int]] = {}

    def observe(self, episodes: list[SingleAgentEpisode]) -> dict[str, float]:
        """Takes in the fragments of one rollout; its metrics.

        Returns:
            `env_steps`, `episodes`, `action_clip_rate`, and where an episode ended `return_mean`, `return_stderr`,
            `episode_steps_mean`, `success_rate` (if the environment reports success) and `episode/NAME`, the mean of
            every metric that the environment reports of an episode.
        """
        returns, lengths, successes = [], [], []
        for episode in episodes:
            total, length = self._ongoing.pop(episode.id_, (0.0, 0))
            total += float(episode.get_return())
            steps = int(np.sum(episode.get_extra_model_outputs(ENV_STEPS)))
            length += steps
            self.env_steps += steps
            if episode.is_done:
                returns.append(total)
                lengths.append(length)
                successes.append(float(episode.get_extra_model_outputs(SUCCESS)[-1]))
            else:
                self._ongoing[episode.id_] = (total, length)
        metrics = {"env_steps": float(self.env_steps), "episodes": float(len(returns))}
        metrics["action_clip_rate"] = _action_clip_rate(episodes)
        if returns:
            metrics["return_mean"] = float(np.mean(returns))
            metrics["return_stderr"] = float(np.std(returns) / np.sqrt(len(returns)))
            metrics["episode_steps_mean"] = float(np.mean(lengths))
            if not np.all(np.isnan(successes)):
                metrics["success_rate"] = float(np.nanmean(successes))
            metrics |= _episode_metrics(episodes)
        self._forget_lost({episode.id_ for episode in episodes})
        return metrics

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"env_steps": self.env_steps}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a state; environments start new episodes after a restart."""
        self.env_steps = int(state["env_steps"])
        self._ongoing = {}

    def _forget_lost(self, seen: set[str]) -> None:
        # Every ongoing episode goes on in the next rollout, unless its EnvRunner died.
        self._ongoing = {id_: value for id_, value in self._ongoing.items() if id_ in seen}


def observe_rewards(episodes: list[SingleAgentEpisode], scaler: RunningRewardScaler) -> float:
    """Brings the scaler up to date with all fragments of a rollout; what to divide their rewards by.

    The episodes stay as they are: arrays that came through Ray's object store are read-only.
    """
    for episode in episodes:
        scaler.observe(episode.id_, np.asarray(episode.get_rewards()), done=episode.is_done)
    seen = {episode.id_ for episode in episodes}
    scaler.ongoing = {id_: value for id_, value in scaler.ongoing.items() if id_ in seen}
    return scaler.scale


def _episode_metrics(episodes: list[SingleAgentEpisode]) -> dict[str, float]:
    """Mean over the ended episodes of what the environment said of them, under `episode/NAME`."""
    values: dict[str, list[float]] = {}
    for episode in episodes:
        for name, value in episode.custom_data.get(EPISODE_METRICS, {}).items():
            if not np.isnan(value):
                values.setdefault(f"episode/{name}", []).append(value)
    return {name: float(np.mean(each)) for name, each in values.items()}


def _action_clip_rate(episodes: list[SingleAgentEpisode]) -> float:
    """Share of the components of `x_K` that lie outside `[-1, 1]` and are clipped for the environment."""
    outside = [np.abs(np.asarray(e.get_extra_model_outputs(CHAIN))[:, -1]) > 1.0 for e in episodes]
    return float(np.concatenate(outside).mean())
