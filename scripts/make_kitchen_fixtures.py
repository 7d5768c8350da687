"""Make the test fixtures of the kitchen from recordings of our own.

    python scripts/make_kitchen_fixtures.py SOURCE_FOLDER OUTPUT_FOLDER

From SOURCE_FOLDER/kitchen_parity.npz (D4RL's own kitchen environment, stepped by us without noise)
everything; from SOURCE_FOLDER/kitchen-{complete,mixed}-scripted.hdf5 (scripted demonstrations of our
own on FrankaKitchen-v1) the first episodes. All numbers are kept as they are.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

EPISODES = 2


def replay_part(source: Path, episodes: int) -> dict[str, NDArray[Any]]:
    """Return seeds int64 [E], lengths int64 [E] and the columns of the first E episodes, one after the other."""
    with h5py.File(source, "r") as file:
        lengths = file["infos/episode_length"][:episodes]
        if int(file["infos/episode_start"][0]) != 0 or len(lengths) < episodes:
            raise ValueError(f"{source} does not begin with {episodes} episodes")
        columns = {name: file[name][: lengths.sum()] for name in ("actions", "observations", "rewards", "terminals")}
        return {"seeds": file["infos/episode_seed"][:episodes], "lengths": lengths, **columns}


def main() -> int:
    """Run the command; exit status 2 on bad input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    try:
        parity = dict(np.load(arguments.source / "kitchen_parity.npz", allow_pickle=False))
        fixtures = {"kitchen_parity": parity}
        for kind in ("complete", "mixed"):
            name = f"kitchen-{kind}-scripted"
            fixtures[name] = replay_part(arguments.source / f"{name}.hdf5", EPISODES)
    except (OSError, KeyError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, arrays in fixtures.items():
        target = arguments.output / f"{name}.npz"
        np.savez_compressed(target, **arrays)
        print(f"{target}: {target.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
