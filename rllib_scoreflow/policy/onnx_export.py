"""A policy as one ONNX file: raw observations and, where it starts from it, noise in, raw action chunks out."""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import atomic_path, find_obstacle
from rllib_scoreflow.flow.kernel import Step
from rllib_scoreflow.flow.time_grid import time_grid
from rllib_scoreflow.observations import IMAGES, STATE
from rllib_scoreflow.policy.flow_policy import FlowPolicy
from rllib_scoreflow.versions import __version__

NOISE = "noise"
ACTIONS = "actions"
TOLERANCE = 1e-5
"""How far the file's actions may be from torch's, as a share of the largest action of a dimension (`tolerance_of`)."""
_ROUNDING = 1e-6  # of a network's output, in float32, where two runtimes add in different orders

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_export(target: Path, *, overwrite: bool = False) -> None:
    """Refuses an export that could not be written or checked.

    Raises:
        InputError: If `target` does not end in .onnx, has no folder, or exists and `overwrite` is False; if a package
            of the extra `onnx` is missing.
    """
    if target.suffix != ".onnx":
        raise InputError(f"'{target}' is no name for an ONNX file; choose one that ends in .onnx.")
    if not target.parent.is_dir():
        raise InputError(f"'{target}' cannot be written: its folder '{target.parent}' does not exist; create it first.")
    if target.is_dir() or (target.exists() and not overwrite):
        raise InputError(f"'{target}' exists already; choose another name or ask to overwrite it (--overwrite).")
    reason = find_obstacle(target)
    if reason is not None:
        raise InputError(f"'{target}' cannot be written ({reason}); choose another place.")
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f"ONNX files are written with {' and '.join(missing)}, not installed here; "
            "run `pip install 'rllib-scoreflow[onnx]'`."
        )


def export_onnx(
    policy: FlowPolicy,
    target: str | Path,
    *,
    mode: Literal["policy", "flow"] = "policy",
    denoising_steps: int | None = None,
    overwrite: bool = False,
) -> dict[str, str]:
    """Writes `target`, a graph that answers as `policy.act(observation, initial=noise)` does, without exploration.

    Its inputs are `state` (float32 `[B, O]`), with cameras `images` (uint8 `[B, V, H, W, 3]`), and where the chain
    starts from a draw `noise` (float32 `[B, H * A]`, to be drawn from a standard normal); its output is `actions`
    (float32 `[B, H, A]`). `B` is free, the number of denoising steps and a start that is not drawn are fixed. Before
    the file appears its actions are compared with torch's.

    Args:
        policy: Any kind and variant; it is left as it is.
        target: A new file whose name ends in .onnx.
        mode: `"policy"` follows the drift the policy was trained with, `"flow"` the plain flow (`alpha = 0`).
        denoising_steps: Number of steps `K`; the policy's own when `None`.
        overwrite: Replace `target` if it exists.

    Returns:
        What the file says about itself, `describe(policy, K)`.

    Raises:
        InputError: As `check_export`; if `denoising_steps` is below 1 or not what the drift is made for, or ONNX
            Runtime's actions differ from torch's.
    """
    target = Path(target)
    check_export(target, overwrite=overwrite)
    steps = policy.config.sde.chain.denoising_steps if denoising_steps is None else denoising_steps
    if steps < 1:
        raise InputError(f"denoising_steps is {steps}; a chain needs at least one step.")
    still = copy.deepcopy(policy).cpu().eval()
    if mode == "flow":
        still = still.plain_flow().eval()
    still.sde.check_steps(steps)
    program = _trace(still, steps)
    about = describe(still, steps)
    program.model.metadata_props.update(about)
    with atomic_path(target) as temporary:
        program.save(temporary, external_data=False)
        _compare(temporary, still, steps)
    return about


def tolerance_of(policy: FlowPolicy, denoising_steps: int) -> float:
    """How far the file's actions may be from torch's, as a share of the largest action of a dimension.

    `TOLERANCE`, or more where a step multiplies what the network's output is rounded by, as the first one of a noise
    predictor does.
    """
    path, times = policy.sde.path, time_grid(denoising_steps).unsqueeze(-1)
    step = Step.on(path, times, 1.0 / denoising_steps)
    # Data and noise are linear in the output: this is the mean's derivative by it.
    factor = step.mean(*path.estimates(torch.ones_like(times), torch.zeros_like(times), step.a, step.b), step.c)
    return max(TOLERANCE, _ROUNDING * float(factor.abs().max()))


