"""The policy artefact: a folder with safetensors weights and a JSON description."""

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn
from torch.overrides import TorchFunctionMode

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.atomic import atomic_folder
from rllib_scoreflow.files.policy_folder import POLICY_JSON, POLICY_WEIGHTS, check_target
from rllib_scoreflow.policy.metadata import PolicyConfig, PolicyDescription, PolicyMetadata, read_metadata

_AGAIN = "copy the policy folder again, or export it again from its checkpoint"
# What a safetensors file may hold beside its tensors: names, shapes, free text.
_HEADER_BYTES = 16 << 20
# While networks are built there are tensors that the file does not hold: initial values, positions in time.
_SPARE_NUMBERS = 4 << 20
_MAX_BYTES = 1 << 36


Network = TypeVar("Network", bound=nn.Module)
_EARLIER_NAMES = {"sde.strength.gain.": "sde.alpha.network."}


def write_policy(
    path: str | Path,
    config: PolicyConfig,
    metadata: PolicyMetadata,
    weights: Mapping[str, torch.Tensor],
    *,
    overwrite: bool = False,
) -> Path:
    """Writes `policy.safetensors` and `policy.json` into the folder `path`; complete or not at all.

    Raises:
        InputError: If `path` exists and `overwrite` is False, or it is anything but a policy's folder.
    """
    folder = Path(path)
    check_target(folder, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    content = save({name: value.contiguous().cpu() for name, value in weights.items()})
    digest = hashlib.sha256(content).hexdigest()
    description = PolicyDescription(weights_sha256=digest, config=config, metadata=metadata)
    with atomic_folder(folder) as staging:
        (staging / POLICY_WEIGHTS).write_bytes(content)
        (staging / POLICY_JSON).write_text(description.to_json(), "utf-8")
    return folder


def read_policy(path: str | Path, build: Callable[[PolicyConfig, PolicyMetadata], Network]) -> Network:
    """Loads the policy in the folder `path` into what `build` makes; nothing in it is unpickled or imported.

    Sizes are compared before anything of these sizes is allocated.

    Args:
        path: Folder of the policy.
        build: Makes the networks that a description asks for, with any weights.

    Raises:
        InputError: If a file is missing, truncated or altered, the weights do not fit the description, or a value is
            not finite or out of order.
    """
    folder = Path(path)
    description = read_metadata(folder)
    file = folder / POLICY_WEIGHTS
    if not file.is_file():
        raise InputError(f"'{folder}' has no {POLICY_WEIGHTS}; export the policy again.")
    size = file.stat().st_size
    policy = _build(folder, description, size, build)
    expected = policy.state_dict()
    needed = sum(tensor.numel() * tensor.element_size() for tensor in expected.values())
    if not needed <= size <= needed + _HEADER_BYTES:
        raise InputError(_sizes_differ(file, size, needed))
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != description.weights_sha256:
        raise InputError(
            f"'{file}' is not the file that {POLICY_JSON} describes (sha256 differs: truncated or altered); {_AGAIN}."
        )
    try:
        weights = {rename_earlier(name): tensor for name, tensor in load(content).items()}
    except SafetensorError as error:
        raise InputError(f"'{file}' is not a safetensors file ({shorten(str(error))}); {_AGAIN}.") from error
    _check_weights(file, weights, expected)
    policy.load_state_dict(weights)
    policy.eval()
    return policy


def rename_earlier(tensor: str) -> str:
    """The name that a tensor has now, of one as this or an earlier version wrote it."""
    for then, now in _EARLIER_NAMES.items():
        if tensor.startswith(then):
            return now + tensor.removeprefix(then)
    return tensor


class _TooLargeError(Exception):
    """More numbers were asked for than a file can hold."""


class _Budget(TorchFunctionMode):
    """Lets torch make tensors of so many numbers in all, and raises before it would make more."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self._left = numbers

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES:
            size = kwargs.get("size", args[0] if args and not isinstance(args[0], int) else args)
            self._left -= math.prod(number for number in size if isinstance(number, int))
            if self._left < 0:
                raise _TooLargeError
        return func(*args, **kwargs)


_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full})


def _build(
    folder: Path, description: PolicyDescription, size: int, build: Callable[[PolicyConfig, PolicyMetadata], Network]
) -> Network:
    """The networks that the description asks for, if weights of `size` bytes can be its.

    Raises:
        InputError: They cannot, or the description contradicts itself.
    """
    file = folder / POLICY_WEIGHTS
    if size > _MAX_BYTES:
        raise InputError(f"'{file}' has {size} bytes, more than any policy; {_AGAIN}.")
    try:
        # Weights hardly compress: of a file whose disk blocks are far fewer than its bytes, most is a hole.
        held = min(size, 10 * 512 * (folder / POLICY_WEIGHTS).stat().st_blocks or size)
        with _Budget(held // 2 + _SPARE_NUMBERS):
            return build(description.config, description.metadata)
    except _TooLargeError:
        raise InputError(_sizes_differ(file, size, None)) from None
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise InputError(
            f"'{folder / POLICY_JSON}' describes networks that cannot be built ({shorten(str(error))}); {_AGAIN}."
        ) from error


def _sizes_differ(file: Path, size: int, needed: int | None) -> str:
    return (
        f"'{file}' has {size} bytes and the tensors that {POLICY_JSON} describes have "
        f"{'far more' if needed is None else needed}: one of the two files was truncated or altered; {_AGAIN}."
    )


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
