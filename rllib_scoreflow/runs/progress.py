"""What a person sees of a run: a line per iteration, and on a terminal a moving one beneath."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.status import Status
from rich.text import Text

from rllib_scoreflow.experiments.checks.stopping import share_done
from rllib_scoreflow.experiments.spec import as_name
from rllib_scoreflow.files.manifest import iteration_of, write_manifest
from rllib_scoreflow.reports import metrics
from rllib_scoreflow.runs.failures import ending_error, summary
from rllib_scoreflow.runs.result_loggers import row_before_training
from rllib_scoreflow.runs.session import INTERRUPT, stop_tune
from rllib_scoreflow.runs.tune_adapter import last_error
from rllib_scoreflow.terminal import new_console

NOTE = "note"  # a result's text on what went wrong in an iteration, and was overcome
# Epochs of a long cloning are hundreds of short ones: without a terminal so many have a line each, and from then on one
# in so many seconds; on a terminal they pass in the moving line.
_FIRST_EPOCHS = 20
_SECONDS_BETWEEN_EPOCHS = 30.0
_SHOULD_CHECKPOINT = "should_checkpoint"  # Tune's key for "save now", honoured when a callback sets it


class ProgressLines(Callback):  # type: ignore[misc, unused-ignore]
    """Prints a line per iteration; ends the run with a checkpoint when the user asks for the end.

    Args:
        stop: result key -> value that ends a trial, for the estimate of the time left.
        every_epoch: a line for each epoch of a cloning, however many there are.
    """

    def __init__(self, stop: Mapping[str, float], *, every_epoch: bool = False) -> None:
        self.stop = dict(stop)
        self.every_epoch = every_epoch
        self._start_clock()

    def _start_clock(self) -> None:
        self._console = new_console(soft_wrap=True)
        self._status: Status | None = None
        self._begun: dict[str, tuple[float, float]] = {}
        self._steps: dict[str, float] = {}
        self._printed: dict[str, tuple[int, float]] = {}  # lines of a trial, and when the last one was
        self._warned = False

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks with the experiment; a console is no part of that."""
        return {"stop": self.stop, "every_epoch": self.every_epoch}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start afresh in a resumed run."""
        self.stop = state["stop"]
        self.every_epoch = state.get("every_epoch", False)
        self._start_clock()

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Called by Tune when its loop begins."""
        if self._console.is_terminal:
            self._status = self._console.status("starting ...", spinner="dots")
            self._status.start()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """End a run that has nothing to save when the user has asked for the end."""
        if INTERRUPT.asked.is_set() and not any(trial.status == Trial.RUNNING for trial in trials):
            stop_tune()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note when a trial begins."""
        if self._status is not None:
            self._status.update(Text(f"{_name(trial, trials) or 'first iteration'} is running ..."))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Print the line of an iteration."""
        flat = metrics.flatten(result)
        share = share_done(self.stop, flat)
        now = time.monotonic()
        # The clock starts with the first iteration seen: starting up, or what a resumed run did
        # before, does not count.
        fresh = result.get("iterations_since_restore") == result.get("training_iteration")
        start = (now - float(result.get("time_this_iter_s", 0.0)), 0.0) if fresh else (now, share or 0.0)
        began, share_then = self._begun.setdefault(trial.trial_id, start)
        left = _time_left(share, share_then, now - began)
        rate = self._rate(trial.trial_id, flat)
        line = iteration_line(flat, rate, None if result.get("done") else left)
        name = _name(trial, trials)
        before = row_before_training(result)
        lines = [] if before is None else [iteration_line(metrics.flatten(before), None, None)]
        for each in [*lines, line] if self._is_lasting(trial.trial_id, flat, now) else lines:
            self._console.print(f"{name}  {each}" if name else each, markup=False)
        if result.get(NOTE):
            self._console.print(f"Note: {result[NOTE]}.", markup=False)
        self._warn_missing(flat)
        if self._status is not None:
            following = f"iteration {int(result['training_iteration']) + 1} is running ..."
            if metrics.number(flat, metrics.EPOCH) is not None:
                following = f"{name}  {line}" if name else line
            self._status.update(Text("finishing ..." if result.get("done") else following))
        if INTERRUPT.asked.is_set():
            result[_SHOULD_CHECKPOINT] = True

    def on_checkpoint(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """End the run once the checkpoint asked for is written; a trial at its end may end by itself.

        A checkpoint of an algorithm of RLlib's own gets its list of files here, by which it is known to be whole.
        """
        written = Path(info["checkpoint"].path)
        if iteration_of(written) is None:
            write_manifest(written, int((trial.last_result or {}).get("training_iteration", 0)))
        if INTERRUPT.asked.is_set() and not (trial.last_result or {}).get("done"):
            stop_tune()

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """End the run at once after bad input, or on a full disk: other trials would meet the same.

        Raises:
            InputError: the one with which the trial failed.
            RuntimeError: the disk is full.
        """
        error = last_error(trial)
        ending = None if error is None else ending_error(error)
        if ending is not None:
            raise ending

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Say that a trial failed and is about to be tried again."""
        error = last_error(trial)
        reason = "it was lost" if error is None else summary(error)
        name = _name(trial, trials) or "the trial"
        self._console.print(
            f"Note: {name} failed ({reason}) and goes on from its last checkpoint "
            f"(restart {trial.num_failures} of {trial.max_failures}).",
            markup=False,
        )

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Take the running clock away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _is_lasting(self, trial_id: str, flat: Mapping[str, Any], now: float) -> bool:
        """Whether an iteration's line stays: of a long cloning only some do."""
        count, last = self._printed.get(trial_id, (0, 0.0))
        is_epoch = metrics.number(flat, metrics.EPOCH) is not None
        says_more = flat.get("done") or flat.get(NOTE) or metrics.number(flat, metrics.EVAL_RETURN) is not None
        few = count == 0 if self._status is not None else count < _FIRST_EPOCHS or now - last >= _SECONDS_BETWEEN_EPOCHS
        if is_epoch and not (self.every_epoch or says_more or few):
            return False
        self._printed[trial_id] = (count + 1, now)
        return True

    def _rate(self, trial_id: str, flat: Mapping[str, Any]) -> float | None:
        """Environment steps per second: as reported, else from the counter's growth."""
        reported = metrics.number(flat, metrics.STEPS_PER_SECOND)
        steps = metrics.number(flat, metrics.STEPS)
        seconds = metrics.number(flat, ("time_this_iter_s",))
        if reported is not None or steps is None or not seconds:
            return reported
        before, self._steps[trial_id] = self._steps.get(trial_id), steps
        if before is None:
            before = 0.0 if flat.get("iterations_since_restore") == flat.get("training_iteration") == 1 else steps
        return (steps - before) / seconds if steps > before else None

    def _warn_missing(self, flat: Mapping[str, Any]) -> None:
        missing = [key for key in self.stop if key not in flat]
        if missing and len(missing) == len(self.stop) and not self._warned:
            keys = ", ".join(missing)
            self._console.print(
                f"Note: the first iteration does not report {keys}, on which `stop` waits.",
                markup=False,
            )
        self._warned = True


def iteration_line(flat: Mapping[str, Any], rate: float | None, left: float | None) -> str:
    """Return the line of one iteration.

    Args:
        flat: flattened result.
        rate: environment steps per second.
        left: seconds to the end, or None when unknown.

    Returns:
        Such as ``iter 3  steps 60,000  return 1378.2 ± 40.1  policy_loss 0.012  2,066 steps/s  ETA
        0:12:03``.
    """
    parts = [f"iter {int(flat.get('training_iteration', 0)):>4}"]
    epoch = metrics.number(flat, metrics.EPOCH)
    if epoch is not None:
        parts.append(f"epoch {epoch:g}")
    steps = metrics.number(flat, metrics.STEPS)
    if steps:
        parts.append(f"steps {steps:>9,.0f}")
    for label, value, error in (
        ("return", metrics.RETURN, metrics.STDERR),
        ("eval", metrics.EVAL_RETURN, metrics.EVAL_STDERR),
    ):
        mean, spread = metrics.number(flat, value), metrics.number(flat, error)
        if mean is not None:
            parts.append(f"{label} {mean:>8.2f}" + (f" ± {spread:.2f}" if spread is not None else ""))
    parts += [f"{name} {value:.4g}" for name, value in metrics.losses(flat).items()]
    samples = metrics.number(flat, metrics.SAMPLES_PER_SECOND)
    if samples is not None:
        parts.append(f"{samples:,.0f} samples/s")
    if rate is not None and steps:
        parts.append(f"{rate:,.0f} steps/s")
    if left is not None:
        parts.append(f"ETA {clock(left)}")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """Return a duration as ``h:mm:ss``.

    Args:
        seconds: the duration.
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _time_left(share: float | None, share_then: float, elapsed: float) -> float | None:
    if share is None or share <= share_then or elapsed <= 0:
        return None
    return elapsed * (1.0 - share) / (share - share_then)


def _name(trial: Trial, trials: list[Trial]) -> str:
    """The trial's parameters, when there are several trials."""
    if len(trials) < 2:
        return ""
    return trial_label(trial)


def trial_label(trial: Trial) -> str:
    """Return a short name of a trial: its number and the parameters that tell it apart, as they are now.

    Args:
        trial: a Tune trial.
    """
    number = trial.trial_id.rsplit("_", 1)[-1].lstrip("0") or "0"
    drawn = trial.evaluated_params or {}
    chosen = {key: _look_up(trial.config, key.split("/"), value) for key, value in drawn.items()}
    text = ",".join(f"{key.rsplit('/', 1)[-1]}={_short(value)}" for key, value in chosen.items())
    return f"trial {number}" + (f" {text}" if text else "")


def trial_folder(trial: Trial) -> str:
    """Return the name of a trial's folder, such as ``trial_00001_lr=0.001``.

    Args:
        trial: a Tune trial.
    """
    label = "trial_" + trial.trial_id.rsplit("_", 1)[-1]
    chosen = trial.evaluated_params or {}
    text = "_".join(f"{key.rsplit('/', 1)[-1]}={_short(value)}" for key, value in chosen.items())
    safe = as_name(text, "=.-_+")[:80]
    return f"{label}_{safe}" if safe else label


def _look_up(config: Mapping[str, Any], path: list[str], otherwise: Any) -> Any:
    value: Any = config
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return otherwise
        value = value[key]
    return value


def _short(value: Any) -> str:
    if isinstance(value, str) and value.startswith("/"):
        return Path(value).name  # of a file, whose folder may be another tomorrow
    return f"{value:.4g}" if isinstance(value, float) else str(value)
