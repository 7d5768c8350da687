"""Columns that an objective needs beside what was sampled, made once before an update's first gradient step."""

from typing import Any

import torch
import tree
from ray.rllib.core.columns import Columns

from rllib_scoreflow.algorithms.common.rl_module import FlowPolicyRLModule

Batch = dict[str, Any]
"""Columns by name: tensors, and the observations' dictionary of tensors where there are cameras."""


def select_rows(batch: Batch, chosen: Any) -> Batch:
    """The chosen rows of every column."""
    rows: Batch = tree.map_structure(lambda column: column[chosen], batch)
    return rows


def prepare_columns(
    module: FlowPolicyRLModule,
    batch: Batch,
    *,
    generator: torch.Generator,
    first_row: int,
    total_rows: int,
    rows_per_pass: int,
) -> Batch:
    """A Learner's batch with what its objective draws, and with what it remembers of the policy that sampled.

    What the sampler did not give is computed by the update's own passes; so is what it gave, where those passes have
    another precision: the probability ratio would begin at the difference of their roundings.

    Args:
        module: Of the Learner, with the weights that sampled, and not wrapped: several Learners make different numbers
            of passes, which must not wait for each other.
        batch: This Learner's columns.
        generator: In the same state on all Learners, which draw for all rows alike.
        first_row: Where this Learner's rows lie in those of all.
        total_rows: Rows of all Learners.
        rows_per_pass: Most rows of a network pass.
    """
    objective, rows = module.objective, len(batch[Columns.ACTIONS])
    drawn = objective.draw(total_rows, module.policy.config.chunk_dim, generator)
    own = {name: column[first_row : first_row + rows] for name, column in drawn.items()}
    batch = {**batch, **own}
    if module.precision == "float32" and set(objective.REFERENCE) <= batch.keys():
        return batch
    parts = [
        module.remember(select_rows(batch, slice(first, first + rows_per_pass)))
        for first in range(0, rows, rows_per_pass)
    ]
    return {**batch, **{name: torch.cat([part[name] for part in parts]) for name in objective.REFERENCE}}
