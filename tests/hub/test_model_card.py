"""The model card that is pushed with a policy: made from its run, readable for the Hub, without paths of a machine."""

import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml

from rllib_scoreflow.reports.attribution import ATTRIBUTION_JSON
from rllib_scoreflow.reports.intervals import mean_interval, share_interval

VIDEO = struct.pack(">I", 16) + b"ftypisom" + bytes(4)


def row_of(key, mean, success):
    return {
        "row": key,
        "name": {"a": "clone, random start", "e": "fine-tuned, with its drift"}[key],
        "denoising_steps": 4,
        "start": "normal",
        "return_mean": mean,
        "return_stderr": 2.0,
        "success_rate": success,
        "success_stderr": 0.1,
        "minus_a": {"return_mean": mean - 10.0, "return_stderr": 1.0, "success_mean": 0.1, "success_stderr": 0.1},
    }


ATTRIBUTION = {
    "policy": "/home/me/results/toy/tune/policy",
    "clone": "/home/me/results/toy/clone/policy",
    "env_id": "toy_envs:ToyShown-v0",
    "episodes": 10,
    "seed": 7,
    "rows": [row_of("a", 10.0, 0.3), row_of("e", 50.0, 0.8)],
    "comparisons": [
        {
            "row": "e",
            "minus": "a",
            "name": "learning",
            "return_mean": 40.0,
            "return_stderr": 3.0,
            "success_mean": 0.5,
            "success_stderr": 0.1,
        }
    ],
}
RESULTS = [
    {"training_iteration": 0, "env_steps": 0, "eval_return_mean": 11.0, "eval_return_stderr": 1.0, "eval_episodes": 4},
    {
        "training_iteration": 1,
        "env_steps": 900,
        "eval_return_mean": 49.0,
        "eval_return_stderr": 1.0,
        "eval_episodes": 4,
    },
    {"training_iteration": 2, "env_steps": 1000},
]


def write_run(folder, policy, run, seed, results, **more):
    trial = folder / "trial_00000"
    trial.mkdir(parents=True)
    shutil.copytree(policy, folder / "policy")
    config = {"seed": seed, "dataset": "/home/me/secret/demos.hdf5", "velocity": {"hidden_dim": 16}}
    about = {"experiment": folder.name, "run": run, "env": "toy", "stop": {"env_steps": 1000.0}, "config": config}
    (folder / "experiment.json").write_text(json.dumps({**about, **more}))
    done = {"policy": "policy", "checkpoint": "trial_00000/checkpoint_000001"}
    (folder / "done.json").write_text(json.dumps({**about, **done}))
    (trial / "params.json").write_text(json.dumps(config))
    (trial / "result.json").write_text("".join(json.dumps(row) + "\n" for row in results))


@pytest.fixture
def runs(tmp_path, make_policy):
    """The folder of a file's two experiments: a clone, and what was fine-tuned from it."""
    from rllib_scoreflow.experiments.weights import policy_digest

    clone, tuned = make_policy("c", seed=1), make_policy("t", seed=2, variant="scoreflow")
    folder = tmp_path / "results" / "toy"
    write_run(folder / "clone", clone, "FlowBC", 3, [])
    start = {"pretrained_policy": str(folder / "clone" / "policy"), "pretrained_policy_sha256": policy_digest(clone)}
    write_run(folder / "tune", tuned, "ScoreFlow", 4, RESULTS, **start)
    return folder


def push_card(rllib, hub, folder, *options):
    answer = rllib("policy", "push", folder, "hf:me/toy-reach", *options)
    assert answer.status == 0, answer.err
    return hub.files("me/toy-reach")["README.md"].decode()


