"""Flags that contradict the observations: refused, or the ends are read where they are; never believed."""

import numpy as np
import pytest

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.errors import InputError

EPISODES, STEPS = 5, 100
ENDS = np.arange(STEPS - 1, EPISODES * STEPS, STEPS)


def rollouts(lengths=(STEPS,) * EPISODES, o=5, seed=0):
    """Smooth motions that begin anew at every reset; every episode is cut by a timeout."""
    rng = np.random.default_rng(seed)
    n = sum(lengths)
    ends = np.cumsum(lengths) - 1
    observations, following = np.zeros((n, o), np.float32), np.zeros((n, o), np.float32)
    row = 0
    for length in lengths:
        start = rng.normal(size=o)
        speed = rng.normal(size=(length, o)) * 0.02 + rng.normal(size=o) * 0.03
        states = (start + np.concatenate([np.zeros((1, o)), np.cumsum(speed, axis=0)])).astype(np.float32)
        observations[row : row + length], following[row : row + length] = states[:-1], states[1:]
        row += length
    timeouts = np.zeros(n, bool)
    timeouts[ends] = True
    return {
        "observations": observations,
        "actions": rng.uniform(-1, 1, (n, 2)).astype(np.float32),
        "rewards": np.ones(n, np.float32),
        "terminals": np.zeros(n, bool),
        "timeouts": timeouts,
        "next_observations": following,
    }


@pytest.fixture
def load(tmp_path, cache, write):
    return lambda columns: load_dataset(write(tmp_path / "d.hdf5", columns))


@pytest.fixture
def refused(load):
    def check(columns, *words):
        with pytest.raises(InputError) as caught:
            load(columns)
        message = str(caught.value)
        for word in ("d.hdf5", *words):
            assert word in message
        assert "\n" not in message

    return check


def lengths_of(dataset):
    return np.diff(dataset.episode_offsets).tolist()


def without_next(columns):
    del columns["next_observations"]
    return columns


def near_goal(columns, steps=20):
    """The goal is reached before the episode's end, and flagged as long as it is held."""
    columns["rewards"][:] = 0
    for end in ENDS:
        columns["terminals"][end - steps : end] = True
        columns["rewards"][end - steps : end] = 1
    return columns


def test_flags_that_agree_pass_without_a_note(load):
    dataset = load(rollouts())
    assert lengths_of(dataset) == [STEPS] * EPISODES
    assert dataset.info.notes == ()
    assert lengths_of(load(without_next(rollouts()))) == [STEPS] * EPISODES


def two_terminals_no_timeouts():
    columns = rollouts()
    columns["terminals"][ENDS[[1, 3]]] = True
    del columns["timeouts"]
    return columns


def test_ends_that_no_flag_tells_are_read_from_next_observations(load):
    dataset = load(two_terminals_no_timeouts())
    assert lengths_of(dataset) == [STEPS] * EPISODES
    np.testing.assert_array_equal(np.flatnonzero(dataset.terminals), ENDS[[1, 3]])


def test_ends_that_no_flag_tells_are_seen_in_the_observations(refused):
    refused(without_next(two_terminals_no_timeouts()), "jump as at a reset in 2 rows", "row 99", "'timeouts'")


def test_all_flags_false(load, refused):
    columns = rollouts()
    columns["timeouts"][:] = False
    dataset = load(columns)
    assert lengths_of(dataset) == [STEPS] * EPISODES
    assert "4 episodes end without a flag" in dataset.info.notes[0]
    refused(without_next(columns), "'timeouts' are set in no row", "set 'timeouts'")


def test_only_the_last_row_flagged(load, refused):
    columns = without_next(rollouts())
    columns["timeouts"][:-1] = False
    refused(columns, "jump as at a reset in 4 rows", "0 rows are flagged")
    assert lengths_of(load(without_next(rollouts((200,))))) == [200]


@pytest.mark.parametrize("name", ["truncations", "truncated", "truncateds", "timeout"])
def test_other_names_of_timeouts(load, name):
    columns = without_next(rollouts())
    columns[name] = columns.pop("timeouts")
    assert lengths_of(load(columns)) == [STEPS] * EPISODES


@pytest.mark.parametrize("name", ["terminations", "terminated", "terminal"])
def test_other_names_of_terminals(load, name):
    columns = without_next(rollouts())
    columns[name] = columns.pop("terminals")
    columns[name][ENDS[0]], columns["timeouts"][ENDS[0]] = True, False
    dataset = load(columns)
    assert lengths_of(dataset) == [STEPS] * EPISODES
    assert np.flatnonzero(dataset.terminals) == [ENDS[0]]


@pytest.mark.parametrize("name", ["dones", "done"])
@pytest.mark.parametrize("removed", ["terminals", "timeouts"])
def test_one_flag_for_either_end(load, name, removed):
    columns = without_next(rollouts())
    columns[name] = columns["timeouts"].copy()
    del columns[removed]
    dataset = load(columns)
    assert lengths_of(dataset) == [STEPS] * EPISODES
    np.testing.assert_array_equal(np.flatnonzero(dataset.timeouts), ENDS)


def test_two_names_that_contradict_each_other(refused):
    columns = rollouts()
    columns["truncations"] = np.roll(columns["timeouts"], 1)
    refused(columns, "'timeouts' and 'truncations' mean the same and differ", "row 0")


@pytest.mark.parametrize("shift", [1, -1, 7])
def test_timeouts_in_other_rows_than_the_ends(refused, shift):
    columns = rollouts()
    columns["timeouts"] = np.roll(columns["timeouts"], shift)
    columns["timeouts"][: max(shift, 0)] = False
    first = ENDS[0] + shift
    refused(columns, f"go on after row {first}, which is flagged, and stop after row {ENDS[0]}", "every episode")
    words = ("lie beside the ends", f"after row {ENDS[0]}") if abs(shift) < 4 else ("jump as at a reset in 4 rows",)
    refused(without_next(columns), *words)


