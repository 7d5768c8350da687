"""Attribution: what of a fine-tuned policy's gain is learning, what its start, and what its drift.

A number before and one after fine-tuning mix three effects: the velocity that was learned, the drift that the run
added from its first update on, and a start that is not random. Seven rows on the same episodes tell them apart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation.paired import Manner, Place, paired_difference, play_same_episodes
from rllib_scoreflow.evaluation.result import EvaluationResult
from rllib_scoreflow.policy import FlowPolicy

CLONE_ROWS = ("a", "b", "c")
TUNED_ROWS = ("d", "e", "f")
COMPARISONS: tuple[tuple[str, str, str], ...] = (
    ("b", "a", "zero start, before training"),
    ("c", "a", "untrained drift, before training"),
    ("d", "a", "training, as a plain flow"),
    ("e", "c", "training, with the drift"),
    ("f", "b", "training, from a zero start"),
    ("e", "d", "the drift, after training"),
    ("f", "e", "zero start, after training"),
)
"""Rows that differ in one thing: the greater minus the lesser, and what the difference is."""
EXPLORATION = "exploration noise"
"""The difference of row (g), which starts as the policy does, and the row without noise that starts so too."""
_WITH_START = {"normal": "e", "zero": "f"}


@dataclass(frozen=True)
class Row:
    """A row of the attribution.

    Attributes:
        key: "a" to "g".
        name: what is played.
        policy: the policy.
        manner: how it is played.
    """

    key: str
    name: str
    policy: FlowPolicy
    manner: Manner

    @property
    def denoising_steps(self) -> int:
        """Number of steps K."""
        return self.policy.config.sde.chain.denoising_steps

    @property
    def start(self) -> str:
        """Where its chains start."""
        return self.manner.start or self.policy.config.sde.chain.start


def attribution_rows(clone: FlowPolicy, tuned: FlowPolicy) -> tuple[Row, ...]:
    """Return the seven rows; clone and fine-tuned policy have their own numbers of steps, row (c) the run's.

    Args:
        clone: the policy that fine-tuning started from.
        tuned: the fine-tuned policy.

    Raises:
        InputError: the two do not belong together.
    """
    for name in ("observation_dim", "action_dim", "horizon", "act_steps", "cameras", "image_size", "vision"):
        mine, its = getattr(tuned.config, name), getattr(clone.config, name)
        if mine != its:
            raise InputError(
                f"The fine-tuned policy has {name} {mine} and its clone {its}, so they do not belong together; name "
                "the policy that the run started from with --clone."
            )
    sde = tuned.config.sde
    if sde.velocity != clone.config.sde.velocity:
        raise InputError(
            "The fine-tuned policy and its clone have velocity fields of different kind or size, so they do not belong "
            "together; name the policy that the run started from with --clone."
        )
    untrained = clone.with_dynamics(sde.score, sde.noise, sde.chain, tuned.metadata.variant, sde.process).eval()
    random = Manner(start="normal")
    return (
        Row("a", "clone, random start", clone, Manner("flow", "normal")),
        Row("b", "clone, zero start", clone, Manner("flow", "zero")),
        Row("c", "clone, this run's untrained drift", untrained, random),
        Row("d", "fine-tuned, as a plain flow", tuned, Manner("flow", "normal")),
        Row("e", "fine-tuned, with its drift", tuned, random),
        Row("f", "fine-tuned, zero start", tuned, Manner(start="zero")),
        Row("g", "fine-tuned, exploration noise", tuned, Manner(explore=True)),
    )


def play_rows(
    rows: tuple[Row, ...], place: Place, *, episodes: int, seed: int
) -> Iterator[tuple[Row, EvaluationResult]]:
    """Play the rows one after the other on the same episodes.

    Args:
        rows: from `attribution_rows`.
        place: the environment.
        episodes: number of episodes of each row.
        seed: of initial states and draws.

    Raises:
        InputError: as evaluate_policy.
    """
    for row in rows:
        yield row, play_same_episodes(row.policy, row.manner, place, episodes=episodes, seed=seed)


def row_to_dict(row: Row, result: EvaluationResult, first: EvaluationResult) -> dict[str, Any]:
    """Return a row as JSON values.

    Args:
        row: the row.
        result: what it found.
        first: what row (a) found, from which the row's difference is given.
    """
    return {
        "row": row.key,
        "name": row.name,
        "denoising_steps": row.denoising_steps,
        "start": row.start,
        "explore": row.manner.explore,
        **result.to_dict(),
        "minus_a": asdict(paired_difference(result, first)),
    }


def compare_rows(results: Mapping[str, EvaluationResult], own_start: str) -> list[dict[str, Any]]:
    """Return every difference of `COMPARISONS`, that of `EXPLORATION` and, last, what was learned, as JSON values.

    What was learned is the best of the fine-tuned rows without noise minus the best of the clone's rows: a gain that
    the clone has from another start or drift alone is none of it.

    Args:
        results: what the rows found, by their keys.
        own_start: where the fine-tuned policy's chains start; none of the other rows starts at a learned one.
    """
    same_start = _WITH_START.get(own_start)
    explored = () if same_start is None else (("g", same_start, EXPLORATION),)
    best = {rows: max(rows, key=lambda key: results[key].return_mean) for rows in (CLONE_ROWS, TUNED_ROWS)}
    learned = (best[TUNED_ROWS], best[CLONE_ROWS], "learning: best fine-tuned row minus best row of the clone")
    return [
        {
            "row": row,
            "minus": other,
            "name": name,
            **asdict(paired_difference(results[row], results[other])),
        }
        for row, other, name in (*COMPARISONS, *explored, learned)
    ]