def head_of(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_the_card_says_what_it_is_how_good_and_where_from(rllib, hub, runs):
    (runs / "tune" / ATTRIBUTION_JSON).write_text(json.dumps(ATTRIBUTION))
    (runs / "tune" / "film.mp4").write_bytes(VIDEO)
    (runs / "tune" / "broken.mp4").write_bytes(b"no video")
    card = push_card(rllib, hub, runs, "--license", "apache-2.0")  # of the file: the experiment that ends it
    assert hub.files("me/toy-reach")["replay.mp4"] == VIDEO
    head = head_of(card)
    assert head["license"] == "apache-2.0"
    assert head["library_name"] == "rllib-scoreflow"
    assert {"reinforcement-learning", "robotics", "scoreflow"} <= set(head["tags"])
    (model,) = head["model-index"]
    assert model["name"] == "toy-reach"
    (result,) = model["results"]
    returned, success = result["metrics"]
    assert (returned["type"], returned["value"], returned["args"]["episodes"]) == ("mean_reward", 50.0, 10)
    assert returned["args"]["interval_95"] == pytest.approx([50 - 1.96 * 2, 50 + 1.96 * 2], abs=1e-3)
    assert (success["type"], success["value"]) == ("success_rate", 0.8)
    assert success["args"]["interval_95"] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    assert "| this policy | 50.0 [46.1, 53.9] | 0.800 [0.490, 0.943] | 10 |" in card
    assert "| the clone before fine-tuning | 10.0 [6.1, 13.9] |" in card
    assert "| the policy at that time | 49.0 [47.0, 51.0] |  | 4 | during training, at 900 environment steps |" in card
    assert "(e) - (a)  learning: +40.0 ± 3.0 (success +50.0 ± 10.0 %)" in card
    assert "| seeds | `clone` 3, `tune` 4 |" in card
    assert "### `clone`: FlowBC, until env_steps 1,000" in card
    assert "rllib policy pull hf:me/toy-reach -o toy-reach" in card
    assert "rllib evaluate toy-reach --env toy_envs:ToyShown-v0 --episodes 50" in card
    assert "/resolve/main/replay.mp4" in card
    assert "demos.hdf5" in card
    assert "/home/me" not in card
    assert str(runs) not in card
    import huggingface_hub

    data = huggingface_hub.ModelCard(card).data  # the hub's own reader
    assert [one.metric_value for one in data.eval_results] == [50.0, 0.8]


def test_an_attribution_of_an_earlier_policy_is_left_out(rllib, hub, runs):
    path = runs / "tune" / ATTRIBUTION_JSON
    path.write_text(json.dumps({**ATTRIBUTION, "policy_sha256": "0" * 64}))
    assert "50.0 [46.1" not in push_card(rllib, hub, runs / "tune")
    path.write_text(json.dumps(ATTRIBUTION))
    os.utime(path, (1, 1))  # one that does not say so counts where it is newer than the policy
    card = push_card(rllib, hub, runs / "tune")
    assert "50.0 [46.1" not in card
    assert head_of(card)["model-index"][0]["results"][0]["metrics"][0]["value"] == 49.0


def test_what_is_not_known_is_not_said(rllib, hub, make_policy, tmp_path):
    (tmp_path / "film.mp4").write_bytes(VIDEO)
    card = push_card(rllib, hub, make_policy())
    head = head_of(card)
    assert "license" not in head
    assert "model-index" not in head
    assert "Nothing is recorded with it" in card
    assert "replay" not in card
    assert "demos.hdf5" in card
    assert "/home/me" not in card
    assert "/resolve/v2/replay.mp4" in _card_on_branch(rllib, hub, tmp_path)


def _card_on_branch(rllib, hub, tmp_path):
    answer = rllib(
        "policy", "push", tmp_path / "toy", "hf:me/toy-reach", "--revision", "v2", "--video", tmp_path / "film.mp4"
    )
    assert answer.status == 0, answer.err
    files = hub.files("me/toy-reach", "v2")
    assert files["replay.mp4"] == VIDEO
    assert "pull hf:me/toy-reach@v2 -o toy-reach" in files["README.md"].decode()
    return files["README.md"].decode()


def test_a_policy_of_another_checkpoint_takes_no_figures_of_its_run(rllib, hub, runs, make_policy):
    checkpoint = runs / "tune" / "trial_00000" / "checkpoint_000000" / "policy"
    shutil.copytree(make_policy("other", seed=9, variant="scoreflow"), checkpoint)
    assert "Nothing is recorded with it" in push_card(rllib, hub, checkpoint)


def test_a_file_with_several_ends_names_them(refused, rllib, runs, make_policy):
    write_run(runs / "other", make_policy("o", seed=5), "FlowBC", 0, [])
    message = refused("policy", "push", runs, "hf:me/toy")
    assert "(other, tune)" in message
    assert "(other, tune)" in refused("evaluate", runs)
    assert rllib("policy", "info", runs / "tune").status == 0
    shutil.rmtree(runs / "other")
    about = json.loads(rllib("policy", "info", runs, "--json").out)
    assert Path(about["path"]) == runs / "tune" / "policy"


def test_intervals_cover_what_they_say():
    """Wilson's and the mean's interval hold the truth in 95 of 100 repetitions."""
    random = np.random.default_rng(0)
    draws = random.binomial(40, 0.7, size=20_000)
    ends = {count: share_interval(count / 40, 40) for count in range(41)}
    covered = np.mean([ends[count][0] <= 0.7 <= ends[count][1] for count in draws])
    assert 0.93 < covered < 0.97
    assert share_interval(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # as published for 8 of 10
    assert share_interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert share_interval(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    samples = random.normal(5.0, 2.0, size=(5_000, 100))
    errors = samples.std(axis=1, ddof=1) / 10.0
    held = [low <= 5.0 <= high for low, high in map(mean_interval, samples.mean(axis=1), errors)]
    assert 0.93 < np.mean(held) < 0.965
