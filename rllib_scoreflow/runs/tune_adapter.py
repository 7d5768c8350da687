"""Everything of the command that leans on internals of Ray Tune, written for Ray 2.60.

Tune restores an experiment from notes that it writes now and then. Here an interrupted experiment is begun like a new
one, by the same draws, and each trial takes up what lies in its folder; so trials must be given their checkpoints,
which Tune has no public way for. `tests/runs/test_tune_adapter.py` fails loudly if Ray changes what is used.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint
from ray.tune.experiment import Trial
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.utils import flatten_dict
from ray.tune.utils.util import SafeFallbackEncoder

from rllib_scoreflow.reports import trial_files
from rllib_scoreflow.reports.run_folder import write_json
from rllib_scoreflow.runs.failures import ending_error, is_permanent
from rllib_scoreflow.runs.resume import PARAMETERS, Progress


class ResumingSearch(BasicVariantGenerator):
    """Tune's own generator of trials, whose trials go on from what lies in their folders.

    Args:
        found: name of a trial's folder -> how far the trial came.
        changed: keys of the config that a scheduler changes during the run, nested as in the config.
        max_concurrent: most trials that run at a time, 0 for any number.
        seed: of the draws.
        restore: checkpoint that trials begin from which have none of their own, None for new ones.
    """

    def __init__(
        self,
        found: Mapping[str, Progress],
        changed: Mapping[str, Any],
        *,
        max_concurrent: int,
        seed: int,
        restore: Path | None = None,
    ) -> None:
        super().__init__(max_concurrent=max_concurrent, random_state=seed)
        self._found, self._changed = dict(found), dict(changed)
        self._restore = restore
        known = [str(progress.result["trial_id"]) for progress in found.values() if progress.result.get("trial_id")]
        if known:  # services that log runs know them by this id
            self._uuid_prefix = known[0].rsplit("_", 1)[0] + "_"

    def next_trial(self) -> Trial | None:
        """The next trial, which may be done already."""
        trial = super().next_trial()
        if trial is not None:
            trial.__class__ = JudgedTrial
        if trial is not None and self._restore is not None:  # what `restore` of Tune's own experiments does
            trial.restore_path = str(self._restore)
            saved = Checkpoint.from_directory(trial.restore_path)
            trial._restore_checkpoint_result = _TrainingResult(checkpoint=saved, metrics={})
        progress = None if trial is None else self._found.get(trial.custom_dirname)
        if progress is not None:
            take_up(trial, progress, self._changed)
            if progress.ended:
                self._live_trials.discard(trial.trial_id)
        return trial

    def save_to_dir(self, *args: Any, **kwargs: Any) -> None:
        """Keeps no state: nothing of it would be read."""


class JudgedTrial(Trial):  # type: ignore[misc, unused-ignore]
    """A trial that is not begun again after an error that would come again."""

    _results_at_failure = 0

    def should_recover(self) -> bool:
        """Called by Tune once the trial's error is written down, to ask whether to start it again."""
        error, results = last_error(self), int((self.last_result or {}).get(trial_files.ITERATION, 0))
        if error is not None and ending_error(error) is not None:
            return False  # however far it came
        stands_still, self._results_at_failure = results <= self._results_at_failure, results
        if error is not None and stands_still and is_permanent(error):
            return False
        return bool(super().should_recover())


def last_error(trial: Trial) -> RuntimeError | None:
    """What a trial failed with last; its copy among the results may be some seconds behind.

    Args:
        trial: a Tune trial.
    """
    try:
        text = Path(trial.error_file or "").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return RuntimeError(text.rsplit("\nFailure # ", 1)[-1])


def take_up(trial: Trial, progress: Progress, changed: Mapping[str, Any]) -> None:
    """Let a new trial go on from where one of the same folder was.

    Args:
        trial: a trial that has not begun.
        progress: how far the other came.
        changed: keys of the config that a scheduler changes during the run.
    """
    _lay_over(trial.config, progress.parameters, changed)
    trial.relative_logdir = trial.storage.trial_dir_name = trial.custom_dirname  # one that is done is never started
    for checkpoint in progress.checkpoints:
        saved = Checkpoint.from_directory(str(checkpoint.folder.resolve()))
        result = _TrainingResult(checkpoint=saved, metrics=dict(checkpoint.result))
        trial.run_metadata.checkpoint_manager.register_checkpoint(result)
    trial.storage.current_checkpoint_index = progress.last_number
    if progress.result:
        trial.run_metadata.last_result = dict(progress.result)
        trial.run_metadata.last_result_time = time.time()
    if progress.ended:
        trial.set_status(Trial.TERMINATED)


def _lay_over(config: dict[str, Any], saved: Mapping[str, Any], keys: Mapping[str, Any]) -> None:
    """Takes values over in place: Tune keeps the same dictionary elsewhere too."""
    for key in keys:
        if isinstance(config.get(key), dict) and isinstance(saved.get(key), Mapping):
            nested = keys[key] if isinstance(keys[key], Mapping) else {}
            _lay_over(config[key], saved[key], nested)
        elif key in config and key in saved:
            config[key] = saved[key]


class ResultFile(JsonLoggerCallback):
    """Writes each result into the trial's own folder at once, whole or not at all.

    Tune's logger, in whose place it stands, writes to another folder, which is copied now and then.
    """

    def log_trial_start(self, trial: Trial) -> None:
        """Writes the trial's config."""
        content = json.loads(json.dumps(trial.config, cls=SafeFallbackEncoder))
        write_json(_folder(trial) / PARAMETERS, dict(sorted(content.items())))

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Writes a result.

        Raises:
            OSError: it cannot be written, as on a full disk.
        """
        text = json.dumps(result, cls=SafeFallbackEncoder)
        trial_files.append_result(_folder(trial), text, result[trial_files.ITERATION])

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Nothing is open."""


class ResultTable(CSVLoggerCallback):
    """Writes the table of results, as `ResultFile` does, after which it comes."""

    def log_trial_start(self, trial: Trial) -> None:
        """Nothing is to be opened."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Writes a result.

        Raises:
            OSError: it cannot be written, as on a full disk.
        """
        plain = {key: value for key, value in result.items() if key != "config"}
        trial_files.append_table(_folder(trial), flatten_dict(plain, delimiter="/"))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Nothing is open."""


def _folder(trial: Trial) -> Path:
    folder = Path(trial.path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
