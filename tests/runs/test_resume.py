"""From where an interrupted trial goes on: what lies on disk decides, whatever Tune has noted."""

import csv
import json
from pathlib import Path

import pytest

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.manifest import MANIFEST, write_manifest
from rllib_scoreflow.reports import trial_files
from rllib_scoreflow.reports.plots import read_results
from rllib_scoreflow.runs.resume import take_stock


def row(iteration: int, **more) -> dict:
    return {"training_iteration": iteration, "time_total_s": 2.0 * iteration, "trial_id": "ab12c_00000", **more}


def report(folder: Path, iteration: int, **more) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = row(iteration, **more)
    trial_files.append_result(folder, json.dumps(content), iteration)
    trial_files.append_table(folder, content)


def save(folder: Path, number: int, iteration: int) -> Path:
    checkpoint = folder / f"checkpoint_{number:06d}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_bytes(b"w" * 50)
    write_manifest(checkpoint, iteration)
    return checkpoint


def iterations(folder: Path) -> list[int]:
    return [json.loads(line)["training_iteration"] for line in (folder / "result.json").read_text().splitlines()]


def table(folder: Path) -> list[int]:
    with (folder / "progress.csv").open(newline="") as file:
        return [int(one["training_iteration"]) for one in csv.DictReader(file)]


def done(result) -> bool:
    return bool(result.get("done"))


@pytest.fixture
def trial(tmp_path) -> Path:
    """Seven iterations with a checkpoint after each second one; a note of Tune's that knows of the first only."""
    folder = tmp_path / "trial_00000"
    for iteration in range(1, 8):
        report(folder, iteration)
        if iteration % 2 == 0:
            save(folder, iteration // 2 - 1, iteration)
    (tmp_path / "experiment_state-2026-01-01_00-00-00.json").write_text('{"trial_data": [["{')
    return folder


def stock(trial: Path, *, checkpoint_at_end: bool = True):
    return take_stock(trial.parent, done, checkpoint_at_end=checkpoint_at_end)[trial.name]


def test_the_newest_whole_checkpoint_is_gone_on_from_and_later_results_are_taken_out(trial):
    found = stock(trial)
    assert found.checkpoints[-1].folder.name == "checkpoint_000002"
    assert [one.result["training_iteration"] for one in found.checkpoints] == [2, 4, 6]
    assert found.result == row(6)
    assert (found.ended, found.last_number, found.note) == (False, 2, None)
    assert iterations(trial) == table(trial) == [1, 2, 3, 4, 5, 6]
    assert not list(trial.parent.glob("experiment_state*"))
    report(trial, 7)
    assert iterations(trial) == table(trial) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("cut", ["weights", MANIFEST])
def test_a_checkpoint_that_was_cut_off_is_passed_over_and_named(trial, cut):
    path = trial / "checkpoint_000002" / cut
    path.write_bytes(path.read_bytes()[:20])
    found = stock(trial)
    assert found.result == row(4)
    assert found.note.startswith("checkpoint_000002 is damaged (")
    assert found.note.endswith("); went on from checkpoint_000001")
    assert "\n" not in found.note
    assert iterations(trial) == table(trial) == [1, 2, 3, 4]
    # The next one is written beside it, and not into it; what was never whole is swept.
    assert found.last_number == 2
    assert (trial / "checkpoint_000002").exists() == (cut != MANIFEST)


def test_a_trial_without_any_checkpoint_begins_anew(tmp_path):
    trial = tmp_path / "trial_00000"
    report(trial, 1)
    assert stock(trial).checkpoints == ()
    assert iterations(trial) == table(trial) == []
    report(trial, 1)
    # The first one was cut off while it was written, which may have hit any of its files.
    for cut in (MANIFEST, "weights"):
        first = save(trial, 0, 1)
        (first / cut).write_bytes(b"")
        found = stock(trial)
        assert found.checkpoints == ()
        assert found.note.startswith("checkpoint_000000 is damaged (")
        assert "\n" not in found.note
        assert found.last_number == -1
        assert iterations(trial) == []
        assert not list(trial.glob("checkpoint_*"))


def test_checkpoints_that_are_all_damaged_are_not_given_up_in_silence(trial):
    for path in trial.glob("checkpoint_*/weights"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint is whole .*--overwrite"):
        stock(trial)
    assert iterations(trial) == list(range(1, 8))


def test_a_trial_is_done_when_its_last_checkpoint_is_there(trial):
    report(trial, 8, done=True)
    assert not stock(trial).ended
    assert iterations(trial) == [1, 2, 3, 4, 5, 6]
    report(trial, 7)
    report(trial, 8, done=True)
    assert stock(trial, checkpoint_at_end=False).ended
    save(trial, 3, 8)
    found = stock(trial)
    assert found.ended
    assert found.result["done"]
    assert iterations(trial) == list(range(1, 9))


def test_an_iteration_that_is_done_again_replaces_the_one_before(trial):
    report(trial, 5, again=1)
    assert iterations(trial) == table(trial) == [1, 2, 3, 4, 5]
    assert trial_files.read_rows(trial)[-1]["again"] == 1
    assert [one["training_iteration"] for one in read_results(trial)] == [1, 2, 3, 4, 5]


def test_a_line_that_was_cut_off_is_no_result(trial):
    path = trial / "result.json"
    path.write_text(path.read_text()[:-20])
    assert [one["training_iteration"] for one in trial_files.read_rows(trial)] == list(range(1, 7))
    stock(trial)
    assert iterations(trial) == list(range(1, 7))
    report(trial, 7)
    assert iterations(trial) == list(range(1, 8))


def test_a_number_beyond_six_digits_is_newer(tmp_path):
    trial = tmp_path / "trial_00000"
    for number, iteration in ((999_999, 1), (1_000_000, 2)):
        report(trial, iteration)
        save(trial, number, iteration)
    assert stock(trial).result == row(2)


def stage(folder: Path, **stop: float):
    from rllib_scoreflow.experiments.spec import Experiment
    from rllib_scoreflow.runs.outcome import Stage

    experiment = Experiment(folder.name, "f.yaml", "PPO", env="CartPole-v1", stop=stop)
    return Stage(experiment, object, {}, stop, folder)


def test_a_larger_stop_goes_on_with_trials_that_had_reached_their_end_and_not_with_those_ended_early(tmp_path):
    from rllib_scoreflow.runs.runner import _ends_so_far, _take_stock

    for name, last in (("trial_00000", 4), ("trial_00001", 2)):
        for iteration in range(1, last + 1):
            report(tmp_path / name, iteration, done=iteration == last)
        save(tmp_path / name, 0, last)

    def ended(then: list[dict], **stop: float) -> list[bool]:
        return [found.ended for found in _take_stock(stage(tmp_path, **stop), then).values()]

    assert ended([{"training_iteration": 4}], training_iteration=4) == [True, True]
    assert ended([{"training_iteration": 4}], training_iteration=9) == [False, True]
    # Interrupted twice, the second time before a result: what it had been run for at first still counts.
    (tmp_path / "experiment.json").write_text(
        json.dumps({"stop": {"training_iteration": 9}, "earlier_stops": [{"training_iteration": 4}]})
    )
    (tmp_path / "done.json").write_text(json.dumps({"stop": {"training_iteration": 4}}))
    ends = _ends_so_far(tmp_path)
    assert ends == [{"training_iteration": 4}, {"training_iteration": 9}]
    assert ended(ends, training_iteration=9) == [False, True]
    assert iterations(tmp_path / "trial_00000") == [1, 2, 3, 4]
