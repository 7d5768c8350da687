"""How rollouts scale with EnvRunners on this machine, and where 64 of them and 8 Learners would saturate.

    python benchmarks/scaling.py [--runners 1 2 4] [--iterations N] [--json PATH]

It pretrains a policy on the dataset shipped with the package for one epoch and runs ScoreFlow with remote EnvRunners
of 40 Hopper environments each. The table says per number of EnvRunners: env steps/s, the same relative to one
EnvRunner, and the share of the EnvRunners' time that is neither environment nor policy: Ray, waiting for the slowest,
and, where there are more EnvRunners than cores, nothing (their env and policy time then contains waiting for a core).

The estimate adds up what an iteration consists of, one after the other: rollout (measured rate of one EnvRunner times
their number), the main process (unpacking the episodes, statistics, packing them for the Learners: measured per env
step) and update (measured rows/s of one Learner times their number). Nothing is asserted.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from _parts.report import check_at_least_one, check_json_path, write_json
from _parts.settings import HORIZON
from rich.console import Console
from rich.table import Table

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlow, ScoreFlowConfig

ENVS, CHUNKS, EPOCHS = 40, 250, 5
MEASURED_EPOCHS = 1  # of an update here: the rate is per row
ESTIMATES = ((1, 1), (8, 1), (64, 1), (64, 8))


def pretrained(folder: Path) -> Path:
    """A policy after one epoch."""
    algorithm = FlowBCConfig().training(dataset="hopper-small", denoising_steps=4).debugging(seed=0).build_algo()
    algorithm.train()
    path: Path = algorithm.flow_policy().save(folder)
    algorithm.stop()
    return path


def build(policy: Path, runners: int) -> ScoreFlow:
    """ScoreFlow with `runners` EnvRunners in processes of their own and the Learner in this one."""
    algorithm: ScoreFlow = (
        ScoreFlowConfig()
        .environment("Hopper-v4")
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=ENVS, rollout_fragment_length=CHUNKS)
        .training(pretrained_policy=str(policy), num_epochs=MEASURED_EPOCHS, target_kl=None, num_torch_threads=1)
        .debugging(seed=0)
        .build_algo()
    )
    return algorithm


def measure(policy: Path, runners: int, iterations: int) -> dict[str, float]:
    """Medians over `iterations` after one that is not measured."""
    algorithm = build(policy, runners)
    algorithm.train()
    rows = []
    for _ in range(iterations):
        started = time.perf_counter()
        result = algorithm.train()
        seconds = time.perf_counter() - started
        steps, rollout = result["env_steps_this_iteration"], result["rollout_seconds"]
        busy = result["seconds_in_env"] + result["seconds_in_policy"]
        rows.append(
            {
                "env_steps_per_second": steps / rollout,
                "neither_env_nor_policy": 1.0 - busy / (runners * rollout),
                "rows_per_second": runners * ENVS * CHUNKS * MEASURED_EPOCHS / result["update_seconds"],
                "other_seconds_per_step": (seconds - rollout - result["update_seconds"]) / steps,
            }
        )
    figures = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    figures |= _messages(algorithm, steps / runners)
    algorithm.stop()
    return figures


def _messages(algorithm: ScoreFlow, steps: float) -> dict[str, float]:
    """Bytes per env step of an EnvRunner's message, bytes of the weights, seconds per env step to pack and unpack."""
    packed = next(iter(algorithm.env_runner_group.foreach_env_runner(_packed_sample, local_env_runner=False)))
    ray.cloudpickle.loads(packed)  # the first time imports what the episodes consist of
    started = time.perf_counter()
    episodes = ray.cloudpickle.loads(packed)
    ray.cloudpickle.dumps(episodes)
    seconds = time.perf_counter() - started
    weights = sum(value.numel() * value.element_size() for value in algorithm.policy_template().state_dict().values())
    return {
        "bytes_per_step": len(packed) / steps,
        "weights_bytes": float(weights),
        "packing_seconds_per_step": seconds / steps,
    }


def _packed_sample(runner: Any) -> bytes:
    packed: bytes = ray.cloudpickle.dumps(runner.sample())
    return packed


def estimate(one: dict[str, float], runners: int, learners: int) -> dict[str, float]:
    """Seconds of an iteration's three parts with these numbers of EnvRunners and Learners, and env steps/s overall."""
    steps = float(runners * ENVS * CHUNKS * HORIZON)
    parts = {
        "rollout": steps / runners / one["env_steps_per_second"],
        "main": steps * (one["packing_seconds_per_step"] + one["other_seconds_per_step"]),
        "update": steps / HORIZON * EPOCHS / (learners * one["rows_per_second"]),
    }
    return parts | {"env_steps_per_second": steps / sum(parts.values())}


def report(figures: dict[int, dict[str, float]], estimates: list[dict[str, Any]], console: Console) -> None:
    """Prints both tables."""
    first = next(iter(figures.values()))
    table = Table(title=f"Hopper-v4, {ENVS} environments per EnvRunner")
    for name in ("EnvRunners", "env steps/s", "x one", "neither env nor policy"):
        table.add_column(name, justify="right")
    for runners, row in figures.items():
        rate = row["env_steps_per_second"]
        table.add_row(
            str(runners),
            f"{rate:,.0f}",
            f"{rate / first['env_steps_per_second']:.2f}",
            f"{row['neither_env_nor_policy']:.1%}",
        )
    console.print(table)
    console.print(
        f"Message: {first['bytes_per_step']:,.0f} bytes per env step; packing and unpacking it "
        f"{1e6 * first['packing_seconds_per_step']:.1f} us per env step; "
        f"weights {first['weights_bytes'] / 1e6:.1f} MB; update {first['rows_per_second']:,.0f} rows/s"
    )
    table = Table(title=f"Estimate: seconds of an iteration ({ENVS} x {CHUNKS} chunks per EnvRunner, {EPOCHS} epochs)")
    for name in (
        "EnvRunners",
        "Learners",
        "rollout",
        "main process",
        "update",
        "env steps/s",
        "MB/s to the main process",
    ):
        table.add_column(name, justify="right")
    for row in estimates:
        table.add_row(
            str(row["runners"]),
            str(row["learners"]),
            *(f"{row[name]:.1f}" for name in ("rollout", "main", "update")),
            f"{row['env_steps_per_second']:,.0f}",
            f"{row['env_steps_per_second'] * first['bytes_per_step'] / 1e6:.1f}",
        )
    console.print(table)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--runners", type=int, nargs="+", default=[1, 2, 4], help="numbers of EnvRunners (1 2 4)")
    parser.add_argument("--iterations", type=int, default=3, help="measured iterations of each (3)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures to a new file")
    options = parser.parse_args()
    check_at_least_one(parser, options, "runners", "iterations")
    check_json_path(parser, options.json)
    # More CPUs than there may be, so that every EnvRunner is placed.
    ray.init(address="local", num_cpus=max(options.runners) + 1, include_dashboard=False, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
            policy = pretrained(Path(folder) / "policy")
            figures = {runners: measure(policy, runners, options.iterations) for runners in options.runners}
    finally:
        ray.shutdown()
    one = next(iter(figures.values()))
    estimates = [{"runners": n, "learners": m, **estimate(one, n, m)} for n, m in ESTIMATES]
    report(figures, estimates, Console(width=120))
    if options.json is not None:
        write_json({"measured": {str(n): row for n, row in figures.items()}, "estimates": estimates}, options.json)


if __name__ == "__main__":
    main()
