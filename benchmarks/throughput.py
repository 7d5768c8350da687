"""Speed of pretraining, rollouts and updates, relative to what the machine can do, in one run.

    python benchmarks/throughput.py [--quick] [--json PATH] [--threads N] [--envs N] [--env NAME]

It trains FlowBC and then ScoreFlow through Ray, with their defaults and the dataset shipped with the package, and
reports ratios within the run:

- pretraining: samples/s of FlowBC's epochs, each between two runs of a bare loop of gradient steps;
- rollout: env steps/s, the split environment / policy / everything else, and the same environment stepped with the
  same actions and nothing else;
- update: rows/s, the split forward + backward + optimiser / everything else, and FLOP/s as a share of the machine's
  float32 matrix-multiply rate;
- peak memory.

Every figure is given by wall clock and by CPU time. Nothing is asserted: the bars are printed as met or not met.
"""

import argparse
import dataclasses
import logging
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import torch
from _parts.finetuning import measure_finetuning
from _parts.pretraining import measure_pretraining
from _parts.report import MIB, bars, check_at_least_one, check_json_path, print_report, write_json
from _parts.settings import TASKS, Settings, Task
from rich.console import Console

from rllib_scoreflow.versions import installed_versions


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; ends with status 2 and one sentence if something in it is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a short run of less than a minute on a quiet machine")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures to a new file")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (1: as FlowBC by default)")
    parser.add_argument("--envs", type=int, default=40, help="environments (40)")
    parser.add_argument(
        "--env", default="hopper", help=f"{', '.join(TASKS)}, or a D4RL dataset id, which is downloaded once (hopper)"
    )
    options = parser.parse_args(arguments)
    check_at_least_one(parser, options, "threads", "envs")
    check_json_path(parser, options.json)
    return options


def measure(settings: Settings) -> dict[str, Any]:
    """Runs both algorithms and returns all figures."""
    started = time.perf_counter()
    ray.init(
        address="local",
        num_cpus=settings.threads + 1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
            policy_folder = Path(folder) / "policy"
            pretraining = measure_pretraining(settings, policy_folder)
            finetuning = measure_finetuning(settings, policy_folder)
    finally:
        ray.shutdown()
    report: dict[str, Any] = {
        "settings": dataclasses.asdict(settings),
        "machine": {
            "cpu_count": os.cpu_count(),
            "load_average_at_end": os.getloadavg(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            **installed_versions(),
        },
        "pretraining": pretraining,
        **finetuning,
        "peak_memory_mib": peak_memory(),
        "seconds": time.perf_counter() - started,
    }
    report["bars"] = bars(report)
    return report


def peak_memory() -> dict[str, float]:
    """Peak resident memory in MiB of this process and of the largest process that it started and that has ended."""
    # Linux reports KiB, macOS bytes.
    unit = MIB if sys.platform != "darwin" else MIB * MIB
    return {
        "self": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
        "children": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit,
    }


def main() -> None:
    """Measures, prints, and writes the JSON file if one was asked for."""
    options = parse_arguments()
    task = TASKS.get(options.env, Task(options.env, options.env))
    make = Settings.quick if options.quick else Settings
    settings = make(task.dataset, task.env_id, options.envs, options.threads)
    torch.set_num_threads(settings.threads)
    report = measure(settings)
    print_report(report, Console())
    if options.json is not None:
        write_json(report, options.json)
        print(f"All figures: {options.json}")


if __name__ == "__main__":
    main()
