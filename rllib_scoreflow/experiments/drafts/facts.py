"""What a draft's choices are made from."""

from dataclasses import dataclass
from typing import Any

from rllib_scoreflow.data import DatasetInfo
from rllib_scoreflow.data.analysis import Analysis
from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.experiments.drafts.environment import FoundEnv

WIDTHS = (256, 512)
_BATCH, _SMALL_BATCH, _LEAST_BATCHES = 256, 64, 10


def choose_batch(num_chunks: int) -> int:
    """Chunks of a gradient step of cloning: as measured in `tuned_examples`, smaller where an epoch has few of them.

    Args:
        num_chunks: of the dataset.
    """
    return _BATCH if num_chunks >= _LEAST_BATCHES * _BATCH else _SMALL_BATCH


@dataclass(frozen=True)
class Choice:
    """One key of an experiment's `config`, with its reason: sentences without the last full stop."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Steps that a policy decides at a time, and why."""

    steps: int
    reason: str


@dataclass(frozen=True)
class Facts:
    """All that is known before the choices.

    Attributes:
        dataset: what stands behind `dataset:`.
        options: what of it is read.
        info: what it says of itself.
        analysis: what was measured of it.
        num_chunks: chunks of the chosen length.
        num_training_chunks: those that are not held out.
        validation_fraction: share of the episodes that are held out, 0 where there is only one.
        chunk: the chosen length.
        found: the environment.
        limit: time limit of an episode in steps, of the environment or (where it has none) the longest recorded one.
        simulator_speed: environment steps per second of one process, None without an environment.
        batch: chunks of a gradient step of cloning.
        gradient_speeds: by width, such gradient steps per second on one thread.
        minutes: how long the file may take.
        plugins: modules of the user's own that reading or playing needs.
    """

    dataset: str
    options: ReadOptions
    info: DatasetInfo
    analysis: Analysis
    num_chunks: int
    num_training_chunks: int
    validation_fraction: float
    chunk: Chunk
    found: FoundEnv
    limit: int
    simulator_speed: float | None
    batch: int
    gradient_speeds: dict[int, float]
    minutes: float
    plugins: tuple[str, ...] = ()

    @property
    def is_sparse(self) -> bool:
        """Whether rewards only tell success, or nothing at all."""
        return self.analysis.success_share is not None or not self.analysis.has_rewards


def round_down(number: float) -> int:
    """A whole number of two significant digits, at most `number`; at least 1."""
    whole = max(1, int(number))
    unit: int = 10 ** max(0, len(str(whole)) - 2)
    return whole // unit * unit


def figure(number: float) -> str:
    """A number of three significant digits, or a whole one."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{figure(100 * share)} %"
