"""``rllib sweep report`` and ``rllib report`` on what Tune and the command write into an experiment's folder."""

import json

import pytest

from rllib_scoreflow.reports import run_folder

PARAMS = [{"lr": lr, "noise": {"sigma_max": 0.2}} for lr in (1e-4, 1e-3, 1e-2)]


def write_trial(folder, number, params, returns, *, done, error=False):
    trial = folder / f"trial_{number:05d}_lr={params['lr']}"
    trial.mkdir(parents=True)
    (trial / "params.json").write_text(json.dumps(params))
    rows = [{"training_iteration": i, "env_steps": 100 * i, "return_mean": r} for i, r in enumerate(returns, 1)]
    if rows:
        rows[-1]["done"] = done
    (trial / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"cut off')
    if error:
        (trial / "error.txt").write_text("ValueError: no")


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "results" / "file" / "tune"
    about = {
        "experiment": "tune",
        "run": "ScoreFlow",
        "env": "Hopper-v4",
        "stop": {"training_iteration": 3.0},
        "config": {"lr": {"loguniform": [1e-4, 1e-2]}, "note": "<script>alert(1)</script>"},
        "versions": {"ray": "2.60.0"},
    }
    run_folder.write_json(folder / run_folder.BEGUN_JSON, about)
    write_trial(folder, 0, PARAMS[0], [1.0, 7.0, 3.0], done=True)
    write_trial(folder, 1, PARAMS[1], [2.0, 5.0], done=True)
    write_trial(folder, 2, PARAMS[2], [], done=False, error=True)
    return folder


def test_the_trials_are_sorted_and_their_states_told_apart(rllib, sweep):
    answer = rllib("sweep", "report", sweep, "--json")
    assert answer.status == 0, answer.err
    report = json.loads(answer.out)
    assert (report["metric"], report["mode"]) == ("return_mean", "max")
    found = [(one["trial"][:11], one["status"], one["last"], one["best"], one["env_steps"]) for one in report["trials"]]
    assert found == [
        ("trial_00001", "stopped early", 5.0, 5.0, 200.0),
        ("trial_00000", "finished", 3.0, 7.0, 300.0),
        ("trial_00002", "failed", None, None, None),
    ]
    # Nothing says what was swept, so it is what the trials differ in.
    assert report["trials"][0]["parameters"] == {"lr": 1e-3}
    assert (sweep / "sweep.png").read_bytes().startswith(b"\x89PNG")
    table = rllib("sweep", "report", sweep).out
    assert table.index("trial_00001") < table.index("trial_00000") < table.index("trial_00002")


def test_what_was_swept_is_said_and_by_what_it_is_judged(rllib, sweep):
    about = json.loads((sweep / run_folder.BEGUN_JSON).read_text())
    changes = {"swept": ["lr", "noise.sigma_max"], "metric": "return_mean", "mode": "min"}
    run_folder.write_json(sweep / run_folder.BEGUN_JSON, {**about, **changes})
    report = json.loads(rllib("sweep", "report", sweep, "--json").out)
    assert [one["trial"][:11] for one in report["trials"]][:2] == ["trial_00000", "trial_00001"]
    assert [one["best"] for one in report["trials"]] == [1.0, 2.0, None]
    assert report["trials"][0]["parameters"] == {"lr": 1e-4, "noise.sigma_max": 0.2}
    other = json.loads(rllib("sweep", "report", sweep, "--json", "--metric", "env_steps").out)
    assert (other["metric"], other["mode"]) == ("env_steps", "max")


def test_rows_trained_again_after_a_crash_count_once(rllib, sweep):
    trial = next(sweep.glob("trial_00000*"))
    with (trial / "result.json").open("a") as file:
        file.write("\n" + json.dumps({"training_iteration": 2, "env_steps": 200, "return_mean": 4.0, "done": False}))
    first = json.loads(rllib("sweep", "report", sweep, "--json").out)["trials"][1]
    assert (first["last"], first["best"], first["status"]) == (4.0, 4.0, "unfinished")


def test_a_report_is_one_page_that_stands_alone_and_is_not_overwritten(rllib, sweep):
    page = sweep / "report.html"
    answer = rllib("report", sweep)
    assert answer.status == 0, answer.err
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 2
    assert "http" not in text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    for words in ("unfinished", "ScoreFlow", "Hopper-v4", "ray 2.60.0", "stopped early", "loguniform"):
        assert words in text
    refused = rllib("report", sweep)
    assert refused.status == 2
    assert "--overwrite" in refused.err
    page.write_text("old")
    assert rllib("report", sweep, "--overwrite").status == 0
    assert page.read_text() == text


def test_a_page_for_all_experiments_of_a_file(rllib, sweep):
    other = sweep.parent / "empty"
    run_folder.write_json(other / run_folder.DONE_JSON, {"experiment": "empty", "run": "PPO", "config": {}, "stop": {}})
    answer = rllib("report", sweep.parent, "--format", "md")
    assert answer.status == 0, answer.err
    text = (sweep.parent / "report.md").read_text()
    assert text.index("## tune") < text.index("## empty")
    assert "](<tune/sweep.png>)" in text
    assert "\n| trial_00001 | 0.001 | stopped early | 2 | 200 | 5 | 5 |\n" in text
    assert (sweep / "learning_curve.png").is_file()


DAMAGED = {
    "stop of texts": {"stop": {"training_iteration": "3"}},
    "a list as config": {"config": [1, 2]},
    "versions as a list": {"versions": ["ray"]},
    "a number as checkpoint": {"checkpoint": 5},
    "figures of texts": {"figures": {"return": "high"}},
    "swept as a text": {"swept": "lr"},
    "mode": {"mode": "sideways"},
    "a number as name": {"experiment": 3},
}


@pytest.mark.parametrize("what", DAMAGED)
@pytest.mark.parametrize("words", [("report",), ("sweep", "report")], ids=" ".join)
def test_a_damaged_experiment_is_named_with_its_entry(refused, sweep, what, words):
    (sweep / run_folder.DONE_JSON).write_text(json.dumps(DAMAGED[what]))
    told = refused(*words, sweep)
    assert f"{sweep / run_folder.DONE_JSON} has a bad entry '{next(iter(DAMAGED[what]))}" in told


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b"[1]", b'{"a": 1', b"1" * 5000])
def test_what_is_no_json_is_named(refused, sweep, content):
    (sweep / run_folder.DONE_JSON).write_bytes(content)
    told = refused("report", sweep)
    assert "done.json " in told
    assert len(told) < 600
    # Whoever trains goes on with what else the folder says.
    assert run_folder.read_json(sweep / run_folder.DONE_JSON) is None


