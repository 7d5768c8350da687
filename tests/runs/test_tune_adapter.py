"""What the command uses of Ray Tune's internals is as it was in Ray 2.60; no Ray is started here."""

import json
from pathlib import Path

import pytest
from ray import tune
from ray.tune.experiment import Experiment, Trial

from rllib_scoreflow.files.manifest import write_manifest
from rllib_scoreflow.runs.progress import trial_folder
from rllib_scoreflow.runs.resume import take_stock
from rllib_scoreflow.runs.tune_adapter import ResultFile, ResultTable, ResumingSearch


class Quiet(tune.Trainable):
    """Does nothing."""


@pytest.fixture
def results(tmp_path) -> Path:
    """An experiment of three trials: one is done, one has two whole checkpoints, one has not begun."""
    folder = tmp_path / "exp"
    for number, name in enumerate(("trial_00000_lr=0.1", "trial_00001_lr=0.2")):
        trial = folder / name
        for iteration in (1, 2, 3):
            (trial).mkdir(parents=True, exist_ok=True)
            row = {"training_iteration": iteration, "trial_id": f"ab12c_0000{number}", "done": iteration == 3}
            with (trial / "result.json").open("a") as file:
                file.write(json.dumps(row if number == 0 else row | {"done": False}) + "\n")
        for index, iteration in enumerate((1, 3) if number == 0 else (1, 2)):
            checkpoint = trial / f"checkpoint_{index:06d}"
            checkpoint.mkdir()
            (checkpoint / "weights").write_bytes(b"w")
            write_manifest(checkpoint, iteration)
        (trial / "params.json").write_text(json.dumps({"lr": 0.7, "nested": {"gamma": 0.9}}))
    return folder


def trials(results: Path, changed: dict, **arguments) -> list[Trial]:
    found = take_stock(results, lambda result: bool(result.get("done")), checkpoint_at_end=True)
    search = ResumingSearch(found, changed, seed=0, **{"max_concurrent": 0, **arguments})
    config = {"lr": tune.grid_search([0.1, 0.2, 0.3]), "nested": {"gamma": 0.5}}
    experiment = Experiment(
        "exp",
        Quiet,
        config=config,
        storage_path=str(results.parent),
        trial_dirname_creator=trial_folder,
        checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
    )
    search.add_configurations([experiment])
    return list(iter(search.next_trial, None))


def test_trials_go_on_from_what_lies_in_their_folders(results):
    first, second, third = trials(results, {})
    assert (first.status, second.status, third.status) == (Trial.TERMINATED, Trial.PENDING, Trial.PENDING)
    assert first.last_result["done"]
    assert [Path(trial.path) for trial in (first, second)] == sorted(results.glob("trial_*"))
    assert first.checkpoint.path == str(results / "trial_00000_lr=0.1" / "checkpoint_000001")
    assert second.checkpoint.path == str(results / "trial_00001_lr=0.2" / "checkpoint_000001")
    assert second.latest_checkpoint_result.metrics["training_iteration"] == 2
    assert third.checkpoint is None
    # The next checkpoint is `checkpoint_000002`, of a new trial `checkpoint_000000`.
    assert [trial.storage.current_checkpoint_index for trial in (second, third)] == [1, -1]
    assert [trial.trial_id for trial in (first, second, third)] == [f"ab12c_0000{number}" for number in range(3)]
    assert [trial.config["lr"] for trial in (first, second, third)] == [0.1, 0.2, 0.3]


def test_a_trial_that_is_done_takes_no_place_of_those_that_run(results):
    first, second = trials(results, {}, max_concurrent=1)
    assert (first.status, second.status) == (Trial.TERMINATED, Trial.PENDING)


def test_what_a_scheduler_had_changed_is_kept(results):
    _, second, third = trials(results, {"lr": [0.1, 1.0], "nested": {"gamma": [0.1]}})
    assert (second.config["lr"], second.config["nested"]["gamma"]) == (0.7, 0.9)
    assert (third.config["lr"], third.config["nested"]["gamma"]) == (0.3, 0.5)
    # Tune resolves a config anew from another reference to it.
    second.resolve_config_placeholders({})
    assert second.config["lr"] == 0.7


def test_results_are_written_to_the_trials_own_folder_at_once(results):
    *_, third = trials(results, {})
    third.storage.trial_dir_name = third.custom_dirname
    for file in (ResultFile(), ResultTable()):
        file.log_trial_start(third)
        file.log_trial_result(0, third, {"training_iteration": 1, "loss": {"kl": 0.5}, "config": third.config})
    folder = results / third.custom_dirname
    assert json.loads((folder / "params.json").read_text())["lr"] == 0.3
    assert json.loads((folder / "result.json").read_text())["loss"] == {"kl": 0.5}
    assert (folder / "progress.csv").read_text() == "training_iteration,loss/kl\n1,0.5\n"


def test_tune_adds_no_loggers_beside_ours():
    from ray.tune.utils.callback import _create_default_callbacks

    names = [type(one).__name__ for one in _create_default_callbacks([ResultFile(), ResultTable()])]
    assert "JsonLoggerCallback" not in names
    assert "CSVLoggerCallback" not in names
