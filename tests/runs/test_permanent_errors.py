"""Which errors of a trial are worth another try."""

import pytest
from ray import tune
from ray.tune.experiment import Trial

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.runs.failures import as_error, is_permanent, summary
from rllib_scoreflow.runs.tune_adapter import JudgedTrial

CREATION = (
    "ray.exceptions.ActorDiedError: The actor died because of an error raised in its creation task, "
    "ray::PPO.__init__() (pid=1, ip=1.2.3.4)\n  File 'x.py', line 1, in f\n"
)
LOST = "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n\tclass_name: PPO"


@pytest.mark.parametrize(
    ("text", "permanent"),
    [
        ("ray::PPO.train()\nTypeError: unsupported operand", True),
        (f"{CREATION}ValueError: no such joint", True),
        (f"{CREATION}ModuleNotFoundError: No module named 'robot'", True),
        (f"{CREATION}mine.LicenceError: expired", True),
        ("rllib_scoreflow.errors.InputError: correct it", True),
        ("OSError: [Errno 28] No space left on device", True),
        (LOST, False),
        ("ray.exceptions.OutOfMemoryError: Task was killed", False),
        ("ray.exceptions.WorkerCrashedError: The worker died", False),
        ("ray.exceptions.NodeDiedError: gone", False),
        ("ConnectionResetError: [Errno 104] Connection reset by peer", False),
        ("requests.exceptions.ConnectTimeout: slow", False),
        ("TimeoutError: no answer", False),
        ("ray.exceptions.GetTimeoutError: Get timed out", False),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory", False),
        ("RuntimeError: CUDA error: device-side assert", False),
    ],
)
def test_what_code_raises_would_be_raised_again(text, permanent) -> None:
    assert is_permanent(RuntimeError(text)) == permanent


def failed(trial: Trial, text: str, tmp_path) -> bool:
    """Whether Tune would begin a trial again that failed with an error."""
    (tmp_path / "error.txt").write_text(f"Failure # 1 (occurred at now)\n{text}\n")
    trial.run_metadata.num_failures += 1
    return trial.should_recover()


@pytest.fixture
def trial(tmp_path, monkeypatch) -> Trial:
    made = Trial("PPO", stub=True, max_failures=3)
    made.__class__ = JudgedTrial
    monkeypatch.setattr(JudgedTrial, "error_file", str(tmp_path / "error.txt"))
    return made


def test_a_trial_that_code_ended_before_its_first_result_is_not_begun_again(trial, tmp_path) -> None:
    assert not failed(trial, f"{CREATION}ValueError: no such joint", tmp_path)


def test_a_trial_that_lost_a_process_is(trial, tmp_path) -> None:
    assert [failed(trial, LOST, tmp_path) for _ in range(4)] == [True, True, True, False]


def test_a_trial_that_came_further_since_its_last_error_is(trial, tmp_path) -> None:
    text = "ray::PPO.train()\nZeroDivisionError: division by zero"
    trial.run_metadata.last_result = {"training_iteration": 3}
    assert failed(trial, text, tmp_path)
    assert not failed(trial, text, tmp_path)
    trial.run_metadata.last_result = {"training_iteration": 4}
    assert failed(trial, text, tmp_path)


def test_tune_asks_a_trial_whether_to_begin_it_again() -> None:
    import inspect

    from ray.tune.execution.tune_controller import TuneController

    source = inspect.getsource(TuneController._process_trial_failure)
    assert source.index("handle_error(") < source.index("should_recover()") < source.index("_try_recover(")
    assert issubclass(tune.Trainable, object)


def test_a_summary_is_not_cut_after_a_colon() -> None:
    text = "trace\nRuntimeError: Error(s) in loading state_dict for Net:\n\tsize mismatch for weight\n\tanother\n"
    assert (
        summary(RuntimeError(text)) == "RuntimeError: Error(s) in loading state_dict for Net: size mismatch for weight"
    )
    assert summary(RuntimeError("a\nValueError: plain\n")) == "ValueError: plain"
    assert summary(RuntimeError("only\nwords")) == "words"
    killed = "Failure # 1\n3 worker(s) were killed due to the node running low on memory. Memory was\nadvice\n"
    assert summary(as_error(killed)).startswith("3 worker(s) were killed due to the node running low on memory; ")
    assert as_error(error := ValueError("kept")) is error
    assert summary(RuntimeError()) == "RuntimeError"


def test_messages_hold_no_addresses() -> None:
    error = RuntimeError(f"x\nTypeError: <object {object()!r}> is not {test_messages_hold_no_addresses!r}, at 0x10 mm")
    assert "0x" not in summary(error)
    assert shorten(lambda: None) == "<function test_messages_hold_no_addresses.<locals>.<lambda>>"
    assert not isinstance(InputError("x"), RuntimeError)