def test_terminals_that_are_held(load, refused):
    dataset = load(near_goal(rollouts()))
    assert lengths_of(dataset) == [STEPS] * EPISODES
    assert dataset.info.mean_return == 20
    assert "100 rows of 'terminals' end no episode" in dataset.info.notes[0]
    refused(without_next(near_goal(rollouts())), "'terminals'", "follow one another", "95 of 100")


def test_terminals_that_are_held_without_timeouts(load, refused):
    columns = near_goal(rollouts())
    del columns["timeouts"]
    refused(columns, "do not lie where episodes end")
    refused(without_next(columns), "follow one another")


@pytest.mark.parametrize("change", [lambda x: 57.3 * x, lambda x: (x - x.mean(0)) / x.std(0), lambda x: x + 0.5])
def test_next_observations_of_another_scale(refused, change):
    columns = rollouts()
    columns["next_observations"] = change(columns["next_observations"]).astype(np.float32)
    refused(columns, "'next_observations'", "495 of 499 rows", "in the same units")
    del columns["timeouts"]
    refused(columns, "'next_observations'", "499 of 499 rows", "in the same units")


def test_next_observations_that_differ_in_a_part_are_not_used(load):
    columns = rollouts()
    columns["next_observations"][:, 2:4] = 0
    dataset = load(columns)
    assert lengths_of(dataset) == [STEPS] * EPISODES
    assert dataset.final_observations is None
    assert "in 2 of 5 dimensions, so they are not used" in dataset.info.notes[0]


def test_shuffled_rows(refused):
    rows = np.random.default_rng(0).permutation(EPISODES * STEPS)
    refused({key: values[rows] for key, values in rollouts().items()}, "'next_observations' differs")


@pytest.mark.parametrize("shift", [1, -1])
def test_next_observations_of_other_rows(refused, shift):
    columns = rollouts()
    columns["next_observations"] = np.roll(columns["next_observations"], shift, axis=0)
    del columns["timeouts"]
    refused(columns, "'next_observations'", "leave it out")


def test_next_observations_made_by_shifting(load):
    columns = rollouts()
    columns["next_observations"] = np.roll(columns["observations"], -1, axis=0)
    dataset = load(columns)
    assert lengths_of(dataset) == [STEPS] * EPISODES
    assert dataset.final_observations is None
    assert "across the ends of episodes" in dataset.info.notes[0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 1000])
def test_rounding_is_no_end(load, dtype, offset):
    columns = rollouts()
    for key in ("observations", "next_observations"):
        columns[key] = (columns[key].astype(np.float64) + offset).astype(dtype if offset == 0 else np.float64)
    columns["next_observations"] = columns["next_observations"].astype(np.float32)
    dataset = load(columns)
    assert lengths_of(dataset) == [STEPS] * EPISODES
    assert dataset.info.notes == ()


def test_a_cut_between_two_recordings_is_found(load):
    columns = rollouts((10,) * 200)
    columns["timeouts"][999] = False
    dataset = load(columns)
    assert lengths_of(dataset) == [10] * 200
    assert "1 episodes end without a flag" in dataset.info.notes[0]


def test_timeouts_that_cut_a_motion_that_goes_on(load):
    columns = rollouts()
    columns["timeouts"][49::100] = True
    assert lengths_of(load(columns)) == [50] * (2 * EPISODES)


@pytest.mark.parametrize("key", ["terminals", "timeouts"])
def test_every_row_an_end(refused, key):
    columns = rollouts()
    columns[key][:] = True
    refused(columns, f"'{key}' is set in every row", "last row of every episode")


@pytest.mark.parametrize("value", [2, np.nan, -1])
def test_a_flag_that_is_none(refused, value):
    columns = rollouts()
    columns["timeouts"] = np.arange(500) * 0.0
    columns["timeouts"][41] = value
    refused(columns, "'timeouts' holds", "row 41", "0 or 1")


def test_counted_steps_are_no_flag(refused):
    columns = rollouts()
    columns["timeouts"] = np.tile(np.arange(STEPS), EPISODES)
    refused(columns, "'timeouts' holds 2 in row 2")


def test_observations_without_order_say_nothing(load):
    columns = without_next(rollouts())
    columns["observations"] = np.random.default_rng(0).normal(size=(500, 5)).astype(np.float32)
    dataset = load(columns)
    assert lengths_of(dataset) == [STEPS] * EPISODES
    assert dataset.info.notes == ()


def headings(episodes, steps, wrap):
    """A vehicle whose heading wraps within episodes, or goes on growing."""
    columns = without_next(rollouts((steps,) * episodes, o=3))
    heading = np.cumsum(np.full(episodes * steps, 0.15)) + np.repeat(np.arange(episodes), steps)
    columns["observations"][:, 2] = (heading + np.pi) % (2 * np.pi) - np.pi if wrap else heading
    return columns


@pytest.mark.parametrize("episodes", [1, 2, 20])
def test_an_angle_that_wraps_is_no_reset(load, episodes):
    dataset = load(headings(episodes, 200, wrap=True))
    assert lengths_of(dataset) == [200] * episodes
    assert dataset.info.notes == ()


def test_a_first_step_from_rest_is_no_reset(load):
    columns = without_next(rollouts((200, 200)))
    columns["observations"][[0, 200]] += 0.18  # a step of all dimensions, far smaller than the flagged reset
    assert lengths_of(load(columns)) == [200, 200]