def test_results_of_any_content_are_reported(rllib, sweep):
    trial = next(sweep.glob("trial_00000*"))
    lines = ["[" * 100_000, "3", '{"training_iteration": "x", "return_mean": 1e999}', '{"return_mean": [1]}', "\ud800"]
    lines += ['{"training_iteration": 4, "env_steps": 1' + "0" * 400 + ', "return_mean": -1e308}']
    lines += ['{"training_iteration": 5, "env_steps": 300, "return_mean": 1e308, "done": 7}']
    with (trial / "result.json").open("ab") as file:
        file.write(b"\n" + "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n\xff\xfe\n")
    (trial / "params.json").write_text(json.dumps({"lr": "$x^$ [bold]y[/]"}))
    (sweep / "sweep.png").symlink_to("/etc/passwd")
    (sweep / "learning_curve.png").write_text("not a picture")
    (sweep / run_folder.DONE_JSON).write_text(json.dumps({"experiment": "\ud800 $\\frac$", "policy": "../../x\0"}))
    answer = rllib("report", sweep)
    assert answer.status == 0, answer.err
    assert (sweep / "report.html").read_text().count("data:image/png;base64,iVBOR") == 2
    answer = rllib("sweep", "report", sweep)
    assert answer.status == 0, answer.err
    assert "[bold]y[/]" in answer.out


def test_what_is_no_experiment_is_refused(refused, tmp_path):
    assert "no experiment's folder" in refused("sweep", "report", tmp_path)
    assert "holds no experiment" in refused("report", tmp_path)
    assert "html or md" in refused("report", tmp_path, "--format", "pdf")
