"""The line that compares a clone with its data."""

import pytest

from rllib_scoreflow.reports.clone import clone_against_data


def row(**values):
    return {"training_iteration": 10, "data_return_mean": 4906.0, "gradient_steps": 1230.0, **values}


def test_a_clone_far_below_its_data_is_told_what_to_try() -> None:
    line = clone_against_data([row(eval_return_mean=166.0, eval_return_stderr=12.0)])
    assert "return is 166.00 ± 12.00" in line
    assert "data is 4,906.00" in line
    assert "far below" in line
    assert "stop: {gradient_steps: 4920}" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "values",
    [
        {"eval_return_mean": 4500.0, "eval_return_stderr": 50.0},
        {"eval_return_mean": 3000.0, "eval_return_stderr": 900.0},
        {"eval_return_mean": 1.0, "eval_success_rate": 1.0},  # an episode ends at the success that the data dwell on
        {"data_return_mean": -200.0, "eval_return_mean": -210.0},
    ],
)
def test_a_clone_as_good_as_its_data(values) -> None:
    assert "far below" not in clone_against_data([row(**values)])


def test_returns_may_be_negative() -> None:
    assert "far below" in clone_against_data([row(data_return_mean=-200.0, eval_return_mean=-900.0)])


def test_overfitting_is_not_answered_with_more_of_it() -> None:
    rows = [row(validation_loss=loss) for loss in (0.5, 0.2, 0.4)]
    rows[-1] |= {"eval_return_mean": 10.0}
    line = clone_against_data(rows)
    assert "early_stopping_patience" in line
    assert "gradient_steps" not in line


def test_what_is_not_known_is_said() -> None:
    assert "evaluation_interval" in clone_against_data([row()])
    assert "after iteration 8" in clone_against_data([row(training_iteration=8, eval_return_mean=4900.0), row()])
    assert clone_against_data([{"env_steps": 5, "return_mean": 1.0}]) is None
    assert clone_against_data([]) is None
