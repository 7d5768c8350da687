"""The policy artefact: a folder with safetensors weights and a JSON description."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from rllib_scoreflow.artefact_files import POLICY_JSON, POLICY_WEIGHTS
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.policy.flow_policy import FlowPolicy
from rllib_scoreflow.policy.metadata import PolicyDescription, read_metadata


def save_policy(policy: FlowPolicy, path: str | Path, *, overwrite: bool = False) -> Path:
    """Writes `policy.safetensors` and `policy.json` into the folder `path`; complete or not at all.

    Raises:
        InputError: If `path` exists and `overwrite` is False.
    """
    folder = Path(path)
    if folder.exists() and not overwrite:
        raise InputError(f"'{folder}' exists already; choose another folder or ask to overwrite it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    weights = save({name: value.contiguous().cpu() for name, value in policy.state_dict().items()})
    description = PolicyDescription(
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        config=policy.config,
        metadata=policy.metadata,
    )
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (staging / POLICY_WEIGHTS).write_bytes(weights)
        (staging / POLICY_JSON).write_text(description.model_dump_json(indent=2) + "\n", "utf-8")
        staging.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def load_policy(path: str | Path) -> FlowPolicy:
    """Loads the policy in the folder `path`; nothing in it is unpickled.

    Raises:
        InputError: If a file is missing, truncated or altered, or the weights do not fit the description.
    """
    folder = Path(path)
    description = read_metadata(folder)
    file = folder / POLICY_WEIGHTS
    if not file.is_file():
        raise InputError(f"'{folder}' has no {POLICY_WEIGHTS}; export the policy again.")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != description.weights_sha256:
        raise InputError(
            f"'{file}' is not the file that {POLICY_JSON} describes (sha256 differs: truncated or altered); "
            "copy or export the policy again."
        )
    policy = FlowPolicy.blank(description.config, description.metadata)
    try:
        weights = load(content)
    except SafetensorError as error:
        raise InputError(f"'{file}' is not a safetensors file ({error}); export it again.") from error
    expected = {name: tuple(value.shape) for name, value in policy.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        name = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise InputError(
            f"'{file}' does not fit {POLICY_JSON}: tensor '{name}' has shape {found.get(name)}, expected "
            f"{expected.get(name)}; export the policy again."
        )
    policy.load_state_dict(weights)
    policy.eval()
    return policy
