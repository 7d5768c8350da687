"""Finding the exported policy (policy.json and policy.safetensors) that a path means."""

import hashlib
from pathlib import Path

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files import policy_folder as artefact_files
from rllib_scoreflow.files.digest import file_digest
from rllib_scoreflow.files.hub import HUB_PREFIX, is_hub_id, parse_hub_id
from rllib_scoreflow.files.policy_folder import POLICY_JSON, POLICY_WEIGHTS
from rllib_scoreflow.reports.run_folder import BEGUN_JSON, DONE_JSON, read_json


def find_policy(path: Path) -> Path | None:
    """Return the policy folder at `path`: the folder itself, or its ``policy/``.

    Args:
        path: a folder, the policy.json within it, or hf:ORG/NAME[@REVISION] of the hub.

    Returns:
        The folder that holds policy.json, or None.

    Raises:
        InputError: it cannot be fetched from the hub.
    """
    if path.name == POLICY_JSON and path.is_file():
        return path.parent
    return artefact_files.find_policy(path)


def last_experiment(path: Path) -> Path:
    """Return the folder of the experiment that ends a file's, where `path` is that of all of them.

    Args:
        path: what the user gave.

    Returns:
        The only finished experiment in the folder that no other one started from; `path` itself where it is something
        else.

    Raises:
        InputError: there are several.
    """
    if is_hub_id(path) or (path / BEGUN_JSON).is_file() or find_policy(path) is not None or not path.is_dir():
        return path
    finished = sorted(each.parent for each in path.glob(f"*/{DONE_JSON}") if (each.parent / BEGUN_JSON).is_file())
    starts = {each: Path(_starting_policy(each) or "").parts for each in finished}
    # By their names alone: the folder may have been moved since.
    last = [each for each in finished if not any(each.name in starts[one] for one in finished if one != each)]
    if len(last) > 1:
        names = shorten(", ".join(each.name for each in last))
        raise InputError(f"{path} holds several finished experiments ({names}); give the folder of one of them.")
    return last[0] if last else path


def _starting_policy(experiment: Path) -> str | None:
    begun, done = (read_json(experiment / name) or {} for name in (BEGUN_JSON, DONE_JSON))
    found = done.get("pretrained_policy") or begun.get("pretrained_policy")
    return found or (begun.get("config") or {}).get("pretrained_policy")


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
    if not (is_hub_id(path) or path.exists()):
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


def pin_policy(text: str) -> str:
    """Return the id of a policy of the hub with the commit that it means now, and has from now on; a path as it is.

    Args:
        text: what names a policy.

    Raises:
        InputError: it cannot be fetched from the hub.
    """
    if not is_hub_id(text):
        return text
    fetched = artefact_files.fetch_policy(parse_hub_id(text))
    return f"{HUB_PREFIX}{fetched.repo}@{fetched.commit}"


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
