"""The evaluation before the first update: what it reports, and that it changes nothing."""

import csv
import json
from types import SimpleNamespace

import pytest
import torch

from rllib_scoreflow.algorithms.common.algorithm import BEFORE_TRAINING, NOTE
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.flow.config import ChainConfig
from rllib_scoreflow.policy import FlowPolicy
from rllib_scoreflow.reports import metrics
from rllib_scoreflow.reports.plots import read_results
from rllib_scoreflow.reports.trials import Trial
from rllib_scoreflow.runs.progress import ProgressLines
from rllib_scoreflow.runs.result_loggers import ResultRows, ResultTableRows, row_before_training


class OneTrial(SimpleNamespace):
    """What loggers ask of a Tune trial."""

    __hash__ = object.__hash__


def two_iterations(policy_folder, **options):
    config = (
        ScoreFlowConfig()
        .environment("Pendulum-v1")
        .env_runners(num_envs_per_env_runner=4, rollout_fragment_length=16)
        .training(pretrained_policy=str(policy_folder), num_epochs=1, num_torch_threads=1, **options)
        .evaluation(evaluation_interval=2, evaluation_duration=3)
        .debugging(seed=1)
    )
    algo = config.build_algo()
    try:
        clone = algo.evaluate()
        results = [algo.train() for _ in range(2)]
        return clone, results, algo.flow_policy().state_dict()
    finally:
        algo.stop()


def test_the_clone_is_evaluated_first_and_the_training_is_the_same(policy_folder) -> None:
    clone, (first, second), weights = two_iterations(policy_folder)
    assert first[BEFORE_TRAINING]["eval_return_mean"] == clone["return_mean"]
    assert "eval_return_mean" not in first
    assert BEFORE_TRAINING not in second
    assert second["eval_return_mean"] != clone["return_mean"]
    assert [first["gradient_steps"], second["gradient_steps"]] == [1, 2]
    _, (first, _), others = two_iterations(policy_folder, evaluate_before_training=False)
    assert BEFORE_TRAINING not in first
    assert all(torch.equal(value, others[name]) for name, value in weights.items())


def test_the_logs_and_lines_have_an_iteration_0(tmp_path, capsys) -> None:
    before = {"eval_return_mean": 1550.25, "eval_return_stderr": 20.0, "evaluation": {"return_mean": 1550.25}}
    result = {"training_iteration": 1, "env_steps": 400.0, "return_mean": 1500.0, BEFORE_TRAINING: before}
    row = row_before_training(result)
    assert (row["training_iteration"], row["env_steps"], row["eval_return_mean"]) == (0, 0, 1550.25)
    assert row_before_training({"training_iteration": 2}) is None
    trial = OneTrial(trial_id="x_00000", status="RUNNING", evaluated_params={}, config={})
    trial.path = str(tmp_path)
    for logger in (ResultRows(), ResultTableRows()):
        logger.log_trial_result(1, trial, result)
        logger.log_trial_result(2, trial, {"training_iteration": 2, "env_steps": 800.0, "eval_return_mean": 1600.0})
    rows = read_results(tmp_path)
    curve = [(metrics.number(r, metrics.STEPS), metrics.number(r, metrics.EVAL_RETURN)) for r in rows]
    assert curve == [(0.0, 1550.25), (400.0, None), (800.0, 1600.0)]
    assert Trial("trial_00000", tmp_path, "finished", {}, rows).values(metrics.EVAL_RETURN) == [1600.0]
    table = list(csv.DictReader((tmp_path / "progress.csv").open()))
    assert [line["eval_return_mean"] for line in table] == ["1550.25", "", "1600.0"]
    assert [line["return_mean"] for line in table] == ["", "1500.0", ""]
    assert BEFORE_TRAINING not in json.loads((tmp_path / "result.json").read_text().splitlines()[1])
    ProgressLines({"training_iteration": 4}).on_trial_result(1, [trial], trial, result)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("iter    0")
    assert "eval  1550.25 ± 20.00" in first
    assert second.startswith("iter    1")


@pytest.mark.parametrize(("chain", "noted"), [({}, True), ({"denoising_steps": 4}, False)])
def test_other_denoising_steps_than_the_clones_are_said(policy_folder, tmp_path, chain, noted: bool) -> None:
    clone = FlowPolicy.load(policy_folder)
    sde = clone.config.sde
    clone.with_dynamics(sde.score, sde.noise, ChainConfig(denoising_steps=2), "flow").save(tmp_path / "policy")
    _, (first, second), _ = two_iterations(tmp_path / "policy", chain=chain)
    said = "acts with 2 denoising steps and is fine-tuned with 4" in first.get(NOTE, "")
    assert said == noted
    assert NOTE not in second
