import importlib.util

import pytest

from rllib_scoreflow.cli.experiments import Experiment, build_experiment
from rllib_scoreflow.cli.loggers import LoggerOptions, check_loggers, wanted
from rllib_scoreflow.cli.stages import fingerprint
from rllib_scoreflow.errors import InputError

YAML = """
cart:
  run: PPO
  env: CartPole-v1
  stop: {training_iteration: 1}
  config:
    num_env_runners: 0
    train_batch_size_per_learner: 200
    minibatch_size: 100
    num_epochs: 1
"""


def experiment(**loggers):
    return Experiment("exp", "f.yaml", "PPO", settings={"loggers": loggers})


def test_the_command_line_counts_before_the_file():
    options = LoggerOptions(wandb_key="key", mlflow_uri="file:b")
    given = experiment(mlflow={"tracking_uri": "file:a", "experiment_name": "x"})
    assert wanted(given, options) == {
        "mlflow": {"tracking_uri": "file:b", "experiment_name": "x"},
        "wandb": {"api_key": "key"},
    }
    assert wanted(experiment(mlflow=None), LoggerOptions()) == {"mlflow": {}}
    # Where it is logged to does not make it another experiment.
    assert fingerprint(given, {}, None) == fingerprint(Experiment("exp", "f.yaml", "PPO"), {}, None)


def test_a_bad_logger_is_refused():
    with pytest.raises(InputError, match=r"loggers\.mlfow is unknown; did you mean 'mlflow'"):
        check_loggers(experiment(mlfow={}), LoggerOptions())
    raw = {"run": "PPO", "stop": {"training_iteration": 1}, "loggers": {"mlflow": "x"}}
    with pytest.raises(InputError, match=r"loggers\.mlflow is 'x' and must be a mapping"):
        build_experiment("exp", raw, "f.yaml")


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is not None, reason="mlflow is installed")
def test_a_missing_package_is_named_before_anything_runs(refused, tmp_path):
    (tmp_path / "cart.yaml").write_text(YAML)
    assert "--mlflow-uri needs the package mlflow" in refused(
        "train", "file", tmp_path / "cart.yaml", "--mlflow-uri", "file:x"
    )
    (tmp_path / "cart.yaml").write_text(YAML + "  loggers: {mlflow: {}}\n")
    assert "loggers.mlflow needs the package mlflow" in refused("train", "file", tmp_path / "cart.yaml")


@pytest.mark.e2e
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_gets_parameters_and_results(rllib_process, refused, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # without it MLflow wants a data base
    work = tmp_path / "work"
    (tmp_path / "bad.yaml").write_text(YAML + "  loggers: {mlflow: {experiment: x}}\n")
    assert "loggers.mlflow has no setting 'experiment'" in refused("train", "file", tmp_path / "bad.yaml")
    (work / "cart.yaml").write_text(YAML + "  loggers: {mlflow: {experiment_name: mine}}\n")
    uri = f"file:{tmp_path}/runs"
    answer = rllib_process("train", "file", "cart.yaml", "--mlflow-uri", uri)
    assert answer.status == 0, answer.err
    import mlflow

    mlflow.set_tracking_uri(uri)
    (run,) = mlflow.search_runs(experiment_names=["mine"], output_format="list")
    assert run.data.params["train_batch_size_per_learner"] == "200"
    assert run.data.metrics["training_iteration"] == 1.0
