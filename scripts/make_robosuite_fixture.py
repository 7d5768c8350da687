"""Make a small Robomimic-format file for the tests from a larger one of our own recordings.

    python scripts/make_robosuite_fixture.py SOURCE.hdf5 OUTPUT.hdf5 --demos 1 [--steps 4]

The first demonstrations are kept with their low-dimensional observations; paths of the recording machine are cut out of
their models.
"""

import argparse
import re
import sys
from pathlib import Path

import h5py

# What the published tasks observe; the rest (joints, velocities) is left out.
_OBSERVED = re.compile(r"robot\d_(eef_pos|eef_quat|gripper_qpos)|object|.*_image")
# Everything before the package's own folder, in which robosuite looks for the meshes wherever it is installed.
_PATH = re.compile(r'file="[^"]*/(robosuite/models/assets/[^"]*)"')


def copy_demonstration(source: h5py.Group, target: h5py.Group, steps: int | None) -> None:
    """Copy what the tests read: attributes, states, actions, rewards, dones and the observations."""
    target.attrs["num_samples"] = len(source["states"][:steps])
    target.attrs["model_file"] = _PATH.sub(r'file="\1"', source.attrs["model_file"])
    names = ["states", "actions", "rewards", "dones"]
    names += [f"{group}/{key}" for group in ("obs", "next_obs") for key in source[group] if _OBSERVED.fullmatch(key)]
    for name in names:
        target.create_dataset(name, data=source[name][:steps], compression="gzip", compression_opts=9, shuffle=True)


def main() -> int:
    """Run the command; exit status 2 if the output exists."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--demos", type=int, default=1)
    parser.add_argument("--steps", type=int, help="of each demonstration, by default all")
    arguments = parser.parse_args()
    if arguments.output.exists():
        print(f"{arguments.output} exists: choose another name", file=sys.stderr)
        return 2
    with h5py.File(arguments.source) as source, h5py.File(arguments.output, "w") as target:
        data = target.create_group("data")
        data.attrs["env_args"] = source["data"].attrs["env_args"]
        data.attrs["source"] = "recordings of our own: a scripted expert on robosuite 1.4.1"
        names = sorted(source["data"], key=lambda name: int(name.removeprefix("demo_")))[: arguments.demos]
        for name in names:
            copy_demonstration(source["data"][name], data.create_group(name), arguments.steps)
        data.attrs["total"] = sum(int(data[name].attrs["num_samples"]) for name in names)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
