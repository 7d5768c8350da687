"""BC updates, PPO updates and pixel inference on the CPU and on a GPU, in one run.

    python benchmarks/accelerator.py [--rounds N] [--threads N] [--json PATH]

Each is the product's own path: an epoch of FlowBC and an update of ScoreFlow with `num_gpus_per_learner` 0 and 1 on the
dataset shipped with the package, and `FlowPolicy.act` of a vision policy on 50 observations with one camera of 96
pixels. For the GPU it also counts the copies between host and device that one more denoising step adds to `act`
(there should be none). Without a GPU the CPU's figures are printed alone. Nothing is asserted.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from _parts.report import check_at_least_one, check_json_path, write_json
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.flow.config import ChainConfig, NoiseConfig, ScoreConfig, SDEConfig, VelocityConfig
from rllib_scoreflow.policy.flow_policy import FlowPolicy
from rllib_scoreflow.policy.metadata import PolicyConfig

BC_BATCH, ENVS, CHUNKS, EPOCHS = 4096, 40, 100, 5
VISION_ROWS, IMAGE_SIZE, FEW_STEPS, MANY_STEPS = 50, 96, 4, 16


def bc_rows_per_second(gpus: int, rounds: int, policy_folder: Path) -> float:
    """Dataset rows per second of FlowBC's epochs; the policy of the last one is left in `policy_folder`."""
    config = (
        FlowBCConfig()
        .training(
            dataset="hopper-small",
            denoising_steps=FEW_STEPS,
            train_batch_size_per_learner=BC_BATCH,
            num_torch_threads=torch.get_num_threads(),
        )
        .learners(num_gpus_per_learner=gpus)
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    rows = len(algorithm.offline_data.training) // BC_BATCH * BC_BATCH
    seconds = median_seconds(algorithm.train, rounds)
    algorithm.flow_policy().save(policy_folder)
    algorithm.stop()
    return rows / seconds


def ppo_rows_per_second(gpus: int, rounds: int, policy: Path) -> float:
    """Rows (chunks times epochs) per second of ScoreFlow's update; the rollout before it does not count."""
    config = (
        ScoreFlowConfig()
        .environment("Hopper-v4")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=ENVS, rollout_fragment_length=CHUNKS)
        .learners(num_gpus_per_learner=gpus)
        .training(
            pretrained_policy=str(policy),
            num_epochs=EPOCHS,
            target_kl=None,
            num_torch_threads=torch.get_num_threads(),
        )
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    algorithm.train()
    seconds = statistics.median(algorithm.train()["update_seconds"] for _ in range(rounds))
    algorithm.stop()
    return ENVS * CHUNKS * EPOCHS / seconds


def vision_policy(device: str, denoising_steps: int = FEW_STEPS) -> FlowPolicy:
    """A policy of the size of the Can task's, with fresh weights, on `device`."""
    sde = SDEConfig(
        velocity=VelocityConfig(hidden_dim=512, num_layers=3),
        score=ScoreConfig(strength="mlp"),
        noise=NoiseConfig(kind="learn"),
        chain=ChainConfig(denoising_steps=denoising_steps),
    )
    config = PolicyConfig(
        observation_dim=9, action_dim=7, cameras=("agentview",), image_size=(IMAGE_SIZE, IMAGE_SIZE), sde=sde
    )
    return FlowPolicy.blank(config).to(device).eval()


def observations() -> dict[str, Any]:
    """A batch of random raw observations."""
    rng = np.random.default_rng(0)
    return {
        "state": rng.uniform(-1, 1, (VISION_ROWS, 9)).astype(np.float32),
        "images": rng.integers(0, 256, (VISION_ROWS, 1, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8),
    }


def inference_rows_per_second(device: str, rounds: int) -> float:
    """Observations per second of `act` with exploration, from raw images to raw actions."""
    policy, batch = vision_policy(device), observations()
    return VISION_ROWS / median_seconds(lambda: policy.act(batch, explore=True), 10 * rounds)


def copies_per_denoising_step(device: str) -> float:
    """Copies between host and device that each further denoising step adds."""
    batch = observations()

    def copies(steps: int) -> int:
        policy = vision_policy(device, steps)
        policy.act(batch, explore=True)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            policy.act(batch, explore=True)
        return sum("Memcpy HtoD" in event.name or "Memcpy DtoH" in event.name for event in profiler.events())

    return (copies(MANY_STEPS) - copies(FEW_STEPS)) / (MANY_STEPS - FEW_STEPS)


def median_seconds(work: Callable[[], Any], rounds: int) -> float:
    """Median duration of `work`, which must leave nothing queued on the device, after one run that does not count."""
    work()
    durations = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def measure(gpus: int, rounds: int, folder: Path) -> dict[str, float]:
    """All rates in rows/s on the CPU (`gpus` 0) or on one GPU."""
    device = "cuda" if gpus else "cpu"
    policy = folder / device
    return {
        "BC update": bc_rows_per_second(gpus, rounds, policy),
        "PPO update": ppo_rows_per_second(gpus, rounds, policy),
        "pixel inference": inference_rows_per_second(device, rounds),
    }


def report(cpu: dict[str, float], gpu: dict[str, float] | None, copies: float | None, console: Console) -> None:
    """Prints the table."""
    name = torch.cuda.get_device_name(0) if gpu is not None else "GPU: none here"
    table = Table(title=f"Rows per second, {torch.get_num_threads()} CPU thread(s)")
    for column in ("", "CPU", name, "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for part, rate in cpu.items():
        theirs = ("not yet measured", "") if gpu is None else (f"{gpu[part]:,.0f}", f"{gpu[part] / rate:.1f}")
        table.add_row(part, f"{rate:,.0f}", *theirs)
    console.print(table)
    if copies is not None:
        console.print(f"Copies between host and device per denoising step: {copies:g}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds of each (5)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures to a new file")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (1)")
    options = parser.parse_args()
    check_at_least_one(parser, options, "rounds", "threads")
    check_json_path(parser, options.json)
    torch.set_num_threads(options.threads)
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory(prefix="accelerator-") as folder:
            cpu = measure(0, options.rounds, Path(folder))
            found = torch.cuda.is_available()
            gpu = measure(1, options.rounds, Path(folder)) if found else None
            copies = copies_per_denoising_step("cuda") if found else None
    finally:
        ray.shutdown()
    report(cpu, gpu, copies, Console(width=100))
    if options.json is not None:
        write_json({"cpu": cpu, "gpu": gpu, "copies_per_denoising_step": copies}, options.json)


if __name__ == "__main__":
    main()