def describe(policy: FlowPolicy, denoising_steps: int) -> dict[str, str]:
    """What an exported file says about itself, as ONNX's metadata: all values are text, unknown ones are left out."""
    config, metadata = policy.config, policy.metadata
    facts = {
        "rllib_scoreflow": __version__,
        "observation_dim": config.observation_dim,
        "action_dim": config.action_dim,
        "horizon": config.horizon,
        "act_steps": config.act_steps,
        "denoising_steps": denoising_steps,
        "kind": config.sde.velocity.kind,
        "variant": metadata.variant,
        "start": config.sde.chain.start,
        "env_id": metadata.env_id,
        "env_config": json.dumps(metadata.env_config) if metadata.env_config else None,
        "cameras": json.dumps(config.cameras) if config.cameras else None,
        "image_shape": json.dumps(config.image_shape) if config.cameras else None,
        "dataset": metadata.dataset,
        "dataset_sha256": metadata.dataset_sha256,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


class _Denoiser(nn.Module):
    """The policy without exploration, its inputs one by one as ONNX takes them."""

    def __init__(self, policy: FlowPolicy, denoising_steps: int) -> None:
        super().__init__()
        self.policy = policy
        self.denoising_steps = denoising_steps

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The inputs of the file, in its order, to `actions [B, H, A]`."""
        given = dict(zip(_input_names(self.policy), inputs, strict=True))
        noise = given.pop(NOISE, None)
        observation = given if self.policy.encoder is not None else given[STATE]
        chain = self.policy.distribution(observation, self.denoising_steps).sample(initial=noise, explore=False)
        config = self.policy.config
        return self.policy.to_actions(chain[:, -1]).view(-1, config.horizon, config.action_dim)


def _input_names(policy: FlowPolicy) -> list[str]:
    seen = [STATE] if policy.encoder is None else [STATE, IMAGES]
    return [*seen, NOISE] if policy.config.sde.chain.start == "normal" else seen


def _trace(policy: FlowPolicy, denoising_steps: int) -> torch.onnx.ONNXProgram:
    # Tracing takes an axis of length 1 for a constant, so the batch is longer.
    inputs = {name: torch.from_numpy(value) for name, value in _some_inputs(policy, 3).items()}
    batch = torch.export.Dim("batch", min=1)
    with _silence_exporter():
        program = torch.onnx.export(
            _Denoiser(policy, denoising_steps).eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[ACTIONS],
            dynamic_shapes=(tuple({0: batch} for _ in inputs),),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # the Python stack of every node: large, and full of this machine's paths
    return program


def _compare(file: Path, policy: FlowPolicy, denoising_steps: int) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    normalizer = policy.action_normalizer
    tolerance = tolerance_of(policy, denoising_steps)
    largest = (normalizer.middle.abs() + normalizer.half_range).numpy()
    for rows in (1, 16):
        inputs = _some_inputs(policy, rows)
        observation: Any = {name: value for name, value in inputs.items() if name != NOISE}
        expected = policy.act(
            observation if policy.encoder is not None else observation[STATE],
            denoising_steps=denoising_steps,
            initial=inputs.get(NOISE),
        )
        (found,) = session.run([ACTIONS], inputs)
        deviation = float(np.max(np.abs(found - expected.reshape(found.shape)) / largest))
        if not deviation <= tolerance:  # true for NaN as well
            raise InputError(
                f"ONNX Runtime's actions differ from torch's by {deviation:.1e} of the largest action with "
                f"K = {denoising_steps}, more than {tolerance:.0e}, so no file was written; try fewer denoising steps."
            )


def _some_inputs(policy: FlowPolicy, rows: int) -> dict[str, Any]:
    """Inputs by name: states from the dataset's range and a little beyond it, images of random pixels, noise."""
    rng = np.random.default_rng(rows)
    config = policy.config
    state = torch.from_numpy(rng.uniform(-1.2, 1.2, (rows, config.observation_dim)).astype(np.float32))
    inputs: dict[str, Any] = {STATE: policy.observation_normalizer.denormalize(state).numpy()}
    if config.image_shape is not None:
        inputs[IMAGES] = rng.integers(0, 256, (rows, *config.image_shape), dtype=np.uint8)
    noise = rng.standard_normal((rows, config.chunk_dim), dtype=np.float32)
    return {name: inputs.get(name, noise) for name in _input_names(policy)}


@contextmanager
def _silence_exporter() -> Iterator[None]:
    """Keeps away what torch's exporter says about torch itself: deprecations within it and optional packages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
