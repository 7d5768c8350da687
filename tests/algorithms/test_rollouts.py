"""Cutting rollouts into episodes, advantages over fragments, statistics across rollouts."""

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import torch
import tree
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.algorithms.scoreflow.connectors import REWARD_SCALE, Advantages, ChainColumns
from rllib_scoreflow.algorithms.scoreflow.env_runner import ChunkEnvRunner
from rllib_scoreflow.algorithms.scoreflow.rollout_buffer import ENV_STEPS, SUCCESS, RolloutBuffer
from rllib_scoreflow.algorithms.scoreflow.rollout_statistics import (
    RolloutStatistics,
    observe_rewards,
    reward_clip_rate,
)
from rllib_scoreflow.evaluation import standard_error
from rllib_scoreflow.flow.advantages import ESTIMATORS, RunningRewardScaler
from rllib_scoreflow.observations import IMAGES, STATE

NUM_ENVS, STEPS = 3, 6


def filled_buffer(terminated_at=(), truncated_at=(), start: float = 0.0, cameras: bool = False) -> RolloutBuffer:
    """Observation = 100 * env + time; the final observation of an ended chunk is 1000 more."""

    def observation(values: np.ndarray) -> Any:
        state = values[:, None].astype(np.float32)
        return {STATE: state, IMAGES: state.astype(np.uint8)} if cameras else state

    buffer = RolloutBuffer(STEPS, NUM_ENVS)
    for step in range(STEPS):
        base = 100.0 * np.arange(NUM_ENVS) + start + step
        terminated = np.array([(step, env) in terminated_at for env in range(NUM_ENVS)])
        truncated = np.array([(step, env) in truncated_at for env in range(NUM_ENVS)])
        final = base + 1.0 + 1000.0 * (terminated | truncated)
        infos = {
            "env_steps": np.where(terminated, 2, 4),
            "success": np.where(terminated, 1.0, np.nan).astype(np.float32),
            "final_obs": observation(final),
            "episode_metrics": {"score": np.where(terminated | truncated, base, np.nan)} if step else {},
        }
        policy = {
            Columns.ACTION_LOGP: base.astype(np.float32),
            Columns.ACTIONS: np.tile(base[:, None, None], (1, 3, 2)).astype(np.float32),
        }
        results = (None, base + 0.5, terminated, truncated, infos)
        buffer.add(step, observation(base), policy, results)
    return buffer


def test_fragments_hold_every_step_once_and_end_where_episodes_end() -> None:
    ids, started = [f"e{env}" for env in range(NUM_ENVS)], np.array([5, 0, 2])
    buffer = filled_buffer(terminated_at={(2, 0)}, truncated_at={(5, 1)})
    fragments = buffer.episodes(ids, started)
    assert [len(f) for f in fragments] == [3, 3, 6, 6]
    assert sum(len(f) for f in fragments) == NUM_ENVS * STEPS
    first, second, third, fourth = fragments
    assert (first.is_terminated, first.t_started, first.id_) == (True, 5, "e0")
    assert first.get_observations(-1)[0] == 1003.0  # the observation before the reset
    assert (second.is_done, second.t_started) == (False, 0)
    assert second.id_ != "e0"
    assert (third.is_truncated, third.is_terminated) == (True, False)
    assert (fourth.is_done, fourth.t_started) == (False, 2)
    np.testing.assert_array_equal(second.get_extra_model_outputs(ENV_STEPS), [4, 4, 4])
    assert first.get_extra_model_outputs(SUCCESS)[-1] == 1.0
    assert [f.custom_data.get("episode_metrics") for f in fragments] == [{"score": 2.0}, None, {"score": 105.0}, None]
    assert list(started) == [3, 0, 8]
    assert ids[0] == second.id_
    assert ids[2] == "e2"


@pytest.mark.parametrize("cameras", [False, True])
def test_fragments_are_the_episodes_that_rllib_makes_of_single_steps(cameras: bool) -> None:
    buffer = filled_buffer(terminated_at={(2, 0)}, cameras=cameras)
    fragment = buffer.episodes(["a", "b", "c"], np.array([5, 0, 0]))[0]
    columns = tree.map_structure(lambda column: column[:3, 0], buffer.columns)
    extra = (Columns.ACTION_LOGP, ENV_STEPS, SUCCESS)
    observations = [tree.map_structure(lambda column, t=t: column[t], columns[Columns.OBS]) for t in range(3)]
    usual = SingleAgentEpisode(
        "a",
        observations=[*observations, fragment.get_observations(-1)],
        actions=list(columns[Columns.ACTIONS]),
        rewards=list(columns[Columns.REWARDS]),
        extra_model_outputs={name: list(columns[name]) for name in extra},
        terminated=True,
        t_started=5,
        len_lookback_buffer=0,
    ).to_numpy()
    for name in ("observations", "actions", "rewards", "infos"):
        assert getattr(fragment, name) == getattr(usual, name), name
    assert fragment.extra_model_outputs.keys() == usual.extra_model_outputs.keys()
    for name, outputs in usual.extra_model_outputs.items():
        np.testing.assert_array_equal(fragment.get_extra_model_outputs(name), outputs.get(), strict=True)
    state, expected = fragment.get_state(), usual.get_state()
    assert state.keys() == expected.keys()
    plain = [key for key, value in expected.items() if isinstance(value, int | str | None)]
    assert {key: state[key] for key in plain} == {key: expected[key] for key in plain}
    fragment.validate()
    assert fragment.is_numpy


