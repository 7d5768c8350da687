import io
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from rllib_scoreflow.cli.evaluate import print_evaluation
from rllib_scoreflow.cli.train_command import resume_command
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation import EvaluationResult
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.reports import metrics
from rllib_scoreflow.reports.plots import learning_curve, read_results
from rllib_scoreflow.reports.run_folder import last_figures
from rllib_scoreflow.runs.export import best_result
from rllib_scoreflow.runs.failures import input_error_in, summary
from rllib_scoreflow.runs.outcome import Outcome
from rllib_scoreflow.runs.progress import ProgressLines, clock, iteration_line
from rllib_scoreflow.runs.summary import print_summary
from rllib_scoreflow.terminal import new_console

OWN = {
    "training_iteration": 3,
    "env_steps": 60000,
    "return_mean": 1378.2,
    "return_stderr": 40.1,
    "policy_loss": 0.0123,
    "value_loss": 3.25,
    "kl": 0.01,
    "config": {"gamma": 0.9},
}
RLLIB = {
    "training_iteration": 3,
    "num_env_steps_sampled_lifetime": 4000.0,
    "env_runners": {"episode_return_mean": 21.5},
    "learners": {"default_policy": {"policy_loss": 0.5, "vf_loss": 8.0, "total_loss": 9.0}},
}


def test_the_line_of_an_iteration_under_both_namings():
    own = iteration_line(metrics.flatten(OWN), 2066.4, 723.0)
    for part in ("iter    3", "steps    60,000", "return  1378.20 ± 40.10", "policy_loss 0.0123"):
        assert part in own
    assert own.endswith("2,066 steps/s  ETA 0:12:03")
    rllib = iteration_line(metrics.flatten(RLLIB), None, None)
    assert "steps     4,000  return    21.50  policy_loss 0.5  vf_loss 8" in rllib
    assert "total_loss" not in rllib
    assert "ETA" not in rllib


def test_a_pretraining_line_has_losses_and_samples():
    result = {"training_iteration": 1, "epoch": 1, "train_loss": 0.5, "validation_loss": 0.6}
    line = iteration_line({**result, "samples_per_second": 8800.0, "env_steps": 0}, None, 5.0)
    assert line == "iter    1  epoch 1  train_loss 0.5  validation_loss 0.6  8,800 samples/s  ETA 0:00:05"


def test_nan_counts_as_not_measured():
    assert metrics.number({"return_mean": float("nan")}, metrics.RETURN) is None
    assert "return" not in iteration_line({"training_iteration": 1, "return_mean": float("nan")}, None, None)


def test_an_evaluation_shows_what_the_environment_said_of_its_episodes(capsys):
    result = EvaluationResult(
        "kitchen-complete-v0", "gymnasium", 3, (4.0, 3.0), (170, 280), (1.0, 0.0),
        {"tasks_completed": (4.0, 3.0), "completed/slide_cabinet": (1.0, 0.0), "seldom": (float("nan"), 2.0)},
    )  # fmt: skip
    print_evaluation({"policy": "p", **result.to_dict()})
    lines = capsys.readouterr().out.splitlines()
    assert "tasks_completed         3.500" in lines
    assert "completed/slide_cabinet 0.500" in lines
    assert "seldom                  2.000" in lines


def test_the_clock():
    assert [clock(s) for s in (0, 59.6, 3723)] == ["0:00:00", "0:01:00", "1:02:03"]


def test_the_estimate_of_the_time_left(capsys):
    lines = ProgressLines({"training_iteration": 4})
    trial = SimpleNamespace(trial_id="x_00000", status="RUNNING", evaluated_params={})
    result = {"training_iteration": 1, "iterations_since_restore": 1, "time_this_iter_s": 100.0}
    lines.on_trial_result(1, [trial], trial, result)
    assert "ETA 0:05:00" in capsys.readouterr().out


