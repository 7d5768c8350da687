"""What Ray prints for its developers, silenced."""

import logging
import os
import re
import warnings

_QUIET = {
    # Tune's own tables; the command prints its own lines.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Ctrl-C is handled below: the trial first writes a checkpoint.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # A metric that is missing in one iteration (an evaluation is not made in each) must not end a
    # sweep.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Seconds between copies of TensorBoard's logs to the results, and notes of Tune's, on which nothing depends.
    "TUNE_GLOBAL_CHECKPOINT_S": "2",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_DEDUP_LOGS": "1",
}


# What RLlib says of settings that it does not heed as they are; all else at this level is for its developers.
_UNHEEDED = re.compile(
    r"ignor|no effect|not have any effect|doesn't occur|overrid|overwrit|not be used|no longer used", re.IGNORECASE
)
_chosen = {"level": logging.WARNING}


def quieten(verbosity: int) -> None:
    """Silence what Ray prints for its developers; call before Ray is imported.

    Args:
        verbosity: 0 for errors only, 1 adds the workers' output and warnings, 2 adds Ray's own
            information.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if verbosity == 0:
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        warnings.filterwarnings("ignore")
    _chosen["level"] = (logging.ERROR, logging.WARNING, logging.INFO)[min(verbosity, 2)]


def set_log_levels() -> None:
    """Set the levels chosen with `quieten` again: importing Ray sets levels of its own."""
    for name in ("ray", "ray.rllib", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(_chosen["level"])
    if _chosen["level"] == logging.ERROR:
        logging.getLogger("ray.rllib").setLevel(logging.WARNING)
        for handler in {*logging.getLogger("ray").handlers, *logging.getLogger("ray.rllib").handlers}:
            if not any(isinstance(each, Unheeded) for each in handler.filters):
                handler.addFilter(Unheeded())
        # A failed trial is reported by the command, in one line and with the place of its
        # traceback.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


class Unheeded(logging.Filter):
    """Of RLlib's warnings, lets pass those on settings that it does not heed, each once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is shown."""
        if not record.name.startswith("ray.rllib") or record.levelno > logging.WARNING:
            return True
        text = record.getMessage()
        if _UNHEEDED.search(text) is None or text in self._said:
            return False
        self._said.add(text)
        return True
