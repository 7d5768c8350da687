"""The clone that a fine-tuning run started from."""

from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.weights import find_policy, policy_digest, require_policy
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.reports.run_folder import BEGUN_JSON
from rllib_scoreflow.reports.trials import read_description

_OPTION = "--clone"
# An experiment's folder, its policy's, a trial's, that of a checkpoint and the policy in it.
_LEVELS = 4


def run_of(path: Path) -> Path | None:
    """Return the folder of the experiment that a path lies in, or None.

    Args:
        path: an experiment's folder, or a policy or checkpoint within one.
    """
    complete = path.resolve()
    candidates = [complete, *complete.parents][:_LEVELS]
    return next((folder for folder in candidates if (folder / BEGUN_JSON).is_file()), None)


def find_clone(path: Path, given: Path | None) -> Path:
    """Return the policy folder that a run started from.

    Args:
        path: what the user evaluates: an experiment's folder, or something within one.
        given: what the user says that the clone is, or None to look it up in the run.

    Raises:
        InputError: the run does not say, it is not there any more, or it is another policy than the run's.
    """
    run = run_of(path)
    about = {} if run is None else read_description(run)
    if given is not None:
        found = require_policy(given, _OPTION)
    else:
        found = _recorded(path, run, about)
    digest = about.get("pretrained_policy_sha256")
    if isinstance(digest, str) and policy_digest(found) != digest:
        raise InputError(
            f"{found} is another policy than the one that {run} started from (its sha256 differs); name that one with "
            f"{_OPTION} POLICY."
        )
    return found


def _recorded(path: Path, run: Path | None, about: dict[str, Any]) -> Path:
    recorded = about.get("pretrained_policy") or (about.get("config") or {}).get("pretrained_policy")
    if run is None or not isinstance(recorded, str):
        raise InputError(f"{path} does not say which policy it started from; name it with {_OPTION} POLICY.")
    written = expand_user(recorded)
    # The folder of a file's experiments may have been moved as a whole.
    beside = [run.parent / Path(*written.parts[-parts:]) for parts in (2, 1) if len(written.parts) >= parts]
    for candidate in (written, *beside):
        found = find_policy(candidate)
        if found is not None:
            return found
    raise InputError(
        f"The policy {quote(recorded)} that {run} started from is not there any more; name it with {_OPTION} POLICY."
    )
