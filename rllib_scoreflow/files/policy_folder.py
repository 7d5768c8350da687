"""Where the files of a policy artefact are; no PyTorch, so that the command can ask without loading it."""

from pathlib import Path

from rllib_scoreflow.files.user_paths import expand_user

POLICY_JSON = "policy.json"
POLICY_WEIGHTS = "policy.safetensors"


def find_policy(path: str | Path) -> Path | None:
    """The policy folder at `path`: itself, or its `policy` subfolder as in a checkpoint; None if there is neither."""
    folder = expand_user(path)
    for candidate in (folder, folder / "policy"):
        if (candidate / POLICY_JSON).is_file():
            return candidate
    return None
