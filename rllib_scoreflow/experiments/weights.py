"""Finding the exported policy (policy.json and policy.safetensors) that a path means."""

import hashlib
from pathlib import Path

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files import policy_folder as artefact_files
from rllib_scoreflow.files.digest import file_digest
from rllib_scoreflow.files.policy_folder import POLICY_JSON, POLICY_WEIGHTS


def find_policy(path: Path) -> Path | None:
    """Return the policy folder at `path`: the folder itself, or its ``policy/``.

    Args:
        path: a folder, or the policy.json within it.

    Returns:
        The folder that holds policy.json, or None.
    """
    if path.name == POLICY_JSON and path.is_file():
        return path.parent
    return artefact_files.find_policy(path)


def require_policy(path: Path, where: str) -> Path:
    """Return the policy folder at `path`, as `find_policy`.

    Args:
        path: what the user gave.
        where: the start of the message.

    Returns:
        The folder that holds policy.json.

    Raises:
        InputError: there is none.
    """
    if not path.exists():
        raise InputError(
            f"{where}: {path} does not exist; give a policy folder, a checkpoint or an experiment's folder."
        )
    found = find_policy(path)
    if found is None:
        raise InputError(
            f"{where}: {path} holds no policy (no {POLICY_JSON} in it or in its policy/ folder); "
            "give a policy folder, or a checkpoint of FlowBC or ScoreFlow."
        )
    return found


def policy_digest(policy: Path) -> str:
    """Return the sha256 that stands for a policy folder's two files, in hex.

    Args:
        policy: a folder from `require_policy`.

    Raises:
        InputError: the weights are missing.
    """
    weights = policy / POLICY_WEIGHTS
    if not weights.is_file():
        raise InputError(f"{weights} is missing; the policy is incomplete, so export or copy it again.")
    both = file_digest(policy / POLICY_JSON) + file_digest(weights)
    return hashlib.sha256(both.encode()).hexdigest()
