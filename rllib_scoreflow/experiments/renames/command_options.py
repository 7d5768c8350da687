"""Options of ``rllib`` as Ray had them, and what they are called now."""

from rllib_scoreflow.experiments.renames.table import Table

TRAIN_OPTIONS: Table = {}
EVALUATE_OPTIONS: Table = {}
