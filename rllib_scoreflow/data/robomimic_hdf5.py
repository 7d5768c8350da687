"""Reader of Robomimic's HDF5 layout: `data/demo_N/{obs, next_obs, actions, rewards, dones}`, a group per episode.

The observation is a concatenation of low-dim arrays of `obs`: by default, as in the published experiments,
`robot0_eef_pos, robot0_eef_quat, robot0_gripper_qpos` of every robot and then `object`; without `object` where cameras
are asked for, as in the published policies that see. Images (`obs/<camera>_image`) are taken only if asked for.

The values are those of the file. In `object` of Can and Square the dimensions 10 to 13 are a relative quaternion whose
sign robosuite does not fix: it flips within most demonstrations, q and -q being the same rotation. The environment's
observations do the same, so the data is kept as recorded; a policy has to live with two values for one pose.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np

from rllib_scoreflow.data.hdf5 import ROBOMIMIC_LAYOUT, find_column, open_hdf5, read_column
from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.schema import Float32, ImageSource, RawColumns, UInt8
from rllib_scoreflow.data.validation import check_lengths
from rllib_scoreflow.errors import InputError

# Robosuite's class names, and ours.
TASKS = MappingProxyType(
    {"Lift": "lift", "PickPlaceCan": "can", "NutAssemblySquare": "square", "TwoArmTransport": "transport"}
)
_PROPRIOCEPTION = ("eef_pos", "eef_quat", "gripper_qpos")
_RENDER = "rllib dataset render IN.hdf5 OUT.hdf5"
_BLOCK_STEPS = 256  # images read at a time


def read_robomimic_hdf5(path: Path, options: ReadOptions) -> RawColumns:
    """Read the low-dim data of a file, and find its images.

    Episodes come in the order of their numbers (demo_2 before demo_10). An episode ends by a terminal where `dones` is
    set in its last step (earlier set steps, of a success that holds, end nothing), else by a timeout.

    Args:
        path: the file.
        options: `filter_key` is a subset under `mask/`; see above for the others.

    Returns:
        columns of N steps; final_observations [E, O] where all episodes have the keys under `next_obs`. `env_id` is
        `robomimic/<task>` and `env_config` what that environment needs to be this recording's.

    Raises:
        InputError: no such file, not HDF5, damaged, no observations or images in it (which `rllib dataset render` can
            add), an unknown filter key, observation key or camera, or arrays of wrong shapes.
    """
    with open_hdf5(path) as file:
        demos = _demos(file, path, options.filter_key)
        _check_observations(file, path, demos)
        keys = options.observation_keys or _default_keys(file, demos[0], options.cameras is not None)
        parts = [_read_demo(file, path, demo, keys) for demo in demos]
        _check_widths(path, demos, parts)
        source = None
        if options.cameras is not None:
            source = _find_images(file, path, dict(zip(demos, parts, strict=True)), options.cameras)
        env_args = _env_args(file, path)
        final = _final_observations(file, path, demos, keys)
    ends = np.cumsum([len(part["rewards"]) for part in parts]) - 1
    terminals = np.zeros(ends[-1] + 1, np.bool_)
    terminals[ends] = [part["done"] for part in parts]
    timeouts = np.zeros(ends[-1] + 1, np.bool_)
    timeouts[ends] = ~terminals[ends]
    cameras = options.cameras or ()
    config: dict[str, Any] = {"observation_keys": list(keys), "cameras": list(cameras)}
    if source is not None:
        config["image_size"] = list(source.shape[2:4])
    task = TASKS.get(str((env_args or {}).get("env_name")))
    return RawColumns(
        observations=np.concatenate([part["observations"] for part in parts]),
        actions=np.concatenate([part["actions"] for part in parts]),
        rewards=np.concatenate([part["rewards"] for part in parts]),
        terminals=terminals,
        timeouts=timeouts,
        final_observations=final,
        env_id=None if task is None else f"robomimic/{task}",
        env_config=config if env_args is None else {"env_args": env_args, **config},
        observation_keys=tuple(keys),
        cameras=cameras,
        image_source=source,
    )


def _demos(file: h5py.File, path: Path, filter_key: str | None) -> list[str]:
    """Return the names of the wanted episodes in the order of their numbers."""
    names = [name for name in file["data"] if isinstance(file["data"][name], h5py.Group)]
    if not names:
        raise InputError(f"{path}: the group 'data' holds no episodes; {ROBOMIMIC_LAYOUT}")
    if filter_key is not None:
        masks = file.get("mask")
        known = sorted(masks) if isinstance(masks, h5py.Group) else []
        if filter_key not in known:
            have = f"the file has {', '.join(known)}" if known else "the file has no filter keys"
            raise InputError(f"{path}: key 'mask/{filter_key}' is missing, {have}; choose another filter_key or none")
        chosen = [n.decode() if isinstance(n, bytes) else str(n) for n in np.atleast_1d(masks[filter_key][()])]
        missing = [name for name in chosen if name not in names]
        if missing or not chosen:
            what = f"names {missing[0]}, which 'data' does not hold" if missing else "names no episode"
            raise InputError(f"{path}: key 'mask/{filter_key}' {what}; choose another filter_key or none")
        names = chosen
    return sorted(set(names), key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])


def _check_observations(file: h5py.File, path: Path, demos: list[str]) -> None:
    for demo in demos:
        if not isinstance(file.get(f"data/{demo}/obs"), h5py.Group):
            raise InputError(
                f"{path}: key 'data/{demo}/obs' is missing, so these are demonstrations without observations; make "
                f"them from the recorded states with: {_RENDER}"
            )


def _default_keys(file: h5py.File, demo: str, with_cameras: bool) -> tuple[str, ...]:
    held = file[f"data/{demo}/obs"]
    robots = [name for name in ("robot0", "robot1") if name == "robot0" or f"{name}_eef_pos" in held]
    keys = [f"{robot}_{part}" for robot in robots for part in _PROPRIOCEPTION]
    return tuple(keys if with_cameras else [*keys, "object"])


def _read_demo(file: h5py.File, path: Path, demo: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read one episode of T steps: observations [T, O], actions [T, A], rewards [T], done."""
    group = f"data/{demo}"
    choose = "choose other observation_keys"
    found = {key: find_column(file, path, f"{group}/obs/{key}", 2, choose) for key in keys}
    found["actions"] = find_column(file, path, f"{group}/actions", 2, ROBOMIMIC_LAYOUT)
    found["rewards"] = find_column(file, path, f"{group}/rewards", 1, ROBOMIMIC_LAYOUT)
    if "dones" in file[group]:
        found["dones"] = find_column(file, path, f"{group}/dones", 1, ROBOMIMIC_LAYOUT)
    check_lengths(path, {f"{demo}/{key}": column.shape[0] for key, column in found.items()})
    return {
        "observations": np.concatenate([read_column(found[key], path, np.float32) for key in keys], axis=1),
        "actions": read_column(found["actions"], path, np.float32),
        "rewards": read_column(found["rewards"], path, np.float32),
        "done": "dones" in found and bool(read_column(found["dones"], path, np.float32)[-1]),
    }


