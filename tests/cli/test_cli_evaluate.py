"""``rllib evaluate`` of exported policies: sweeps, pictures, and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from rllib_scoreflow.cli.evaluate_sweep import figure_of_merit
from tests.shown_policy import ENV_ID, make_shown_policy

NAMED = ("--env", ENV_ID)


@pytest.fixture(autouse=True)
def toy_envs_importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "envs"), *sys.path])


def save_policy(folder, variant, **score):
    return make_shown_policy(variant, **score).save(folder)


@pytest.fixture
def tuned(tmp_path):
    return save_policy(tmp_path / "tuned", "scoreflow")


@pytest.fixture
def contracting(tmp_path):
    return save_policy(tmp_path / "contracting", "scoreflow", form="contraction", value=0.2)


@pytest.fixture
def cloned(tmp_path):
    return save_policy(tmp_path / "cloned", "flow")


def test_a_sweep_is_the_same_as_one_evaluation_after_the_other(rllib, contracting):
    words = ("evaluate", contracting, *NAMED, "--episodes", 5, "--seed", 3, "--json")
    answer = rllib(*words, "--denoising-steps", "1, 4,4", "--variant", "flow,scoreflow", "--plot", "k.png")
    assert answer.status == 0, answer.err
    found = json.loads(answer.out)
    assert (found["env_id"], found["episodes"], found["plot"]) == (ENV_ID, 5, "k.png")
    settings = [("flow", 1), ("flow", 4), ("scoreflow", 1), ("scoreflow", 4)]
    assert [(one["variant"], one["denoising_steps"]) for one in found["results"]] == settings
    for one, (variant, steps) in zip(found["results"], settings, strict=True):
        alone = json.loads(rllib(*words, "--denoising-steps", steps, "--variant", variant).out)
        for figures in (one, alone):
            assert 0 < figures.pop("seconds_per_action") < 0.1
        assert one == alone
    # With one step there is nothing to contract: it is the flow's, and the same at every number means there too.
    assert len({tuple(one["returns"]) for one in found["results"]}) == 3
    assert len({tuple(one["lengths"]) for one in found["results"]}) == 1
    assert Path("k.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in Path.cwd().iterdir()] == ["k.png"]


def test_a_drift_that_belongs_to_a_number_of_steps_is_shown_with_it_alone(rllib, refused, tuned):
    answer = rllib("evaluate", tuned, *NAMED, "--episodes", 1, "--denoising-steps", "2,4")
    assert answer.status == 0, answer.err
    *rows, said = answer.out.splitlines()[2:]
    assert [tuple(row.split()[:2]) for row in rows] == [("flow", "2"), ("flow", "4"), ("scoreflow", "4")]
    assert said.startswith("scoreflow is shown with K = 4 only")
    found = json.loads(rllib("evaluate", tuned, *NAMED, "--episodes", 1, "--sweep", "--json").out)
    assert found["left_out"] == said
    assert [one["denoising_steps"] for one in found["results"] if one["variant"] == "scoreflow"] == [4]
    for words in (("2",), ("1,2", "--variant", "scoreflow"), ("8", "--video", "a.mp4")):
        message = refused("evaluate", tuned, *NAMED, "--episodes", 1, "--denoising-steps", *words)
        assert "trained with 4 denoising steps" in message
        assert "--variant flow" in message
    assert rllib("evaluate", tuned, *NAMED, "--episodes", 1, "--denoising-steps", 2, "--variant", "flow").status == 0


def test_the_table_has_a_row_for_every_setting(rllib, contracting, cloned):
    answer = rllib("evaluate", contracting, *NAMED, "--episodes", 2, "--sweep")
    assert answer.status == 0, answer.err
    title, headings, *rows = answer.out.splitlines()
    assert ENV_ID in title
    assert headings.split() == ["variant", "K", "return", "limit", "success", "%", "length", "ms/action"]
    assert [tuple(row.split()[:2]) for row in rows] == [
        (variant, str(k)) for variant in ("flow", "scoreflow") for k in (1, 2, 4, 8, 16)
    ]
    assert {len(row) for row in rows} == {len(headings)}
    # A policy that was only cloned has one variant.
    rows = rllib("evaluate", cloned, *NAMED, "--episodes", 1, "--sweep", "--denoising-steps", 3).out.splitlines()[2:]
    assert [tuple(row.split()[:2]) for row in rows] == [("flow", "3")]


def test_pictures(rllib, tuned):
    words = ("evaluate", tuned, *NAMED, "--episodes", 2)
    answer = rllib(*words, "--contact-sheet", "a.png", "--video", "a.mp4")
    assert answer.status == 0, answer.err
    assert "contact sheet     a.png" in answer.out
    assert "video             a.mp4" in answer.out
    assert "time per action" in answer.out
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in Path.cwd().iterdir()} == {"a.png", "a.mp4"}
    again = rllib(*words, "--contact-sheet", "a.png")
    assert (again.status, again.out) == (2, "")
    assert "exists" in again.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--denoising-steps", "1,x"), "--denoising-steps 1,x"),
        (("--denoising-steps", "0"), "from 1 on"),
        (("--denoising-steps", "4,"), "from 1 on"),
        (("--variant", "flow,scorflow"), "did you mean 'scoreflow'"),
        (("--plot", "k.png"), "--sweep"),
        (("--sweep", "--plot", "k.pdf"), "ends in .png"),
        (("--sweep", "--plot", "no/k.png"), "does not exist"),
        (("--sweep", "--video", "a.mp4"), "--video shows one setting"),
        (("--sweep", "--contact-sheet", "a.png"), "--contact-sheet shows one setting"),
        (("--sweep", "--variant", "scoreflow"), "pretrained only"),
        (("--variant", "scoreflow"), "pretrained only"),
        (("--video", "a.gif"), "ends in .mp4"),
        (("--contact-sheet", "a.jpg"), "ends in .png"),
    ],
)
def test_refused_before_anything_is_played(refused, cloned, words, expected):
    assert expected in refused("evaluate", cloned, *NAMED, "--episodes", 2, *words)


def test_a_sweep_needs_an_exported_policy(refused, tmp_path):
    (tmp_path / "other").mkdir()
    assert "holds no policy" in refused("evaluate", tmp_path / "other", "--sweep")
    assert "does not exist" in refused("evaluate", "nowhere", "--sweep")


def result(success, metrics):
    return {
        "return_mean": 5.0,
        "return_stderr": 0.5,
        "success_rate": success,
        "success_stderr": None,
        "metrics": metrics,
        "metric_stderrs": dict.fromkeys(metrics, 0.1),
    }


def test_what_a_plot_shows():
    kitchen = result(0.5, {"tasks_completed": 3.5})
    assert figure_of_merit([kitchen, kitchen]) == ("tasks completed", [(3.5, 0.1)] * 2)
    name, [(mean, error)] = figure_of_merit([result(0.5, {})])
    assert (name, mean) == ("success rate", 0.5)
    assert np.isnan(error)
    assert figure_of_merit([result(None, {}), kitchen]) == ("return", [(5.0, 0.5)] * 2)
