"""What the Algorithm keeps about episodes across rollouts."""

from typing import Any

import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_scoreflow.algorithms.common.reported import episode_results
from rllib_scoreflow.algorithms.scoreflow.rollout_buffer import ENV_STEPS, EPISODE_METRICS, SUCCESS
from rllib_scoreflow.evaluation import standard_error
from rllib_scoreflow.flow.advantages import RunningRewardScaler, scale_rewards


class RolloutStatistics:
    """Returns of all episodes that end in a rollout, wherever they began; environment steps; action clipping.

    An episode of which a fragment was lost, because its EnvRunner gave no rollout in time, is not counted: what is left
    of it would pass for a short episode and pull the mean down.

    Attributes:
        env_steps: Environment steps (not chunks) so far.
        smoothing: Number of episodes in `recent_results`, which RLlib calls `metrics_num_episodes_for_smoothing`.
    """

    def __init__(self, smoothing: int = 100) -> None:
        """Starts with no episodes."""
        self.env_steps = 0
        self.smoothing = smoothing
        self._recent: list[tuple[float, int]] = []  # return and environment steps
        self._ongoing: dict[str, tuple[float, int, int]] = {}  # return, environment steps, chunks

    def observe(self, episodes: list[SingleAgentEpisode]) -> dict[str, float]:
        """Takes in the fragments of one rollout; its metrics.

        Returns:
            `env_steps`, `episodes` and `incomplete_episodes` (that ended, whole and with a part lost),
            `action_clip_rate`, and where a whole episode ended `return_mean`, `return_stderr` (of two or more),
            `episode_steps_mean`, `success_rate` (if the environment reports success) and `episode/NAME`, the mean of
            every metric that the environment reports of an episode.
        """
        returns, lengths, ended, incomplete = [], [], [], 0
        for episode in episodes:
            steps = int(np.sum(episode.get_extra_model_outputs(ENV_STEPS)))
            self.env_steps += steps
            total, length, chunks = self._ongoing.pop(episode.id_, (0.0, 0, 0))
            if episode.t_started != chunks:
                incomplete += episode.is_done
                continue
            total, length, chunks = total + float(episode.get_return()), length + steps, chunks + len(episode)
            if episode.is_done:
                returns.append(total)
                lengths.append(length)
                ended.append(episode)
            else:
                self._ongoing[episode.id_] = (total, length, chunks)
        # As in RLlib: of an iteration with more episodes than that, all of them.
        self._recent = [*self._recent, *zip(returns, lengths, strict=True)][-max(self.smoothing, len(returns)) :]
        metrics = {"env_steps": float(self.env_steps), "episodes": float(len(returns))}
        metrics["incomplete_episodes"] = float(incomplete)
        metrics["action_clip_rate"] = _action_clip_rate(episodes)
        if returns:
            metrics["return_mean"] = float(np.mean(returns))
            if len(returns) > 1:
                metrics["return_stderr"] = standard_error(returns)
            metrics["episode_steps_mean"] = float(np.mean(lengths))
            successes = [float(episode.get_extra_model_outputs(SUCCESS)[-1]) for episode in ended]
            if not np.all(np.isnan(successes)):
                metrics["success_rate"] = float(np.nanmean(successes))
            metrics |= _episode_metrics(ended)
        self._forget_lost({episode.id_ for episode in episodes})
        return metrics

    def recent_results(self) -> dict[str, float]:
        """Return and length of the last `smoothing` episodes under RLlib's names; empty before one has ended."""
        returns, lengths = [value for value, _ in self._recent], [steps for _, steps in self._recent]
        return episode_results(returns, lengths) if returns else {}

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"env_steps": self.env_steps, "recent": list(self._recent)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a state; environments start new episodes after a restart."""
        self.env_steps = int(state["env_steps"])
        self._recent = [(float(value), int(steps)) for value, steps in state.get("recent", [])]
        self._ongoing = {}

    def _forget_lost(self, seen: set[str]) -> None:
        # Every ongoing episode goes on in the next rollout, unless its EnvRunner died or that rollout was lost.
        self._ongoing = {id_: value for id_, value in self._ongoing.items() if id_ in seen}


def observe_rewards(episodes: list[SingleAgentEpisode], scaler: RunningRewardScaler) -> float:
    """Brings the scaler up to date with all fragments of a rollout; what to divide their rewards by.

    Fragments of an episode of which an earlier one was lost are left out: their discounted return is not known. The
    episodes stay as they are: arrays that came through Ray's object store are read-only.
    """
    for episode in episodes:
        if episode.t_started > 0 and episode.id_ not in scaler.ongoing:
            continue
        scaler.observe(episode.id_, np.asarray(episode.get_rewards()), done=episode.is_done)
    seen = {episode.id_ for episode in episodes}
    scaler.ongoing = {id_: value for id_, value in scaler.ongoing.items() if id_ in seen}
    return scaler.scale


def reward_clip_rate(episodes: list[SingleAgentEpisode], scale: float, clip: float | None) -> float:
    """Share of a rollout's rewards that lie beyond `clip` once they are divided by `scale`; 0 without a bound."""
    if clip is None:
        return 0.0
    beyond = [np.abs(scale_rewards(episode.get_rewards(), scale, None)) > clip for episode in episodes]
    return float(np.concatenate(beyond).mean())


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
    outside = [np.abs(episode.get_actions()[:, -1]) > 1.0 for episode in episodes]
    return float(np.concatenate(outside).mean())
