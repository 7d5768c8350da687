"""The checks of options that the benchmarks share, the bars, the table and the JSON file of a run."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rllib_scoreflow.files.atomic import atomic_path

PRETRAINING_BAR = 0.90
ROLLOUT_BAR = 0.20
UPDATE_BAR = 0.85
MIB = 1024.0


def bars(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Every bar with the value on both clocks and whether it is met on each.

    Args:
        figures: `pretraining`, `rollout` and `update` as they were measured.
    """
    rows = [
        ("pretraining: samples/s as a share of the bare loop", ">=", PRETRAINING_BAR, figures["pretraining"]["ratio"]),
        ("rollout: time that is neither environment nor policy", "<=", ROLLOUT_BAR, figures["rollout"]["else"]),
        ("update: time in forward, backward and optimiser", ">=", UPDATE_BAR, figures["update"]["gradients"]),
    ]
    return [
        {
            "name": name,
            "relation": relation,
            "bar": bar,
            **value,
            "met": {clock: share >= bar if relation == ">=" else share <= bar for clock, share in value.items()},
        }
        for name, relation, bar, value in rows
    ]


def print_report(report: dict[str, Any], console: Console) -> None:
    """Prints the figures and which bars they meet."""
    settings = report["settings"]
    table = Table(
        title=f"{settings['env_id']}, {settings['num_envs']} environments, {settings['threads']} torch thread(s)"
    )
    for column, justify in (("figure", "left"), ("wall clock", "right"), ("CPU time", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for section in (_pretraining_rows, _rollout_rows, _update_rows):
        for name, value, form in section(report):
            table.add_row(name, form.format(value["wall"]), form.format(value["cpu"]))
        table.add_section()
    console.print(table)
    memory = report["peak_memory_mib"]
    console.print(
        f"Peak memory: this process {memory['self']:.0f} MiB, largest of Ray's processes {memory['children']:.0f} MiB"
    )
    if not report["rollout"]["replay_met_the_same_rewards"]:
        console.print("The repeated rollouts met other rewards: their step rate is not comparable.", style="red")
    for bar in report["bars"]:
        met = bar["met"]
        console.print(
            f"{bar['name']} {bar['relation']} {bar['bar']:.0%}: "
            f"wall {bar['wall']:.1%} ({_word(met['wall'])}), CPU {bar['cpu']:.1%} ({_word(met['cpu'])})"
        )
    console.print("CPU columns are per CPU second of this process; other load on the machine distorts them less.")


def check_json_path(parser: argparse.ArgumentParser, path: Path | None) -> None:
    """Ends with status 2 and one sentence, before anything is measured, if `--json PATH` cannot be a new file."""
    if path is not None and path.exists():
        parser.error(f"'{path}' exists already; name a new file.")
    if path is not None and not path.absolute().parent.is_dir():
        parser.error(f"there is no folder '{path.parent}' to write '{path.name}' to; create it.")


def check_at_least_one(parser: argparse.ArgumentParser, options: argparse.Namespace, *names: str) -> None:
    """Ends with status 2 and one sentence if an option that counts something, one number or several, is below 1."""
    for name in names:
        given = getattr(options, name)
        for count in given if isinstance(given, list) else [given]:
            if count < 1:
                parser.error(f"--{name} must be at least 1, not {count}.")


def write_json(report: dict[str, Any], path: Path) -> None:
    """Writes the report whole or not at all.

    Raises:
        OSError: If the folder cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")


def _word(met: bool) -> str:
    return "met" if met else "not met"


def _pretraining_rows(report: dict[str, Any]) -> list[tuple[str, dict[str, float], str]]:
    part = report["pretraining"]
    return [
        ("pretraining: samples/s", part["samples_per_second"], "{:,.0f}"),
        ("  bare loop, same optimiser: samples/s", part["bare_samples_per_second"], "{:,.0f}"),
        ("  bare loop, torch's default AdamW: samples/s", part["bare_default_adamw_samples_per_second"], "{:,.0f}"),
        ("  share of the bare loop", part["ratio"], "{:.1%}"),
    ]


def _rollout_rows(report: dict[str, Any]) -> list[tuple[str, dict[str, float], str]]:
    part = report["rollout"]
    return [
        (f"rollout: env steps/s ({part['backend']})", part["env_steps_per_second"], "{:,.0f}"),
        ("  same environment, fixed actions: env steps/s", part["env_only_steps_per_second"], "{:,.0f}"),
        ("  environment", part["environment"], "{:.1%}"),
        ("  policy", part["policy"], "{:.1%}"),
        ("  everything else", part["else"], "{:.1%}"),
        ("    in sample()", part["else_in_sample"], "{:.1%}"),
        ("    around it (Ray, statistics, reward scaling)", part["else_around_sample"], "{:.1%}"),
    ]


def _update_rows(report: dict[str, Any]) -> list[tuple[str, dict[str, float], str]]:
    part = report["update"]
    return [
        (f"update: rows/s ({part['num_epochs']} epochs of {part['rows']:,} rows)", part["rows_per_second"], "{:,.0f}"),
        ("  forward and loss", _total(part["forward"], part["loss"]), "{:.1%}"),
        ("  backward", part["backward"], "{:.1%}"),
        ("  optimiser", part["optimiser"], "{:.1%}"),
        ("  everything else", part["else"], "{:.1%}"),
        ("    in the Learner (connector, minibatches, clipping, diagnostics)", part["else_in_learner"], "{:.1%}"),
        ("    around it (Ray, weight sync, results)", part["else_around_learner"], "{:.1%}"),
        ("  GFLOP/s", _scaled(part["flops_per_second"]), "{:,.1f}"),
        ("  float32 matrix multiply of this machine: GFLOP/s", _scaled(part["matmul_flops_per_second"]), "{:,.1f}"),
        ("  share of that rate", part["share_of_matmul_rate"], "{:.1%}"),
    ]


def _total(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {clock: first[clock] + second[clock] for clock in first}


def _scaled(rate: dict[str, float]) -> dict[str, float]:
    return {clock: value / 1e9 for clock, value in rate.items()}
