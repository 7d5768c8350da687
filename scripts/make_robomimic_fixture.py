"""Make a small file in Robomimic's layout for the tests from a larger one of our own.

    python scripts/make_robomimic_fixture.py SOURCE.hdf5 OUTPUT.hdf5 --demos demo_0,demo_2,demo_10 [--last-steps 20]

Episodes keep their names, their last steps and their places in the masks. Simulator models are left out.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rllib_scoreflow.data.readers.hdf5 import open_hdf5
from rllib_scoreflow.data.store import atomic_path
from rllib_scoreflow.errors import InputError


def copy_arrays(source: h5py.Group, target: h5py.Group, last_steps: int | None) -> None:
    """Copy all arrays below a group, cut to their last rows, compressed."""

    def copy(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            values = item[() if last_steps is None else slice(-last_steps, None)]
            target.create_dataset(name, data=values, compression="gzip", compression_opts=9, shuffle=True)

    source.visititems(copy)


def main() -> int:
    """Run the command; exit status 2 on bad input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--demos", required=True, help="names, divided by commas")
    parser.add_argument("--last-steps", type=int, default=None)
    arguments = parser.parse_args()
    demos = arguments.demos.split(",")
    try:
        if arguments.output.exists():
            raise InputError(f"{arguments.output}: the file exists already; remove it or choose another path")
        with open_hdf5(arguments.source) as source:
            missing = [demo for demo in demos if f"data/{demo}" not in source]
            if missing:
                raise InputError(f"{arguments.source}: holds no {', '.join(missing)}; choose other demos")
            with atomic_path(arguments.output) as temporary, h5py.File(temporary, "w") as target:
                data = target.create_group("data")
                data.attrs["env_args"] = source["data"].attrs["env_args"]
                data.attrs["source"] = "a recording of our own, reduced"
                for demo in demos:
                    copy_arrays(source[f"data/{demo}"], data.create_group(demo), arguments.last_steps)
                    data[demo].attrs["num_samples"] = len(data[demo]["actions"])
                data.attrs["total"] = sum(int(data[demo].attrs["num_samples"]) for demo in demos)
                for name, mask in source["mask"].items():
                    kept = [each for each in mask[()] if each.decode() in demos]
                    target[f"mask/{name}"] = np.array(kept, dtype="S8")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
