"""Where the files of a policy artefact are; no PyTorch, so that the command can ask without loading it."""

import json
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.atomic import atomic_folder
from rllib_scoreflow.files.digest import file_digest, json_digest
from rllib_scoreflow.files.hub import HUB_PREFIX, HubId, is_hub_id, parse_hub_id
from rllib_scoreflow.files.hub_commits import FetchedFiles, fetch_files, is_commit
from rllib_scoreflow.files.json import read_json
from rllib_scoreflow.files.user_paths import expand_user

POLICY_JSON = "policy.json"
POLICY_WEIGHTS = "policy.safetensors"
# Written by `rllib policy pull`: which commit of which repository the two files are.
PULLED_JSON = "pulled.json"
# The files of the artefact, and how many bytes each may have on its way to and from the hub.
SHARED_FILES = {POLICY_JSON: 4 << 20, POLICY_WEIGHTS: 4 << 30}


def find_policy(path: str | Path) -> Path | None:
    """The policy folder at `path`: itself, or its `policy` subfolder as in a checkpoint; None if there is neither.

    Of `hf:ORG/NAME[@REVISION]` it is a folder in the cache of the hub's client, see `fetch_policy`.

    Raises:
        InputError: It cannot be fetched from the hub.
    """
    if is_hub_id(path):
        return fetch_policy(parse_hub_id(path)).folder
    folder = expand_user(path)
    for candidate in (folder, folder / "policy"):
        if (candidate / POLICY_JSON).is_file():
            return candidate
    return None


def fetch_policy(hub_id: HubId) -> FetchedFiles:
    """The two files of a policy of the hub at one commit, checked by the hub's hashes and by their own.

    Args:
        hub_id: Its repository and revision; a commit that is in the cache needs no network.

    Raises:
        InputError: There is none, or no network, or a file is not what was written; naming it.
    """
    fetched = fetch_files(hub_id, SHARED_FILES)
    altered = find_altered(fetched.folder)
    if altered is not None and is_commit(hub_id.revision):  # a file in the cache may have been damaged there
        fetched = fetch_files(hub_id, SHARED_FILES, trust_cache=False)
        altered = find_altered(fetched.folder)
    if altered is not None:
        raise InputError(
            f"{altered} of {HUB_PREFIX}{fetched.repo} at {fetched.commit} is not what was written (its sha256 differs: "
            "damaged or altered); name another revision, or ask its owner to push it again"
        )
    return fetched


def find_altered(folder: Path) -> str | None:
    """The name of the file that is not what `policy.json` says it is; None if both are whole.

    Args:
        folder: The policy folder, with both files.

    Raises:
        InputError: policy.json is no JSON.
    """
    content = read_json(folder / POLICY_JSON, finite=True)
    if not isinstance(content, dict) or not has_own_hash(content):
        return POLICY_JSON
    return None if content.get("weights_sha256") == file_digest(folder / POLICY_WEIGHTS) else POLICY_WEIGHTS


def has_own_hash(content: dict[str, Any]) -> bool:
    """Whether the content of a policy.json has the hash that it names; schema version 1 names none."""
    recorded = content.get("sha256")
    if recorded is None and content.get("schema_version") == 1:
        return True
    return bool(recorded == json_digest({key: value for key, value in content.items() if key != "sha256"}))


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write a policy where something else is.

    Args:
        folder: The policy folder to write.
        overwrite: A policy that is there may be replaced.

    Raises:
        InputError: `folder` exists and `overwrite` is False, or it is anything but a policy's folder.
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    if not overwrite:
        raise InputError(f"'{folder}' exists already; choose another folder or ask to overwrite it.")
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder that could be overwritten; choose another one.")
    others = sorted({entry.name for entry in folder.iterdir()} - {POLICY_JSON, POLICY_WEIGHTS, PULLED_JSON})
    if others:
        raise InputError(
            f"'{folder}' holds other things than a policy (such as '{shorten(others[0])}'), which overwriting would "
            "delete; choose another folder."
        )


def write_pulled(fetched: FetchedFiles, hub_id: HubId, folder: Path, *, overwrite: bool) -> None:
    """Make a policy folder of what was fetched, and record in it which commit it is; complete or not at all.

    Args:
        fetched: From `fetch_policy`.
        hub_id: What was asked for.
        folder: The policy folder to write.
        overwrite: Replace a policy that is there.

    Raises:
        InputError: See `check_target`.
    """
    origin = {
        "repository": fetched.repo,
        "revision": hub_id.revision,
        "commit": fetched.commit,
        "sha256": dict(fetched.sha256),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as staging:
        fetched.copy_to(staging)
        (staging / PULLED_JSON).write_text(json.dumps(origin, indent=2) + "\n", "utf-8")
        check_target(folder, overwrite=overwrite)
