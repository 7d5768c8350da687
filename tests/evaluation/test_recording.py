"""Episodes that a policy plays, kept whole, against what the environment does in closed form."""

import numpy as np
import pytest
import torch

from rllib_scoreflow.cli.main import run
from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation import evaluate_policy
from rllib_scoreflow.evaluation.recording import frames_per_second, record_episodes
from rllib_scoreflow.policy import FlowPolicy

SHOWN, PIXELS = "toy_envs:ToyShown-v0", "toy_envs:ToyPixels-v0"
OPTIONS = {"episodes": 5, "seed": 3, "act_steps": 2, "horizon": 3}


def act(observation):
    """The first number of the state / 100, then 0.5 more for each action of the chunk; more than the limit, at 2."""
    state = observation if isinstance(observation, np.ndarray) else observation["state"]
    return state[:, :1] / 100 + np.array([[0.0, 0.5, 9.0]])


def test_every_step_is_kept(tmp_path):
    played = record_episodes(act, SHOWN, scratch=tmp_path, **OPTIONS)
    columns, ends = played.columns, np.flatnonzero(played.columns.terminals)
    starts = np.concatenate([[0], ends[:-1] + 1])
    limits = columns.observations[starts, 1]
    np.testing.assert_array_equal(ends - starts + 1, limits)
    count = np.concatenate([np.arange(limit) for limit in limits])
    np.testing.assert_array_equal(columns.observations, np.column_stack([count, np.repeat(limits, limits.astype(int))]))
    # The count when the chunk was made, and its second action half a unit further.
    actions = (count - count % 2) / 100 + (count % 2) / 2
    np.testing.assert_allclose(columns.actions[:, 0], actions, rtol=1e-6)
    np.testing.assert_allclose(columns.rewards, count + 1 + actions, rtol=1e-6)
    np.testing.assert_array_equal(columns.final_observations, np.column_stack([limits, limits]))
    np.testing.assert_array_equal(played.success, limits % 2 == 0)
    assert not columns.timeouts.any()
    assert columns.fps == 10
    assert len(set(limits)) > 1
    # The evaluation plays several environments at once, of which one has the first episode.
    evaluation = evaluate_policy(act, SHOWN, **{**OPTIONS, "episodes": 1})
    np.testing.assert_allclose(np.add.reduceat(columns.rewards, starts)[0], evaluation.returns[0], rtol=1e-6)


def test_a_time_limit_ends_by_a_timeout_and_actions_stay_within_bounds(tmp_path):
    config = {"max_episode_steps": 3, "limit": 9}
    options = {**OPTIONS, "act_steps": 3}
    played = record_episodes(act, SHOWN, scratch=tmp_path, env_config=config, **options)
    np.testing.assert_array_equal(played.columns.timeouts, [False, False, True] * 5)
    np.testing.assert_allclose(played.columns.actions[:, 0], [0.0, 0.5, 2.0] * 5, rtol=1e-6)
    np.testing.assert_array_equal(played.columns.final_observations, [[3, 9]] * 5)
    assert not played.columns.terminals.any()


def test_images_lie_in_a_file_without_a_name(tmp_path):
    columns = record_episodes(act, PIXELS, scratch=tmp_path, **OPTIONS).columns
    assert columns.images.shape == (len(columns.rewards), 2, 4, 6, 3)
    np.testing.assert_array_equal(columns.images[:, :, 2, 5, 0], columns.observations)
    assert len(columns.cameras) == 2
    assert not list(tmp_path.iterdir())


def test_the_command_plays_and_writes(make_policy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RLLIB_SCOREFLOW_CACHE", str(tmp_path / "cache"))
    folder = make_policy(0.25, variant="flow", steps=2).save(tmp_path / "policy")
    command = ["dataset", "export", str(folder), str(tmp_path / "out"), "--env", SHOWN]
    assert run([*command, "--episodes", "6", "--seed", "2", "--task", "count"]) == 0
    printed = capsys.readouterr().out
    dataset = load_dataset(tmp_path / "out")
    assert printed.startswith(f"{tmp_path / 'out'}: {dataset.info.num_steps} steps, 6 episodes")
    policy, generator = FlowPolicy.load(folder), torch.Generator().manual_seed(2)
    actions = [policy.act(observation[None], generator=generator)[0] for observation in np.array(dataset.observations)]
    np.testing.assert_allclose(dataset.actions, actions, rtol=1e-6)
    lengths = np.diff(dataset.episode_offsets)
    np.testing.assert_array_equal(dataset.observations[dataset.episode_offsets[:-1], 1], lengths)
    info = dataset.info
    assert (info.env_id, info.fps, info.tasks) == (SHOWN, 10.0, ("count",))
    assert f"{(lengths % 2 == 0).sum()} of 6 episodes succeed" in info.notes
    assert run([*command, "--overwrite", "--cameras", "top"]) == 2
    message = capsys.readouterr().err
    assert "cameras" in message
    assert message.count("\n") == 1


def test_frame_rates(tmp_path):
    assert frames_per_second(None, 20.0, "x") == 20
    assert frames_per_second(7, 20.0, "x") == 7
    for known, words in ((None, "does not say"), (29.97, "whole numbers"), (0.4, "whole numbers")):
        with pytest.raises(InputError, match=rf"x .*{words}.*--fps N"):
            frames_per_second(None, known, "x")

    def never(observation):
        raise ZeroDivisionError("played before the frame rate was known")

    with pytest.raises(InputError, match=r"ToyCountdown-v0 does not say how many steps"):
        record_episodes(never, "toy_envs:ToyCountdown-v0", scratch=tmp_path, **OPTIONS)
