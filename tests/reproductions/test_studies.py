"""The studies of the repository, and what a study may say."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from reproductions.analyse import TABLES, write_tables
from reproductions.collect import read_results, write_results
from reproductions.experiments import experiment_file, study_runs, tuning_runs
from reproductions.measures import relative_rise
from reproductions.page import PAGE, fill_tables
from reproductions.run import StudyRunner, best_again, note_commit
from reproductions.study import ONLY_CELL, RESULTS, STUDIES, Study, StudyError, cells, load_study
from reproductions.tuning import choose_cells
from rllib_scoreflow.experiments.checks.algorithms import find_algorithm, register_own
from rllib_scoreflow.experiments.checks.config import check_config
from rllib_scoreflow.experiments.spec import build_experiment, read_experiments

NAMES = sorted(path.stem for path in STUDIES.glob("*.yaml"))
WITH_RESULTS = sorted(path.stem for path in RESULTS.glob("*.parquet"))


@pytest.mark.parametrize("name", NAMES)
def test_every_run_of_a_study_is_a_file_that_the_command_accepts(name: str, tmp_path: Path) -> None:
    register_own()
    study = load_study(name)
    chosen = {
        method: next(iter(cells(study, method).items())) if study.tuning else (ONLY_CELL, {})
        for method in study.methods
    }
    for task in study.tasks:
        runs = study_runs(study.methods, chosen, task, study.seeds[0])
        if study.tuning is not None:
            runs += tuning_runs(study, task, study.tuning.seeds[0])
        path = tmp_path / f"{task}.yaml"
        path.write_text(yaml.safe_dump(experiment_file(study, runs, tmp_path)), encoding="utf-8")
        experiments = read_experiments(path)
        assert len(experiments) == len({run.clone for run in runs}) + len(runs)
        for experiment, body in experiments.items():
            built = build_experiment(experiment, body, str(path))
            check_config(built, find_algorithm(built.run, str(path)))


@pytest.mark.parametrize("name", WITH_RESULTS)
def test_committed_tables_are_what_the_committed_results_give(name: str) -> None:
    study = load_study(name)
    written = (RESULTS / name / TABLES).read_text(encoding="utf-8")
    assert write_tables(study, read_results(RESULTS / f"{name}.parquet"), name) == written


def test_the_page_of_results_holds_the_tables_as_they_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "<!-- table: " in text
    assert fill_tables(text) == text


def test_a_mark_without_a_table_is_refused() -> None:
    with pytest.raises(StudyError, match="has no heading 'nowhere'"):
        fill_tables("<!-- table: variants / nowhere -->\n<!-- end -->")
    with pytest.raises(StudyError, match="run `analyse nothing` first"):
        fill_tables("<!-- table: nothing / Methods -->\n<!-- end -->")


def toy(**changes: object) -> Study:
    task = {"env": "Hopper-v4", "clones": {"flow": {"stop": {}, "config": {}}}, "stop": {"env_steps": 10}, "config": {}}
    plain = {
        "question": "?", "tasks": {"t": task}, "methods": {"a": {}, "b": {}}, "seeds": [0, 1], "baseline": "a",
        **changes,
    }  # fmt: skip
    return Study.model_validate(plain)


def curves(returns: dict[str, float], stage: str = "study", cell: str = "default") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"stage": stage, "task": "t", "method": method, "cell": cell, "seed": seed, "iteration": step,
             "env_steps": 10.0 * step, "return_mean": value * step, "eval_return_mean": value, "seconds": 1.0}
            for method, value in returns.items() for seed in (0, 1) for step in (1, 2, 3)
        ]
    )  # fmt: skip


def test_tuning_takes_the_cell_with_the_largest_area() -> None:
    exploration = {"more": {"noise": {"sigma_max": 0.3}}, "less": {"noise": {"sigma_max": 0.2}}}
    study = toy(
        methods={"a": {"exploration": exploration}, "b": {"exploration": exploration}},
        tuning={"seeds": [7, 8], "env_steps": 30, "lr": [0.1]},
    )
    results = pd.concat(
        [
            curves({"a": 1.0, "b": 5.0}, "tuning", "lr0.1-more"),
            curves({"a": 2.0, "b": 3.0}, "tuning", "lr0.1-less"),
        ]
    )
    chosen = choose_cells(study, results)
    assert {method: cell for method, (cell, _) in chosen.items()} == {"a": "lr0.1-less", "b": "lr0.1-more"}
    assert chosen["a"][1] == {"lr": 0.1, "noise": {"sigma_max": 0.2}}


def test_methods_are_not_chosen_before_their_tuning_is_finished() -> None:
    study = toy(
        methods={"a": {"exploration": {"x": {}}}, "b": {"exploration": {"x": {}}}},
        tuning={"seeds": [7], "env_steps": 30, "lr": [0.1]},
    )
    with pytest.raises(StudyError, match="finished for b"):
        choose_cells(study, curves({"a": 1.0}, "tuning", "lr0.1-x"))


def test_the_best_methods_run_again_with_more_overrides() -> None:
    study = toy(again={"best": 1, "suffix": "zero", "config": {"chain": {"start": "zero"}}})
    again = best_again(study, curves({"a": 1.0, "b": 2.0}))
    assert list(again) == ["b-zero"]
    assert again["b-zero"].config == {"chain": {"start": "zero"}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline": "c"}, "none of the methods"),
        ({"methods": {"a": {"clone": "epsilon"}}}, "which task 't' lacks"),
        ({"tuning": {"seeds": [0], "env_steps": 1, "lr": [1.0]}}, "both for tuning and for the study"),
        ({"sedes": [1]}, "Extra inputs"),
    ],
)
def test_a_study_that_cannot_be_meant_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        toy(**changes)


def test_a_missing_file_of_data_is_named_before_anything_runs(tmp_path: Path) -> None:
    task = {
        "env": "Hopper-v4",
        "data": "own.hdf5",
        "clones": {"flow": {"stop": {}, "config": {}}},
        "stop": {},
        "config": {},
    }
    runner = StudyRunner(toy(tasks={"t": task}), tmp_path / "runs", tmp_path / "toy.parquet", data=tmp_path)
    with pytest.raises(StudyError, match=r"needs .*own.hdf5; say with --data"):
        runner.run()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_study_names_those_that_there_are() -> None:
    with pytest.raises(StudyError, match=r"there are .*toy"):
        load_study("hoper")


def test_new_runs_are_added_to_the_table_and_replace_their_former_selves(tmp_path: Path) -> None:
    path = tmp_path / "study.parquet"
    write_results([curves({"a": 1.0})], path)
    table = write_results([curves({"a": 3.0}), curves({"b": 2.0})], path)
    assert len(table) == 12
    assert set(table.loc[table["method"] == "a", "eval_return_mean"]) == {3.0}
    assert read_results(path).equals(table)
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_the_table_holds_is_not_run_again(tmp_path: Path) -> None:
    table = tmp_path / "toy.parquet"
    write_results([curves({"a": 1.0, "b": 1.0}).assign(row_a=1.0)], table)
    said: list[str] = []
    runner = StudyRunner(toy(), tmp_path / "runs", table, say=said.append)
    assert len(runner.run()) == 12
    assert said == []
    assert not (tmp_path / "runs").exists()


def test_a_run_is_noted_under_the_code_that_ran_it() -> None:
    held = note_commit({}, ["a", "b", "c"], begun=(), now="1")
    assert held == {"a": "1", "b": "1", "c": "1"}
    held = note_commit(held, ["b", "c"], begun={"a", "b"}, now="2")  # a is finished, b goes on, c was never begun
    assert held == {"a": "1", "b": "1+2", "c": "2"}
    assert note_commit(held, ["b"], begun={"a", "b"}, now="2") == held


def test_a_rise_is_a_share_of_where_the_curve_begins() -> None:
    assert relative_rise(np.array([np.nan, *[100.0] * 3, *[250.0] * 5])) == pytest.approx(1.5)
    assert relative_rise(np.array([*[-10.0] * 3, *[-5.0] * 5])) == pytest.approx(0.5)


@pytest.mark.parametrize("name", WITH_RESULTS)
def test_no_figure_of_a_table_is_a_power_of_ten(name: str) -> None:
    assert not re.search(r"\d[eE][+-]\d", (RESULTS / name / TABLES).read_text())