def epochs_shown(lines, capsys, monkeypatch, *, count, seconds, kind="epoch", **more):
    """The iterations that have a line of their own after a run of `count`, which took `seconds` each."""
    now = [1000.0]
    monkeypatch.setattr("rllib_scoreflow.runs.progress.time.monotonic", lambda: now[0])
    trial = SimpleNamespace(trial_id="x_00000", status="RUNNING", evaluated_params={})
    for number in range(1, count + 1):
        now[0] += seconds
        result = {"training_iteration": number, kind: number, "train_loss": 0.5, **more.get(f"at_{number}", {})}
        lines.on_trial_result(number, [trial], trial, {**result, "done": number == count})
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("iter ")]
    return [int(line.split()[1]) for line in printed]


def test_a_long_cloning_has_a_line_every_so_often(capsys, monkeypatch):
    stop = {"training_iteration": 200}
    more = {"at_77": {"eval_return_mean": 3.0}, "at_78": {"note": "a spike"}}
    shown = epochs_shown(ProgressLines(stop), capsys, monkeypatch, count=200, seconds=1.0, **more)
    assert shown == [*range(1, 21), 50, 77, 78, 108, 138, 168, 198, 200]
    assert epochs_shown(ProgressLines(stop), capsys, monkeypatch, count=30, seconds=31.0) == [*range(1, 31)]
    every = ProgressLines(stop, every_epoch=True)
    assert epochs_shown(every, capsys, monkeypatch, count=200, seconds=1.0) == [*range(1, 201)]
    again = ProgressLines(stop)
    again.__setstate__(every.__getstate__())  # in a resumed run
    assert again.every_epoch
    shown = epochs_shown(ProgressLines(stop), capsys, monkeypatch, count=60, seconds=1.0, kind="env_steps")
    assert shown == [*range(1, 61)]  # of fine-tuning every iteration is worth a line


def test_on_a_terminal_the_epochs_pass_in_one_line(capsys, monkeypatch):
    out = io.StringIO()
    console = new_console(file=out, force_terminal=True, width=120, soft_wrap=True)
    monkeypatch.setattr("rllib_scoreflow.runs.progress.new_console", lambda **options: console)
    lines = ProgressLines({"training_iteration": 60})
    lines.setup()
    trial = SimpleNamespace(trial_id="x_00000", status="RUNNING", evaluated_params={})
    for number in range(1, 61):
        result = {"training_iteration": number, "epoch": number, "train_loss": 0.5, "time_this_iter_s": 1.0}
        lines.on_trial_result(number, [trial], trial, {**result, "done": number == 60})
        if number == 30:
            assert lines._status.status.plain.startswith("iter   30  epoch 30  train_loss 0.5")
    lines.on_experiment_end([trial])
    output = out.getvalue().replace("\x1b[?25l", "")  # which hides the cursor
    written = [line.rpartition("\x1b[2K")[2] for line in output.split("\n")]  # after the last erasure of a line
    assert [int(line.split()[1]) for line in written if line.startswith("iter ")] == [1, 60]


def test_an_input_error_is_found_however_ray_wraps_it():
    inner = InputError("data.hdf5 is missing.")
    wrapped = RuntimeError("outer")
    wrapped.__cause__ = inner
    assert input_error_in(wrapped) is inner
    text = (
        "The actor died because of an error raised in its creation task, ray::PPO.__init__()\n"
        '  File "x.py", line 1\n'
        "rllib_scoreflow.errors.InputError: data.hdf5 is missing."
    )
    assert str(input_error_in(RuntimeError(text))) == "data.hdf5 is missing."
    assert input_error_in(ValueError("InputError: not ours")) is None


