"""``rllib demo``: pretrain, fine-tune, evaluate both policies, and show what was gained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_scoreflow.cli.evaluate import evaluate_flow_policy
from rllib_scoreflow.cli.evaluate_options import EvaluateOptions
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.spec import read_experiments
from rllib_scoreflow.experiments.weights import require_policy
from rllib_scoreflow.runs.plan import TrainOptions, train


@dataclass(frozen=True)
class Comparison:
    """One row of the table: a policy and what it returned."""

    name: str
    found: dict[str, Any]


def run_demo(file: Path, options: TrainOptions, *, episodes: int) -> None:
    """Run the experiments of `file`, then evaluate the first and the last one's policy alike.

    Args:
        file: an experiment file whose first experiment pretrains and whose last one fine-tunes.
        options: as of ``rllib train``.
        episodes: evaluation episodes per policy, on seeds that training did not use.

    Raises:
        InputError: the file is not there, or anything in it is wrong.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist here; run the demo in a checkout of the project, or give --file.")
    raw = read_experiments(file)
    train(raw, str(file), file.parent, file.stem, options)
    names = list(raw)
    folder = options.results_dir / file.stem
    evaluation = EvaluateOptions(episodes=episodes, seed=777)
    rows = [
        Comparison(name, evaluate_flow_policy(require_policy(folder / name, name), evaluation))
        for name in (names[0], names[-1])
    ]
    print_comparison(rows)


def print_comparison(rows: list[Comparison]) -> None:
    """Print the table before/after and the gain of the last row over the first.

    Args:
        rows: at least two, the first one being what the last one is compared with.
    """
    from rich.table import Table

    from rllib_scoreflow.terminal import new_console

    table = Table(title=f"Deterministic return, {rows[0].found['episodes']} episodes each", title_justify="left")
    for heading in ("policy", "mean return", "standard error", "episode length", "K"):
        table.add_column(heading, justify="left" if heading == "policy" else "right")
    for row in rows:
        found = row.found
        cells = (f"{found['return_mean']:.0f}", f"{found['return_stderr']:.0f}", f"{found['length_mean']:.0f}")
        table.add_row(f"{row.name} ({found['variant']})", *cells, str(found["denoising_steps"]))
    console = new_console()
    console.print(table)
    before, after = (row.found["return_mean"] for row in (rows[0], rows[-1]))
    if before > 0:
        console.print(f"Fine-tuning changed the return by {100.0 * (after / before - 1.0):+.0f} %.")