def _check_widths(path: Path, demos: list[str], parts: list[dict[str, Any]]) -> None:
    for demo, part in zip(demos, parts, strict=True):
        for key in ("observations", "actions"):
            found, expected = part[key].shape[1], parts[0][key].shape[1]
            if found != expected:
                raise InputError(
                    f"{path}: the {key} of {demo} have {found} dimensions but those of {demos[0]} {expected}; keep "
                    "episodes of one task in a file"
                )


def _final_observations(file: h5py.File, path: Path, demos: list[str], keys: tuple[str, ...]) -> Float32 | None:
    """Return [E, O]: `next_obs` of every last step, or None where an episode lacks it."""
    rows = []
    for demo in demos:
        held = [file.get(f"data/{demo}/next_obs/{key}") for key in keys]
        if any(not isinstance(column, h5py.Dataset) for column in held):
            return None
        found = [find_column(file, path, f"data/{demo}/next_obs/{key}", 2) for key in keys]
        rows.append(np.concatenate([column[-1] for column in found]))
    return np.stack(rows).astype(np.float32)


def _find_images(file: h5py.File, path: Path, demos: dict[str, Any], cameras: tuple[str, ...]) -> ImageSource:
    size: tuple[int, int] | None = None
    steps = 0
    for demo, part in demos.items():
        for camera in cameras:
            key = f"data/{demo}/obs/{camera}_image"
            known = [name.removesuffix("_image") for name in file[f"data/{demo}/obs"] if name.endswith("_image")]
            have = f"choose cameras of {', '.join(known)}, or make the" if known else "make the"
            remedy = f"{have} images from the recorded states with: {_RENDER} --cameras {','.join(cameras)}"
            column = find_column(file, path, key, 4, remedy)
            if column.dtype != np.uint8 or column.shape[3] != 3:
                raise InputError(
                    f"{path}: key '{key}' is {column.dtype} of shape {list(column.shape)}; write images as uint8 of "
                    "shape [steps, height, width, 3]"
                )
            check_lengths(path, {f"{demo}/actions": len(part["actions"]), f"{demo}/{camera}_image": len(column)})
            size = size or column.shape[1:3]
            if column.shape[1:3] != size:
                raise InputError(
                    f"{path}: key '{key}' has images of {list(column.shape[1:3])} but others of {list(size)}; render "
                    "all cameras in one size"
                )
        steps += len(part["actions"])
    assert size is not None
    return ImageSource((steps, len(cameras), *size, 3), partial(_image_blocks, path, list(demos), cameras))


def _image_blocks(path: Path, demos: list[str], cameras: tuple[str, ...]) -> Iterator[UInt8]:
    with open_hdf5(path) as file:
        for demo in demos:
            columns = [file[f"data/{demo}/obs/{camera}_image"] for camera in cameras]
            for start in range(0, len(columns[0]), _BLOCK_STEPS):
                steps = slice(start, start + _BLOCK_STEPS)
                yield np.stack([read_column(column, path, np.uint8, steps) for column in columns], axis=1)


def _env_args(file: h5py.File, path: Path) -> dict[str, Any] | None:
    text = file["data"].attrs.get("env_args")
    if text is None:
        return None
    try:
        values = json.loads(text)
    except (TypeError, ValueError):
        values = None
    if not isinstance(values, dict):
        raise InputError(f"{path}: the attribute 'env_args' of 'data' is not a JSON object; write it as Robomimic does")
    return values
