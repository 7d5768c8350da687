"""The policy artefact: a folder with safetensors weights and a JSON description."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from rllib_scoreflow.artefact_files import POLICY_JSON, POLICY_WEIGHTS
from rllib_scoreflow.atomic_files import atomic_folder
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.policy.flow_policy import FlowPolicy
from rllib_scoreflow.policy.metadata import PolicyDescription, read_metadata

_AGAIN = "copy the policy folder again, or export it again from its checkpoint"
# What a safetensors file may hold beside its tensors: names, shapes, free text.
_HEADER_BYTES = 16 << 20


def save_policy(policy: FlowPolicy, path: str | Path, *, overwrite: bool = False) -> Path:
    """Writes `policy.safetensors` and `policy.json` into the folder `path`; complete or not at all.

    Raises:
        InputError: If `path` exists and `overwrite` is False, or it is anything but a policy's folder.
    """
    folder = Path(path)
    _check_target(folder, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    weights = save({name: value.contiguous().cpu() for name, value in policy.state_dict().items()})
    description = PolicyDescription(
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        config=policy.config,
        metadata=policy.metadata,
    )
    with atomic_folder(folder) as staging:
        (staging / POLICY_WEIGHTS).write_bytes(weights)
        (staging / POLICY_JSON).write_text(description.to_json(), "utf-8")
    return folder


def load_policy(path: str | Path) -> FlowPolicy:
    """Loads the policy in the folder `path`; nothing in it is unpickled or imported.

    Sizes are compared before anything of these sizes is allocated.

    Raises:
        InputError: If a file is missing, truncated or altered, the weights do not fit the description, or a value is
            not finite or out of order.
    """
    folder = Path(path)
    description = read_metadata(folder)
    file = folder / POLICY_WEIGHTS
    if not file.is_file():
        raise InputError(f"'{folder}' has no {POLICY_WEIGHTS}; export the policy again.")
    expected = _expected_tensors(folder, description)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in expected.values())
    size = file.stat().st_size
    if not needed <= size <= needed + _HEADER_BYTES:
        raise InputError(
            f"'{file}' has {size} bytes and the tensors that {POLICY_JSON} describes have {needed}: one of the two "
            f"files was truncated or altered; {_AGAIN}."
        )
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != description.weights_sha256:
        raise InputError(
            f"'{file}' is not the file that {POLICY_JSON} describes (sha256 differs: truncated or altered); {_AGAIN}."
        )
    try:
        weights = load(content)
    except SafetensorError as error:
        raise InputError(f"'{file}' is not a safetensors file ({shorten(str(error))}); {_AGAIN}.") from error
    _check_weights(file, weights, expected)
    policy = FlowPolicy.blank(description.config, description.metadata)
    policy.load_state_dict(weights)
    policy.eval()
    return policy


def _check_target(folder: Path, *, overwrite: bool) -> None:
    if not (folder.exists() or folder.is_symlink()):
        return
    if not overwrite:
        raise InputError(f"'{folder}' exists already; choose another folder or ask to overwrite it.")
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder that could be overwritten; choose another one.")
    others = sorted({entry.name for entry in folder.iterdir()} - {POLICY_JSON, POLICY_WEIGHTS})
    if others:
        raise InputError(
            f"'{folder}' holds other things than a policy (such as '{shorten(others[0])}'), which overwriting would "
            "delete; choose another folder."
        )


def _expected_tensors(folder: Path, description: PolicyDescription) -> dict[str, torch.Tensor]:
    """The tensors that the description asks for, without memory."""
    try:
        with torch.device("meta"):
            return FlowPolicy.blank(description.config).state_dict()
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise InputError(
            f"'{folder / POLICY_JSON}' describes networks that cannot be built ({shorten(str(error))}); {_AGAIN}."
        ) from error


def _check_weights(file: Path, weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Refuses tensors that differ from `expected` in name, shape or type, or hold what no policy can.

    Raises:
        InputError: Naming the tensor.
    """
    for name in sorted(weights.keys() | expected.keys()):
        found, wanted = (
            (tuple(tensors[name].shape), str(tensors[name].dtype).removeprefix("torch.")) if name in tensors else None
            for tensors in (weights, expected)
        )
        if found != wanted:
            raise InputError(
                f"'{file}' does not fit {POLICY_JSON}: tensor '{shorten(name)}' is {_form(found)}, expected "
                f"{_form(wanted)}; {_AGAIN}."
            )
        if not torch.isfinite(weights[name]).all():
            raise InputError(
                f"'{file}' holds values that are not finite (tensor '{name}'): its training diverged; "
                "export an earlier checkpoint."
            )
    for normalizer in ("observation_normalizer", "action_normalizer"):
        if (weights[f"{normalizer}.low"] > weights[f"{normalizer}.high"]).any():
            raise InputError(f"'{file}' has a lower bound above its upper one (tensor '{normalizer}.low'); {_AGAIN}.")


def _form(tensor: tuple[tuple[int, ...], str] | None) -> str:
    return "missing" if tensor is None else f"{tensor[1]} of shape {tensor[0]}"