class LinearValues(torch.nn.Module):
    """A critic whose value of an observation is the observation."""

    chain_columns = (Columns.ACTIONS, Columns.ACTION_LOGP)
    critic = "itself"

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def unwrapped(self) -> "LinearValues":
        return self

    def compute_values(self, batch: dict) -> torch.Tensor:
        return batch[Columns.OBS][:, 0]


def train_batch(episodes: list, *, gamma: float, reward_scale: float = 1.0, reward_clip: float | None = None) -> dict:
    """The columns that both connectors make of episodes, with `lambda = 0`."""
    module, shared = {DEFAULT_MODULE_ID: LinearValues()}, {REWARD_SCALE: reward_scale}
    estimator = ESTIMATORS.choose("gae")(gamma=gamma, lambda_=0.0)
    batch: dict = {}
    for connector in (ChainColumns(), Advantages(estimator, reward_clip=reward_clip)):
        batch = connector(rl_module=module, batch=batch, episodes=episodes, shared_data=shared)
    return batch[DEFAULT_MODULE_ID]


def test_advantages_bootstrap_at_cuts_and_time_limits_but_not_at_terminal_states() -> None:
    buffer = filled_buffer(terminated_at={(5, 0)}, truncated_at={(5, 1)})
    episodes = buffer.episodes(["a", "b", "c"], np.zeros(NUM_ENVS, dtype=np.int64))
    columns = train_batch(episodes, gamma=0.9)
    advantages = columns[Postprocessing.ADVANTAGES].reshape(NUM_ENVS, STEPS)
    last = [5.5 - 5.0, 105.5 + 0.9 * 1106.0 - 105.0, 205.5 + 0.9 * 206.0 - 205.0]
    np.testing.assert_allclose(advantages[:, -1], last, rtol=1e-5)
    inner = 0.5 + 0.9 * np.array([4.0 + 1.0, 104.0 + 1.0, 204.0 + 1.0])
    np.testing.assert_allclose(advantages[:, -2], inner, rtol=1e-5)
    torch.testing.assert_close(
        columns[Postprocessing.VALUE_TARGETS],
        columns[Postprocessing.ADVANTAGES] + columns[Columns.VF_PREDS],
    )
    assert columns[Columns.ACTIONS].shape == (NUM_ENVS * STEPS, 3, 2)


def test_returns_count_episodes_that_began_in_an_earlier_rollout() -> None:
    statistics = RolloutStatistics()
    ids, started = ["a", "b", "c"], np.zeros(NUM_ENVS, dtype=np.int64)
    first = statistics.observe(filled_buffer().episodes(ids, started))
    assert "return_mean" not in first
    assert first["env_steps"] == NUM_ENVS * STEPS * 4
    later = filled_buffer(terminated_at={(0, 0)}, start=6.0).episodes(ids, started)
    second = statistics.observe(later)
    assert second["return_mean"] == sum(step + 0.5 for step in range(7))
    assert second["episode_steps_mean"] == 6 * 4 + 2
    assert second["success_rate"] == 1.0
    assert second["env_steps"] == 2 * NUM_ENVS * STEPS * 4 - 2
    assert second["action_clip_rate"] > 0.9


def test_metrics_are_means_over_the_episodes_that_ended() -> None:
    statistics = RolloutStatistics()
    buffer = filled_buffer(terminated_at={(2, 0), (4, 0)}, truncated_at={(3, 1)})
    episodes = buffer.episodes(["a", "b", "c"], np.zeros(NUM_ENVS, dtype=np.int64))
    sent = pickle.loads(pickle.dumps(episodes))  # as from an EnvRunner's process
    assert statistics.observe(sent)["episode/score"] == np.mean([2, 4, 103])
    ongoing = filled_buffer().episodes(["a", "b", "c"], np.zeros(NUM_ENVS, dtype=np.int64))
    assert "episode/score" not in statistics.observe(ongoing)


def test_rewards_are_divided_by_the_running_std_of_the_return() -> None:
    scaler = RunningRewardScaler(gamma=0.9)
    ids, started = ["a", "b", "c"], np.zeros(NUM_ENVS, dtype=np.int64)
    episodes = filled_buffer().episodes(ids, started)
    scale = observe_rewards(episodes, scaler)
    assert scale == scaler.scale > 1.0
    assert set(scaler.ongoing) == {"a", "b", "c"}
    targets = train_batch(episodes, gamma=0.0, reward_scale=scale)[Postprocessing.VALUE_TARGETS]
    raw = np.concatenate([e.get_rewards() for e in episodes])
    np.testing.assert_allclose(targets, raw / scale, rtol=1e-4)


