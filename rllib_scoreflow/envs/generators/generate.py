"""From a generator to a dataset of this package's own form, with the record of its origin."""

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from rllib_scoreflow.data.convert import check_output, write_columns
from rllib_scoreflow.data.schema import DatasetInfo, RawColumns, describe
from rllib_scoreflow.data.validation import check_columns
from rllib_scoreflow.envs.generators.base import Episode, find_generator
from rllib_scoreflow.envs.seeding import episode_seed
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.digest import json_digest

_FUTILE = 20
"""Demonstrations that may fail before one succeeds; and for each that succeeds as many may fail again."""


def generate_dataset(
    env_id: str,
    output: Path,
    *,
    episodes: int,
    seed: int = 0,
    keep_failures: bool = False,
    overwrite: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> DatasetInfo:
    """Play demonstrations and write them as one Parquet file, whole or not at all.

    The content follows from the task, the number, the seed and the versions of the package and of the simulator. Fewer
    episodes of the same seed are the first of more.

    Args:
        env_id: a task that a generator plays, such as "metaworld/door-open-v3".
        output: a path that ends in .parquet; its folder is made if missing.
        episodes: how many to keep.
        seed: of all of them.
        keep_failures: also keep demonstrations that did not succeed.
        overwrite: whether to replace an existing file.
        progress: called after every episode that is kept.

    Raises:
        InputError: nobody plays the task, a package is missing, hardly a demonstration succeeds, or the file exists or
            cannot be written.
    """
    generator, name, task = find_generator(env_id)
    if episodes < 1 or seed < 0:
        raise InputError(f"{episodes} episodes of seed {seed} cannot be played: give at least 1, and a seed from 0 on")
    check_output(output, overwrite=overwrite)
    player = generator(name, task)
    kept: list[Episode] = []
    tried = 0
    try:
        fps = player.env.metadata.get("render_fps")
        while len(kept) < episodes:
            if tried >= _FUTILE * (len(kept) + 1):
                raise InputError(
                    f"of {tried} demonstrations of {env_id} only {len(kept)} succeeded; choose another task, or add "
                    "--keep-failures"
                )
            tried += 1
            episode = player.play(episode_seed(seed, tried))
            if episode.success or keep_failures:
                kept.append(episode)
                progress()
    finally:
        player.close()
    provenance = {
        "package": generator.package,
        "version": _version(generator.package),
        "simulator": f"{generator.simulator} {_version(generator.simulator)}",
        "task": task,
        "seed": seed,
        "episodes_tried": tried,
        "episodes_kept": len(kept),
        "successes": sum(each.success for each in kept),
    }
    columns = _join(kept, env_id, None if fps is None else float(fps), provenance)
    check_columns(output, columns)
    info = describe(
        columns,
        name=output.stem,
        source=f"{generator.package} {provenance['version']}: demonstrations of {task}, seed {seed}",
        source_sha256=json_digest(provenance),
        env_id=env_id,
    )
    write_columns(columns, info, output, overwrite=overwrite)
    return info


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # a module of the user's
        return "unknown"


def _join(episodes: Sequence[Episode], env_id: str, fps: float | None, provenance: dict[str, Any]) -> RawColumns:
    ends = np.cumsum([len(each.rewards) for each in episodes]) - 1
    terminated = np.array([each.terminated for each in episodes])
    terminals = np.zeros(ends[-1] + 1, np.bool_)
    timeouts = terminals.copy()
    terminals[ends[terminated]] = True
    timeouts[ends[~terminated]] = True
    return RawColumns(
        observations=np.concatenate([each.observations for each in episodes]),
        actions=np.concatenate([each.actions for each in episodes]),
        rewards=np.concatenate([each.rewards for each in episodes]),
        terminals=terminals,
        timeouts=timeouts,
        final_observations=np.stack([each.final_observation for each in episodes]),
        env_id=env_id,
        fps=fps,
        provenance=provenance,
    )
