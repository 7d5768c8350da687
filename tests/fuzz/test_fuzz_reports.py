"""Reports of folders whose JSON is damaged: one sentence, or a page."""

import json

import pytest
from hypothesis import strategies as st
from rich.console import Console

from rllib_scoreflow.reports import run_folder
from rllib_scoreflow.reports.page import write_report
from rllib_scoreflow.reports.plots import learning_curve
from rllib_scoreflow.reports.sweep import as_plain, print_sweep, read_sweep, report_sweep

ABOUT = {
    "experiment": "tune",
    "fingerprint": "ab",
    "run": "ScoreFlow",
    "env": "Hopper-v4",
    "stop": {"training_iteration": 3.0, "env_steps": 1e6},
    "config": {"lr": {"loguniform": [1e-4, 1e-2]}, "noise": {"sigma_max": 0.2}, "dataset": "x.hdf5"},
    "swept": ["lr"],
    "metric": "return_mean",
    "mode": "max",
    "versions": {"ray": "2.60.0"},
    "pretrained_policy": None,
}
DONE = {**ABOUT, "checkpoint": "trial_00000/checkpoint_000001", "policy": "policy", "figures": {"return": 5.0}}
PARAMS = {"lr": 0.001, "noise": {"sigma_max": 0.2}}
ROW = {"training_iteration": 2, "env_steps": 200, "return_mean": 4.0, "eval_return_mean": 5.0, "done": True}
LOSSES = {"training_iteration": 1, "epoch": 1, "train_loss": 0.5, "validation_loss": 0.25}
DIFFERENCE = {"return_mean": 0.5, "return_stderr": None, "success_mean": 0.1, "success_stderr": 0.05}
ATTRIBUTION = {
    "policy": "policy",
    "clone": "clone",
    "env_id": "Hopper-v4",
    "episodes": 2,
    "seed": 0,
    "rows": [
        {
            "row": "a",
            "name": "clone, random start",
            "denoising_steps": 4,
            "start": "normal",
            "return_mean": 4.0,
            "return_stderr": 0.5,
            "success_rate": None,
            "success_stderr": None,
            "minus_a": DIFFERENCE,
        }
    ],
    "comparisons": [{"row": "b", "minus": "a", "name": "zero start", **DIFFERENCE}],
}
POLICY = {"schema_version": 2, "metadata": {"dataset_sha256": "00"}}


def write(example, folder):
    run = folder / "file" / "tune"
    for name, content in example.items():
        target = run / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = b"\n".join(content) + b"\n"
        target.write_bytes(content)
    return run


@pytest.fixture
def folders(damage):
    """Files by their names, each damaged or whole."""

    def either(content):
        return st.one_of(st.just(json.dumps(content).encode()), damage(content))

    rows = st.lists(either(ROW) | either({**ROW, "training_iteration": 1}) | either(LOSSES), max_size=4)
    return st.fixed_dictionaries(
        {
            "experiment.json": either(ABOUT),
            "trial_00000_lr=0.001/params.json": either(PARAMS),
            "trial_00000_lr=0.001/result.json": rows,
            "trial_00001_lr=0.01/params.json": either({**PARAMS, "lr": 0.01}),
            "trial_00001_lr=0.01/result.json": rows,
        },
        optional={
            "done.json": either(DONE),
            "policy/policy.json": either(POLICY),
            "learning_curve.png": st.binary(),
            "attribution.json": either(ATTRIBUTION),
        },
    )


def test_what_the_folders_of_a_sweep_say(fuzz, folders):
    def read(run):
        sweep = read_sweep(run)
        text = json.dumps(as_plain(sweep, None), default=str)
        assert len(json.loads(text)["trials"]) == len(sweep.trials)
        print_sweep(Console(file=(run / "out").open("w", errors="backslashreplace"), width=200), sweep)
        run_folder.read_json(run / "done.json")

    fuzz(folders, write, read)


@pytest.fixture
def matplotlib_loaded(tmp_path):
    """Loading it and finding its fonts takes seconds, which are no report's."""
    write_report(write({"done.json": json.dumps(DONE).encode()}, tmp_path), "html", overwrite=True)
    learning_curve({"": [ROW]}, "title", tmp_path / "x.png")


@pytest.mark.slow
@pytest.mark.usefixtures("matplotlib_loaded")
@pytest.mark.parametrize("form", ["md", "html"])
def test_pages_and_plots(fuzz, folders, form):
    def read(run):
        page = write_report(run.parent, form, overwrite=True)
        assert page.read_text(encoding="utf-8").count("status") >= 1

    fuzz(folders, write, read)


@pytest.mark.slow
@pytest.mark.usefixtures("matplotlib_loaded")
def test_plots_of_sweeps(fuzz, folders):
    fuzz(folders, write, lambda run: report_sweep(run, None, as_json=True))