def test_scaled_rewards_are_bounded_and_counted() -> None:
    episodes = filled_buffer().episodes(["a", "b", "c"], np.zeros(NUM_ENVS, dtype=np.int64))
    raw = np.concatenate([e.get_rewards() for e in episodes])  # 0.5 to 5.5, 100.5 to 105.5, 200.5 to 205.5
    for clip, expected in ((10.0, np.minimum(raw / 2, 10.0)), (None, raw / 2)):
        targets = train_batch(episodes, gamma=0.0, reward_scale=2.0, reward_clip=clip)[Postprocessing.VALUE_TARGETS]
        np.testing.assert_allclose(targets, expected, rtol=1e-4)
    assert reward_clip_rate(episodes, 2.0, 10.0) == pytest.approx(2 / 3)
    assert reward_clip_rate(episodes, 2.0, None) == 0.0
    assert ScoreFlowConfig().reward_clip == 10.0


def test_the_standard_error_is_the_one_of_every_evaluation() -> None:
    buffer = filled_buffer(terminated_at={(2, 0), (5, 0)}, truncated_at={(3, 1)})
    episodes = buffer.episodes(["a", "b", "c"], np.zeros(NUM_ENVS, dtype=np.int64))
    metrics = RolloutStatistics().observe(episodes)
    returns = [4.5, 13.5, 4 * 102.0]
    assert metrics["return_mean"] == pytest.approx(np.mean(returns))
    assert metrics["return_stderr"] == pytest.approx(standard_error(returns))
    assert metrics["return_stderr"] == pytest.approx(np.std(returns, ddof=1) / np.sqrt(3))
    one = filled_buffer(terminated_at={(2, 0)}).episodes(["a", "b", "c"], np.zeros(NUM_ENVS, dtype=np.int64))
    assert "return_stderr" not in RolloutStatistics().observe(one)


def test_an_episode_with_a_lost_fragment_is_no_short_episode() -> None:
    """The EnvRunner of environments b and c gives no rollout in time once; what it plays then goes on from there."""
    statistics, scaler = RolloutStatistics(), RunningRewardScaler(gamma=0.9)
    ids, started = ["a", "b", "c"], np.zeros(NUM_ENVS, dtype=np.int64)
    first = filled_buffer().episodes(ids, started)
    (arrived, *_) = filled_buffer(start=6.0).episodes(ids, started)
    for fragments in (first, [arrived]):
        statistics.observe(fragments)
        observe_rewards(fragments, scaler)
    last = filled_buffer(terminated_at={(1, 0), (2, 1)}, truncated_at={(3, 1)}, start=12.0).episodes(ids, started)
    metrics = statistics.observe(last)
    assert (metrics["episodes"], metrics["incomplete_episodes"]) == (2, 1)
    whole = [sum(step + 0.5 for step in range(14)), 115.5]  # all of a, and what followed b's end
    assert metrics["return_mean"] == np.mean(whole)
    assert metrics["episode/score"] == np.mean([13, 115])
    assert metrics["env_steps"] == sum(int(np.sum(f.get_extra_model_outputs(ENV_STEPS))) for f in last) + 96
    observe_rewards(last, scaler)
    assert scaler.count == 18 + 6 + 6 + 3  # without b's first 3 chunks and c's 6: nobody knows what they add to


def test_a_rollout_keeps_its_observations_once() -> None:
    buffer = filled_buffer(terminated_at={(2, 0)})
    observations = [name for name, column in buffer.columns.items() if np.shape(column) == (STEPS, NUM_ENVS, 1)]
    assert observations == [Columns.OBS]


def runner_config(policy_folder) -> ScoreFlowConfig:
    config = ScoreFlowConfig().environment("Pendulum-v1").training(pretrained_policy=str(policy_folder))
    return config.env_runners(num_envs_per_env_runner=2, rollout_fragment_length=3).debugging(seed=4)


def first_rollout(config: ScoreFlowConfig, updates: int, resets: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """First observations and chains that an EnvRunner samples which is started after some updates."""
    runner = ChunkEnvRunner(config=config, worker_index=1)
    runner.set_state({"rl_module": runner.module.get_state(), "weights_seq_no": updates})
    for _ in range(resets):
        episodes = runner.sample(force_reset=True)
    runner.stop()
    chains = [episode.get_actions() for episode in episodes]
    return np.stack([episode.get_observations(0) for episode in episodes]), np.stack(chains)


def test_what_was_sampled_does_not_return_after_a_restart(policy_folder) -> None:
    config = runner_config(policy_folder)
    config.validate()
    start, resumed, again, later, crashed = (
        first_rollout(config, updates, resets) for updates, resets in ((0, 1), (3, 1), (3, 1), (4, 1), (3, 2))
    )
    for repeated, sampled in zip(resumed, again, strict=True):
        np.testing.assert_array_equal(repeated, sampled)
    others = [start, resumed, later, crashed]
    for one, other in itertools.combinations(others, 2):
        assert not np.isclose(one[0], other[0]).any()
        assert not np.isclose(one[1][:, 0, 0], other[1][:, 0, 0]).any()  # the random starts of the chains
