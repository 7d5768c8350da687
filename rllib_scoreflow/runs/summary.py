"""The table at the end of ``rllib train``: how it went and where everything is."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from rllib_scoreflow.runs.outcome import Outcome
from rllib_scoreflow.runs.progress import clock


def print_summary(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print the table of the finished stages, and what to type next.

    Args:
        console: where.
        outcomes: in order.
    """
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("experiment", overflow="fold")
    table.add_column("what")
    table.add_column("result or place", overflow="fold")
    for outcome in outcomes:
        rows = [("figures", figures_text(outcome))]
        places = {
            "TensorBoard logs": outcome.folder,
            "checkpoint": outcome.checkpoint,
            "exported policy": outcome.policy,
            "learning curve": outcome.plot,
            "all trials": outcome.sweep,
        }
        rows += [(what, display_path(path)) for what, path in places.items() if path is not None]
        for number, (what, text) in enumerate(rows):
            table.add_row(outcome.name if number == 0 else "", what, text, end_section=number == len(rows) - 1)
    console.print()
    console.print(table)
    last = outcomes[-1]
    target = last.policy or last.checkpoint
    if target is not None:
        # An environment's module is imported only when it is named.
        module = last.policy is not None and isinstance(last.env, str) and ":" in last.env
        named = f" --env {shlex.quote(last.env)}" if module else ""
        console.print(
            f"Evaluate it:   rllib evaluate {as_word(target)}{named} --episodes 20 --seed 0",
            soft_wrap=True,
            markup=False,
        )
    console.print(f"See the logs:  tensorboard --logdir {as_word(last.folder)}", soft_wrap=True, markup=False)


def figures_text(outcome: Outcome) -> str:
    """Return the last figures of a stage in one line.

    Args:
        outcome: the stage's outcome.
    """
    figures = outcome.figures
    parts = []
    if "iterations" in figures:
        plural = "" if figures["iterations"] == 1 else "s"
        parts.append(f"{figures['iterations']:,.0f} iteration{plural}")
    if figures.get("steps"):
        parts.append(f"{figures['steps']:,.0f} env steps")
    parts += [f"{name} {figures[name]:,.1f}" for name in ("return", "evaluation") if name in figures]
    parts += [f"{name} {figures[name]:.4g}" for name in ("train_loss", "validation_loss") if name in figures]
    if "seconds" in figures:
        parts.append(f"in {clock(figures['seconds'])}")
    text = ", ".join(parts)
    return f"{text} (finished earlier)" if outcome.skipped else text


def as_word(path: Path) -> str:
    """Return a path as a word of a command that can be copied to a shell.

    Args:
        path: any path.
    """
    text = display_path(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def display_path(path: Path) -> str:
    """Return a path as a user would type it here: relative when it lies below the working folder.

    Args:
        path: any path.
    """
    absolute = path.resolve()
    try:
        return str(absolute.relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(absolute)
