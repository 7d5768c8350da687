"""Make the small dataset that is shipped in the package from a D4RL-style HDF5 file of our own.

    python scripts/make_shipped_dataset.py SOURCE.hdf5 OUTPUT.parquet --env-id Hopper-v4

Whole episodes are drawn so that their returns are spread as in the source: episodes are sorted by
return, cut into as many groups as are wanted, and one is drawn from each.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from rllib_scoreflow.data.readers.d4rl import read_d4rl_hdf5
from rllib_scoreflow.data.schema import Int64, RawColumns, describe, episode_offsets
from rllib_scoreflow.data.store import to_table, write_parquet
from rllib_scoreflow.data.validation import check_columns
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.digest import file_digest


def draw_episodes(columns: RawColumns, count: int, seed: int) -> Int64:
    """Return [count] int64 episode numbers, ascending, spread evenly over the order of returns."""
    offsets = episode_offsets(columns.terminals, columns.timeouts)
    returns = np.add.reduceat(columns.rewards.astype(np.float64), offsets[:-1])
    if not 1 <= count <= len(returns):
        raise InputError(f"--episodes is {count}; the source holds {len(returns)} episodes")
    rng = np.random.default_rng(seed)
    groups = np.array_split(np.argsort(returns), count)
    return np.sort([rng.choice(group) for group in groups])


def select(columns: RawColumns, episodes: Int64) -> RawColumns:
    """Return the columns of the given episodes (ascending), in their order in the source."""
    offsets = episode_offsets(columns.terminals, columns.timeouts)
    chosen = np.isin(np.arange(len(offsets) - 1), episodes)
    rows = np.repeat(chosen, np.diff(offsets))
    final = columns.final_observations
    return RawColumns(
        observations=columns.observations[rows],
        actions=columns.actions[rows],
        rewards=columns.rewards[rows],
        terminals=columns.terminals[rows],
        timeouts=columns.timeouts[rows],
        final_observations=None if final is None else final[chosen],
        env_id=columns.env_id,
    )


def main() -> int:
    """Run the command; exit status 2 on bad input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--env-id", required=True)
    parser.add_argument("--episodes", type=int, default=180)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        columns = read_d4rl_hdf5(arguments.source)
        check_columns(arguments.source, columns)
        part = select(columns, draw_episodes(columns, arguments.episodes, arguments.seed))
        info = describe(
            part,
            name=arguments.output.stem,
            source=f"rollouts of our own on {arguments.env_id}",
            source_sha256=file_digest(arguments.source),
            env_id=arguments.env_id,
        )
        write_parquet(to_table(part, info), arguments.output, compression_level=19)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    whole = describe(columns, name="", source="", source_sha256="", env_id=None)
    for label, each in (("source", whole), ("output", info)):
        print(f"{label}: {each.num_steps} steps, {each.num_episodes} episodes, ", end="")
        print(f"mean return {each.mean_return:.1f}")
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
