"""``rllib policy export``."""

import json
from pathlib import Path
from typing import Any, Literal, cast

from rllib_scoreflow.cli.evaluate import check_start, check_variant
from rllib_scoreflow.experiments.weights import require_policy


def run_policy_export(
    path: Path,
    output: Path,
    *,
    variant: str | None,
    denoising_steps: int | None,
    start: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the policy at `path` as an ONNX file, and print what the file says about itself.

    Args:
        path: a policy folder, or a folder with one in ``policy/``.
        output: the .onnx file.
        variant: "flow" for the plain flow, "scoreflow" for the drift it was trained with, None for its own.
        denoising_steps: K, or None for the policy's own.
        start: where its chains start, None for the policy's own.
        overwrite: replace `output` if it exists.
        as_json: print JSON.

    Raises:
        InputError: there is no policy or it is broken, it has no such variant or start or is not made for this K,
            `output` cannot be written, a package is missing, or the file's actions differ from torch's.
    """
    folder = require_policy(path, "rllib policy export")
    from rllib_scoreflow.policy import FlowPolicy
    from rllib_scoreflow.policy.onnx_export import ACTIONS, NOISE, check_export, export_onnx

    check_export(output, overwrite=overwrite)
    policy = FlowPolicy.load(folder)
    check_variant(folder, policy, variant)
    check_start(folder, policy, start)
    if variant != "flow" and denoising_steps is not None:
        policy.sde.check_steps(denoising_steps, str(folder))
    if start is not None:
        policy = policy.with_start(cast(Any, start))
    mode: Literal["policy", "flow"] = "flow" if variant == "flow" else "policy"
    about = export_onnx(policy, output, mode=mode, denoising_steps=denoising_steps, overwrite=overwrite)
    if as_json:
        print(json.dumps({"policy": str(folder), "output": str(output), **about}, indent=2))
        return
    from rllib_scoreflow.observations import IMAGES, STATE

    seen = [STATE] if policy.encoder is None else [STATE, IMAGES]
    inputs = [*seen, NOISE] if about["start"] == "normal" else seen
    print(f"{output}: {', '.join(inputs)} -> {ACTIONS}, checked against torch")
    width = max(len(name) for name in about)
    for name, value in about.items():
        print(f"{name:<{width}}  {value}")