@pytest.mark.parametrize("name", ["my runs", "[red]x[/]", "a;b", "it's", "$HOME", "-x"])
def test_the_printed_commands_can_be_copied(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder = Path(name) / "file" / "exp"
    out = io.StringIO()
    print_summary(new_console(file=out, width=200), [Outcome("exp", folder, policy=folder / "policy")])
    (evaluate,) = [line for line in out.getvalue().splitlines() if line.startswith("Evaluate it:")]
    words = shlex.split(evaluate.removeprefix("Evaluate it:"))
    assert words[:2] == ["rllib", "evaluate"]
    assert Path(words[2]) == folder / "policy"
    assert not words[2].startswith("-")
    (logs,) = [line for line in out.getvalue().splitlines() if line.startswith("See the logs:")]
    assert Path(shlex.split(logs)[-1]) == folder


def test_the_summary_of_an_error_is_its_last_line():
    text = 'ray::PPO.train()\n  File "x.py", line 1\nValueError: shapes differ\n'
    assert summary(RuntimeError(text)) == "ValueError: shapes differ"


def result(folder, *rows):
    """A trial of Tune's with what it has reported."""
    folder.mkdir()
    (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SimpleNamespace(path=str(folder), metrics=rows[-1] if rows else {}, checkpoint=None, best_checkpoints=[])


def test_the_best_trial(tmp_path):
    plain = Experiment("e", "f", "PPO")
    low, high = result(tmp_path / "low", {"return_mean": 1.0}), result(tmp_path / "high", {"return_mean": 2.0})
    assert best_result(plain, [low, high]) is high
    assert (
        best_result(Experiment("e", "f", "PPO", settings={"metric": "return_mean", "mode": "min"}), [low, high]) is low
    )
    good, bad = result(tmp_path / "good", {"validation_loss": 0.1}), result(tmp_path / "bad", {"validation_loss": 0.2})
    assert best_result(plain, [bad, good]) is good
    assert best_result(plain, [result(tmp_path / "silent"), result(tmp_path / "zero", {"return_mean": 0.0})]).metrics
    # An evaluation is not made in every iteration: the last one counts.
    rows = [{"eval_return_mean": 3.0, "training_iteration": 1}, {"return_mean": 0.0, "training_iteration": 2}]
    evaluated = result(tmp_path / "evaluated", *rows)
    asked = Experiment("e", "f", "PPO", settings={"metric": "eval_return_mean"})
    assert best_result(asked, [high, evaluated]) is evaluated


def test_the_learning_curve_is_drawn_from_what_tune_writes(tmp_path):
    trial = tmp_path / "trial"
    trial.mkdir()
    rows = [json.dumps({**RLLIB, "training_iteration": n, "num_env_steps_sampled_lifetime": 100 * n}) for n in (1, 2)]
    (trial / "result.json").write_text("\n".join([*rows, '{"cut off']))
    results = read_results(trial)
    assert len(results) == 2
    assert last_figures(results) == {"iterations": 2.0, "steps": 200.0, "return": 21.5}
    plot = learning_curve({"": results}, "title", tmp_path / "curve.png")
    assert plot is not None
    assert plot.read_bytes().startswith(b"\x89PNG")
    losses = [{"train_loss": 0.5, "epoch": 1}, {"train_loss": 0.4, "epoch": 2}]
    assert learning_curve({"": losses}, "title", tmp_path / "losses.png") is not None
    assert learning_curve({"": [{"epoch": 1}]}, "title", tmp_path / "none.png") is None
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["curve.png", "losses.png"]


def test_the_command_to_resume_repeats_all_but_the_key():
    words = ["train", "file", "a b.yaml", "--overwrite", "--wandb-key", "secret", "--wandb-key=secret"]
    assert resume_command(words) == "rllib train file 'a b.yaml' --wandb-key KEY --wandb-key=KEY --resume"


def test_the_evaluation_before_the_training_is_no_figure_of_its_end() -> None:
    before = {"training_iteration": 0, "env_steps": 0, "eval_return_mean": 7.0}
    rows = [before, {"training_iteration": 1, "env_steps": 100, "env_runners/episode_return_mean": 10.0}]
    assert "evaluation" not in last_figures(rows)
    assert last_figures([*rows, {"training_iteration": 2, "eval_return_mean": 9.0}])["evaluation"] == 9.0
