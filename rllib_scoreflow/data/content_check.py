"""What a converted file says of its columns against the columns themselves."""

from pathlib import Path
from typing import Any

import numpy as np

from rllib_scoreflow.data.schema import DatasetInfo, RawColumns, describe, episode_offsets
from rllib_scoreflow.errors import InputError, shorten

# What follows from the columns.
_RECOMPUTED = (
    "observation_dim",
    "action_dim",
    "num_steps",
    "num_episodes",
    "observation_min",
    "observation_max",
    "action_min",
    "action_max",
    "mean_return",
    "image_size",
)


def check_content(columns: RawColumns, info: DatasetInfo, path: Path) -> None:
    """Refuse columns that are not those that the metadata describes: everything that follows from them is recomputed.

    Args:
        columns: all of them, images included.
        info: what the file says; training takes its normaliser from it.
        path: the file, for the message.

    Raises:
        InputError: naming what differs.
    """
    offsets = episode_offsets(columns.terminals, columns.timeouts)
    final = columns.final_observations
    if offsets[-1] != len(columns.rewards) or not (final is None or len(final) == len(offsets) - 1):
        raise InputError(
            f"{path}: the episodes were changed after the file was written ({len(offsets) - 1} ends); convert the "
            "original file again"
        )
    found = describe(columns, name=info.name, source="", source_sha256="", env_id=None)
    if found.content_sha256 != info.content_sha256:
        raise InputError(
            f"{path}: the columns were changed after the file was written, they do not match the "
            "SHA-256 in its metadata; convert the original file again"
        )
    for name in _RECOMPUTED:
        mine, its = getattr(found, name), getattr(info, name)
        same = np.array_equal(mine, its) if name != "mean_return" else np.isclose(mine, its, rtol=1e-6, atol=1e-6)
        if not same:
            raise InputError(
                f"{path}: the metadata was changed after the file was written ({name} is {_text(its)}, the columns "
                f"give {_text(mine)}); convert the original file again"
            )


def _text(value: Any) -> str:
    return shorten(value.tolist() if isinstance(value, np.ndarray) else value, 100)
