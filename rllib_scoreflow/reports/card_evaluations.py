"""What is known of how good an exported policy is, from the folder of its run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_scoreflow.files.policy_folder import POLICY_WEIGHTS
from rllib_scoreflow.reports import metrics
from rllib_scoreflow.reports.attribution import ATTRIBUTION_JSON, Attribution, AttributionRow, read_attribution
from rllib_scoreflow.reports.intervals import mean_interval, share_interval

# The row of an attribution that is the policy as it acts, by where its chains start.
_OWN_ROW = {"normal": "e", "zero": "f"}
_CLONE_ROW = "a"


@dataclass(frozen=True)
class Measured:
    """One evaluation, without exploration.

    Attributes:
        what: was played.
        how: it was measured.
        episodes: how many; None: not recorded.
        return_mean: mean return.
        return_error: its standard error, None where it is not recorded.
        success: share of successful episodes, None where the environment does not say.
        normalized_score: D4RL's, None where there is none.
        own: it is of the policy itself, and not of what it started from.
    """

    what: str
    how: str
    episodes: int | None
    return_mean: float
    return_error: float | None
    success: float | None
    normalized_score: float | None
    own: bool

    @property
    def return_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean return."""
        return None if self.return_error is None else mean_interval(self.return_mean, self.return_error)

    @property
    def success_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the probability of success."""
        return None if self.success is None or not self.episodes else share_interval(self.success, self.episodes)


def attribution_of(run: Path, policy: Path, digest: str) -> Attribution | None:
    """Return the attribution of a run if it is of this very policy, and not of an earlier one of the run.

    Args:
        run: the experiment's folder.
        policy: the policy folder.
        digest: of the policy.

    Raises:
        InputError: the file is damaged.
    """
    found = read_attribution(run)
    if found is None:
        return None
    if found.policy_sha256 is not None:
        return found if found.policy_sha256 == digest else None
    # One of an earlier version does not say of which policy it is.
    newer = (run / ATTRIBUTION_JSON).stat().st_mtime >= (policy / POLICY_WEIGHTS).stat().st_mtime
    return found if newer else None


def measured_by_attribution(attribution: Attribution, start: str) -> list[Measured]:
    """Return the rows that are the policy and its clone as they act.

    Args:
        attribution: from `attribution_of`.
        start: where the policy's chains start.
    """
    how = f"`rllib evaluate --attribute`, seed {attribution.seed}"
    wanted = {_OWN_ROW.get(start): ("this policy", True), _CLONE_ROW: ("the clone before fine-tuning", False)}
    rows = {row.row: row for row in attribution.rows}
    return [
        _of_row(rows[key], what, how, attribution.episodes, own=own)
        for key, (what, own) in wanted.items()
        if key is not None and key in rows
    ]


def _of_row(row: AttributionRow, what: str, how: str, episodes: int, *, own: bool) -> Measured:
    score = metrics.number(row.model_extra or {}, ("normalized_score",))
    return Measured(what, how, episodes, row.return_mean, row.return_stderr, row.success_rate, score, own)


def measured_in_training(rows: Sequence[Mapping[str, Any]]) -> list[Measured]:
    """Return the last evaluation of a trial, and that of the clone which was before its training.

    Args:
        rows: flattened results in order.
    """
    found = [row for row in rows if metrics.number(row, metrics.EVAL_RETURN) is not None]
    trained = [row for row in found if row.get("training_iteration") != 0]
    before = [row for row in found if row.get("training_iteration") == 0]
    measured = [_of_result(row, "the policy at that time", own=True) for row in trained[-1:]]
    return measured + [_of_result(row, "the clone before fine-tuning", own=False) for row in before[:1]]


def _of_result(row: Mapping[str, Any], what: str, *, own: bool) -> Measured:
    steps = metrics.number(row, metrics.STEPS)
    at = f"iteration {row.get('training_iteration')}" if steps is None else f"{steps:,.0f} environment steps"
    episodes = metrics.number(row, ("eval_episodes",))
    mean = metrics.number(row, metrics.EVAL_RETURN)
    assert mean is not None
    return Measured(
        what,
        f"during training, at {at}",
        None if episodes is None else int(episodes),
        mean,
        metrics.number(row, metrics.EVAL_STDERR),
        metrics.number(row, ("eval_success_rate",)),
        metrics.number(row, ("eval_normalized_score",)),
        own,
    )
