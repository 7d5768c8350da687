"""``rllib example``: what can be listed, shown and run."""

import json
from pathlib import Path

import pytest
import ray
import yaml

from rllib_scoreflow.cli.examples import find_examples

ROOT = Path(__file__).parents[2]


def test_every_tuned_example_and_rllibs_own_are_listed(rllib) -> None:
    listed = rllib("example", "list").out
    for path in (ROOT / "tuned_examples").rglob("*.yaml"):
        assert path.relative_to(ROOT / "tuned_examples").with_suffix("").as_posix() in listed
    assert "algorithms/vpg_custom_algorithm " in listed
    assert "Example of how to write a custom Algorithm" in listed


def test_a_filter_keeps_the_names_with_a_text(rllib, refused) -> None:
    listed = rllib("example", "list", "--filter", "Hopper").out
    assert "hopper-published" in listed
    assert "kitchen" not in listed
    assert rllib("example", "list", "-f", "Hopper").out == listed
    assert "no example has 'zzz' in its name" in refused("example", "list", "-f", "zzz")


def test_what_trains_by_itself_or_twice_is_not_listed() -> None:
    names = find_examples()
    assert "algorithms/maml_lr_supervised_learning" not in names
    assert "offline_rl/train_w_bc_finetune_w_ppo" not in names
    assert not [each for each in names if each.startswith("_old_api_stack")]
    assert all(each.description for each in names.values())


def test_get_prints_the_file(rllib) -> None:
    text = rllib("example", "get", "hopper").out
    assert text == (ROOT / "tuned_examples" / "hopper.yaml").read_text()
    assert set(yaml.safe_load(text)) == {"hopper-pretrain", "hopper-finetune"}
    script = Path(ray.__file__).parent / "rllib" / "examples" / "algorithms" / "vpg_custom_algorithm.py"
    assert rllib("example", "get", "vpg_custom_algorithm").out == script.read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hoper", ["did you mean 'hopper'?"]),
        ("vpg_custom_algorithmus", ["did you mean 'algorithms/vpg_custom_algorithm'?"]),
        ("atari-ppo", ["rllib example list"]),
        ("../hopper", ["'../hopper'"]),
    ],
)
def test_other_names_are_refused(refused, name, words) -> None:
    for action in ("get", "run"):
        sentence = refused("example", action, name)
        assert all(word in sentence for word in ["there is no example", *words]), sentence


def test_run_is_train_file_with_its_options(rllib, refused, monkeypatch) -> None:
    from rllib_scoreflow.runs import plan

    seen = {}
    monkeypatch.setattr(plan, "train", lambda raw, origin, base, stem, options: seen.update(raw=raw, options=options))
    words = ("--stop", json.dumps({"training_iteration": 3}), "--only", "hopper-pretrain", "--results-dir", "there")
    assert rllib("example", "run", "hopper", *words).status == 0
    assert set(seen["raw"]) == {"hopper-pretrain", "hopper-finetune"}
    assert (seen["options"].stop, seen["options"].only) == ({"training_iteration": 3}, ("hopper-pretrain",))
    assert seen["options"].results_dir == Path("there")
    assert "TensorFlow" in refused("example", "run", "hopper", "--trace")
    assert "No such option" in refused("example", "run", "hopper", "--no-such-thing")


def test_the_example_of_ppo_is_one_that_would_run(tmp_path) -> None:
    """That it learns is a slow test, through Ray."""
    from rllib_scoreflow.experiments.checks import config as check
    from rllib_scoreflow.experiments.checks.algorithms import find_algorithm
    from rllib_scoreflow.experiments.checks.stopping import check_stop
    from rllib_scoreflow.experiments.spec import read_experiments
    from rllib_scoreflow.runs.plan import TrainOptions, prepare

    file = find_examples()["cartpole-ppo"].file
    (experiment,) = prepare(read_experiments(file), file.name, TrainOptions(results_dir=tmp_path))
    algorithm = find_algorithm(experiment.run, file.name)
    config = check.check_config(experiment, algorithm)
    check.validate(experiment, algorithm, config)
    assert check_stop(experiment.stop, file.name, check.result_keys(experiment, algorithm, config)) == experiment.stop
    built = check.build_config(experiment, algorithm, config)
    assert (built.num_epochs, built.vf_loss_coeff, built.model_config["fcnet_hiddens"]) == (6, 0.01, [32])
