import importlib.util
import os

import pytest

from rllib_scoreflow.cli.train_command import resume_command
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.identity import identify
from rllib_scoreflow.experiments.spec import Experiment, build_experiment
from rllib_scoreflow.runs.loggers import LoggerOptions, check_loggers, collect_loggers, use_secrets

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
    assert collect_loggers(given, options) == {
        "mlflow": {"tracking_uri": "file:b", "experiment_name": "x"},
        "wandb": {"api_key": "key"},
    }
    assert collect_loggers(experiment(mlflow=None), LoggerOptions()) == {"mlflow": {}}
    # Where it is logged to does not make it another experiment.
    assert identify(given, {}, None).digest == identify(Experiment("exp", "f.yaml", "PPO"), {}, None).digest


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


@pytest.mark.parametrize(
    "words",
    [
        ["--wandb-key", "hunter2"],
        ["--wandb-key=hunter2"],
        ["--mlflow-uri", "https://me:hunter2@host:5000/x"],
        ["--mlflow-uri=postgresql://me:hunter2@host/db"],
        ["--mlflow-uri", "https://me:a@b/hunter2@host"],
        ["--mlflow-uri", "https://hunter2@host"],
        ["--mlflow-uri", "mysql://host/db?user=me&password=hunter2"],
        ["--set", "loggers.wandb.api_key=hunter2"],
        ["--set", "loggers={wandb: {api_key: hunter2}}"],
        ["--set", 'loggers={"mlflow": {"tracking_token": "hunter2"}}'],
    ],
)
def test_no_secret_is_in_the_printed_command(words):
    printed = resume_command(["train", "file", "my file.yaml", *words])
    assert "hunter2" not in printed
    assert printed.startswith("rllib train file 'my file.yaml' ")
    assert printed.endswith("--resume")


@pytest.mark.parametrize("uri", ["sqlite:///runs.db", "http://host:5000/a@b", "file:runs"])
def test_an_address_without_a_password_is_printed_as_it_is(uri):
    assert uri in resume_command(["train", "file", "x.yaml", "--mlflow-uri", uri])


@pytest.mark.parametrize(
    ("name", "arguments", "left", "variables"),
    [
        ("wandb", {"api_key": "hunter2", "project": "p"}, {"project": "p"}, {"WANDB_API_KEY": "hunter2"}),
        ("mlflow", {"tracking_token": "hunter2"}, {}, {"MLFLOW_TRACKING_TOKEN": "hunter2"}),
        (
            "mlflow",
            {"tracking_uri": "https://me:hun%2Fter2@host:5000/x"},
            {"tracking_uri": "https://host:5000/x"},
            {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "hun/ter2"},
        ),
        (
            "mlflow",
            {"tracking_uri": "mysql://me:hunter2@host/db"},
            {"tracking_uri": None},
            {"MLFLOW_TRACKING_URI": "mysql://me:hunter2@host/db"},
        ),
        ("mlflow", {"tracking_uri": "sqlite:///x.db"}, {"tracking_uri": "sqlite:///x.db"}, {}),
    ],
)
def test_secrets_go_through_the_environment_and_not_into_the_callbacks(monkeypatch, name, arguments, left, variables):
    for variable in (
        "WANDB_API_KEY",
        *(f"MLFLOW_TRACKING_{part}" for part in ("TOKEN", "USERNAME", "PASSWORD", "URI")),
    ):
        monkeypatch.setenv(variable, "before")
        monkeypatch.delenv(variable)
    assert use_secrets(experiment(**{name: arguments}), LoggerOptions()) == {name: left}
    for variable, value in variables.items():
        assert os.environ[variable] == value


@pytest.mark.e2e
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_no_file_of_a_run_holds_the_key(rllib_process, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    work = tmp_path / "work"
    (work / "cart.yaml").write_text(YAML)
    answer = rllib_process("train", "file", "cart.yaml", "--wandb-key", "hunter2hunter2")
    assert answer.status == 0, answer.err
    assert "hunter2" not in answer.out + answer.err
    files = [path for path in work.rglob("*") if path.is_file()]
    assert any(path.name == "tuner.pkl" for path in files)
    assert not [path for path in files if b"hunter2" in path.read_bytes()]
