"""Every file under tuned_examples/ is read, checked and trained for two iterations, with toy sizes and toy data."""

from pathlib import Path

import numpy as np
import pytest

from rllib_scoreflow.experiments.checks.algorithms import find_algorithm
from rllib_scoreflow.experiments.checks.config import check_config, validate_options
from rllib_scoreflow.experiments.search_space import combinations
from rllib_scoreflow.experiments.spec import read_experiments
from rllib_scoreflow.runs.outcome import Stage
from rllib_scoreflow.runs.plan import TrainOptions, prepare
from rllib_scoreflow.runs.runner import param_space

FOLDER = Path(__file__).parents[2] / "tuned_examples"
EXAMPLES = sorted(FOLDER.rglob("*.yaml"))
TOY_CLONING = {
    "train_batch_size_per_learner": 8,
    "validation_fraction": 0.5,
    "evaluation_interval": None,
    "num_torch_threads": 1,
}
TOY_TUNING = {
    "num_env_runners": 0,
    "num_envs_per_env_runner": 1,
    "rollout_fragment_length": 3,
    "minibatch_size": None,
    "num_epochs": 1,
    "evaluation_interval": None,
    "num_torch_threads": 1,
}
NO_GPU = {"num_learners": 0, "num_gpus_per_learner": 0, "num_gpus_per_env_runner": 0}


def require_simulator(path: Path) -> None:
    """`make install` leaves OGBench out."""
    package = path.stem.partition("-")[0]
    if package in ("metaworld", "ogbench"):
        pytest.importorskip(package, reason=f"{package} is not installed")


def shrunk(config: dict, name: str) -> dict:
    """The example's own config at toy size; everything else stays as the file has it."""
    toy = config | (TOY_CLONING if name == "FlowBC" else TOY_TUNING)
    toy |= {key: value for key, value in NO_GPU.items() if key in config}
    if config.get("dataset") == "hopper-small":
        toy["train_batch_size_per_learner"] = 8192
    if name == "FlowBC":
        toy["velocity"] = {**config.get("velocity", {}), "hidden_dim": 16}
    if config.get("cameras"):
        toy["vision"] = {**config.get("vision", {}), "embed_dim": 8, "num_heads": 2, "feature_dim": 8}
    return toy


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_two_iterations(path: Path, dataset_of, tmp_path, monkeypatch) -> None:
    require_simulator(path)
    monkeypatch.setenv("RLLIB_SCOREFLOW_CACHE", str(tmp_path / "cache"))
    policies: dict[str, Path] = {}
    for experiment in prepare(read_experiments(path), path.name, TrainOptions(results_dir=tmp_path)):
        algorithm = find_algorithm(experiment.run, experiment.where)
        config = next(combinations(check_config(experiment, algorithm)))  # of a sweep, the first trial
        if "dataset" in config and config["dataset"] != "hopper-small":
            config["dataset"] = str(dataset_of(experiment.env, tuple(config.get("cameras") or ())))
            config["constant_observations"] = "allow"
        toy = shrunk(config, experiment.run)
        stage = Stage(experiment, algorithm, toy, dict(experiment.stop), tmp_path)
        weights = policies.get(experiment.weights_from) if experiment.weights_from else None
        assert (weights is None) == (experiment.weights_from is None)
        algo = algorithm(config=param_space(stage, weights))
        try:
            results = [algo.train() for _ in range(2)]
            policies[experiment.name] = algo.flow_policy().save(tmp_path / experiment.name)
        finally:
            algo.stop()
        loss = "train_loss" if experiment.run == "FlowBC" else "value_loss"
        assert all(np.isfinite(result[loss]) for result in results)
        assert set(experiment.stop) <= {*results[-1]}, "the file stops on a result that is never reported"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_option_of_an_example_has_an_effect(path: Path, tmp_path) -> None:
    require_simulator(path)
    for experiment in prepare(read_experiments(path), path.name, TrainOptions(results_dir=tmp_path)):
        algorithm = find_algorithm(experiment.run, experiment.where)
        validate_options(experiment, algorithm, check_config(experiment, algorithm))


def test_every_example_says_what_was_measured() -> None:
    for path in EXAMPLES:
        text = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
        assert f"rllib train file tuned_examples/{path.relative_to(FOLDER)}" in text, path.name
        assert "easured" in text, f"{path.name}: neither a measured result nor 'not yet measured'"
