"""Reader of Robomimic's HDF5 layout: `data/demo_N/{obs, next_obs, actions, rewards, dones}`, a group per episode.

The observation is a concatenation of low-dim arrays of `obs`: by default, as in the published experiments,
`robot0_eef_pos, robot0_eef_quat, robot0_gripper_qpos` of every robot and then `object`; without `object` where cameras
are asked for, as in the published policies that see. Images (`obs/<camera>_image`) are taken only if asked for.

The values are those of the file. In `object` of Can and Square the dimensions 10 to 13 are a relative quaternion whose
sign robosuite does not fix: it flips within most demonstrations, q and -q being the same rotation. The environment's
observations do the same, so the data is kept as recorded; a policy has to live with two values for one pose.
"""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rllib_scoreflow.data.episode_ends import find_breaks
from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.readers.base import READERS, Reader
from rllib_scoreflow.data.readers.hdf5 import HDF5_SUFFIXES, ROBOMIMIC_LAYOUT, Hdf5File, open_hdf5
from rllib_scoreflow.data.schema import Float32, ImageSource, RawColumns, UInt8
from rllib_scoreflow.data.validation import check_finite, check_lengths
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.json import parse_json

# Robosuite's class names, and ours.
TASKS = MappingProxyType(
    {"Lift": "lift", "PickPlaceCan": "can", "NutAssemblySquare": "square", "TwoArmTransport": "transport"}
)
_PROPRIOCEPTION = ("eef_pos", "eef_quat", "gripper_qpos")
_RENDER = "rllib dataset render IN.hdf5 OUT.hdf5"
_BLOCK_STEPS = 256  # images read at a time
_MOST_BREAKS = 0.1  # share of steps whose next_obs may differ from the following obs; 0 in the published sets


@READERS.register("robomimic")
class RobomimicReader(Reader):
    """HDF5 files with a group `data` of demonstrations."""

    what = "Robomimic's layout"
    suffixes = HDF5_SUFFIXES
    options = frozenset({"filter_key", "observation_keys", "cameras"})

    def claims(self, path: Path) -> bool:
        """Whether the file has the group."""
        if not super().claims(path):
            return False
        with open_hdf5(path) as file:
            return file.is_group("data")

    def read(self, path: Path, options: ReadOptions) -> RawColumns:
        """See `read_robomimic_hdf5`."""
        return read_robomimic_hdf5(path, options)


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
        demos = _demos(file, options.filter_key)
        _check_observations(file, demos)
        keys = options.observation_keys or _default_keys(file, demos[0], options.cameras is not None)
        parts = [_read_demo(file, demo, keys) for demo in demos]
        _check_widths(path, demos, parts)
        source = None
        if options.cameras is not None:
            source = _find_images(file, dict(zip(demos, parts, strict=True)), options.cameras)
        env_args = _env_args(file)
    observations = np.concatenate([part["observations"] for part in parts])
    final = _final_observations(path, demos, parts, observations)
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
        observations=observations,
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
        # One demonstration of whole numbers is as wrong as all of them.
        action_dtype=min((part["action_dtype"] for part in parts), key=lambda dtype: dtype.startswith("float")),
    )


def _demos(file: Hdf5File, filter_key: str | None) -> list[str]:
    """Return the names of the wanted episodes in the order of their numbers."""
    path = file.path
    names = [name for name in file.names("data") if file.is_group(f"data/{name}")]
    if not names:
        raise InputError(f"{path}: the group 'data' holds no episodes; {ROBOMIMIC_LAYOUT}")
    if filter_key is not None:
        known = file.names("mask")
        if filter_key not in known:
            have = f"the file has {shorten(', '.join(known))}" if known else "the file has no filter keys"
            raise InputError(f"{path}: key 'mask/{filter_key}' is missing, {have}; choose another filter_key or none")
        held, chosen = set(names), file.words(f"mask/{filter_key}")
        missing = [name for name in chosen if name not in held]
        if missing or not chosen:
            what = f"names {shorten(missing[0])}, which 'data' does not hold" if missing else "names no episode"
            raise InputError(f"{path}: key 'mask/{filter_key}' {what}; choose another filter_key or none")
        names = chosen
    # Of what is split at its numbers, every second part is one.
    return sorted(
        set(names), key=lambda name: [int(p) if i % 2 else p for i, p in enumerate(re.split(r"(\d{1,18})", name))]
    )


def _check_observations(file: Hdf5File, demos: list[str]) -> None:
    for demo in demos:
        if not file.is_group(f"data/{demo}/obs"):
            raise InputError(
                f"{file.path}: key 'data/{shorten(demo)}/obs' is missing, so these are demonstrations without "
                f"observations; make them from the recorded states with: {_RENDER}"
            )


def _default_keys(file: Hdf5File, demo: str, with_cameras: bool) -> tuple[str, ...]:
    held = file.names(f"data/{demo}/obs")
    robots = [name for name in ("robot0", "robot1") if name == "robot0" or f"{name}_eef_pos" in held]
    keys = [f"{robot}_{part}" for robot in robots for part in _PROPRIOCEPTION]
    return tuple(keys if with_cameras else [*keys, "object"])


def _read_demo(file: Hdf5File, demo: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read one episode of T steps.

    Returns:
        observations [T, O] of `widths` per key, following [T, O] or None, actions [T, A] stored as `action_dtype`,
        rewards [T], done.
    """
    group = f"data/{demo}"
    columns = {key: file.column(f"{group}/obs/{key}", 2, "choose other observation_keys") for key in keys}
    found = dict(columns)
    found |= {
        key: file.column(f"{group}/{key}", ndim, ROBOMIMIC_LAYOUT) for key, ndim in (("actions", 2), ("rewards", 1))
    }
    if "dones" in file.names(group):
        found["dones"] = file.column(f"{group}/dones", 1, ROBOMIMIC_LAYOUT)
    following = []
    if all(file.is_column(f"{group}/next_obs/{key}") for key in keys):
        following = [file.column(f"{group}/next_obs/{key}", 2) for key in keys]
    check_lengths(file.path, {f"{shorten(demo, 60)}/{key}": column.shape[0] for key, column in found.items()})
    for key, column in zip(keys, following, strict=True) if following else ():
        if column.shape != columns[key].shape:
            raise InputError(
                f"{file.path}: key '{shorten(group)}/next_obs/{key}' has shape {list(column.shape)} but 'obs/{key}' "
                f"{list(columns[key].shape)}; write both with the same shape"
            )

    def read(parts: Iterable[Any]) -> Float32:
        return np.concatenate([file.read(part, np.float32) for part in parts], axis=1)

    return {
        "observations": read(columns.values()),
        "widths": [column.shape[1] for column in columns.values()],
        "following": read(following) if following else None,
        "actions": file.read(found["actions"], np.float32),
        "action_dtype": str(found["actions"].dtype),
        "rewards": file.read(found["rewards"], np.float32),
        "done": "dones" in found and bool(file.read(found["dones"], np.float32)[-1]),
    }


def _check_widths(path: Path, demos: list[str], parts: list[dict[str, Any]]) -> None:
    for demo, part in zip(demos, parts, strict=True):
        for key, found, expected in (
            ("observations", part["widths"], parts[0]["widths"]),
            ("actions", [part["actions"].shape[1]], [parts[0]["actions"].shape[1]]),
        ):
            if found != expected:
                shown = [str(sum(widths)) for widths in (found, expected)]
                if shown[0] == shown[1]:
                    shown = [" + ".join(map(str, widths)) for widths in (found, expected)]
                raise InputError(
                    f"{path}: the {key} of {shorten(demo)} have {shorten(shown[0])} dimensions but those of "
                    f"{shorten(demos[0])} {shorten(shown[1])}; keep episodes of one task in a file"
                )


def _final_observations(
    path: Path, demos: list[str], parts: list[dict[str, Any]], observations: Float32
) -> Float32 | None:
    """Return [E, O]: `next_obs` of every last step, or None where an episode lacks it.

    Raises:
        InputError: `next_obs` is not the observation of the following step.
    """
    if any(part["following"] is None for part in parts):
        return None
    following = np.concatenate([part["following"] for part in parts])
    check_finite(path, "observations", observations)
    check_finite(path, "next_obs", following)
    breaks = find_breaks(observations, following, float(np.finfo(np.float32).eps))
    lengths = [len(part["rewards"]) for part in parts]
    ends = np.cumsum(lengths) - 1
    breaks[ends[:-1]] = False
    if breaks.sum() > _MOST_BREAKS * len(breaks):
        row = int(np.argmax(breaks))
        episode = int(np.searchsorted(ends, row))
        step = row - int(ends[episode]) + lengths[episode] - 1
        raise InputError(
            f"{path}: key 'data/{shorten(demos[episode])}/next_obs' is not 'obs' of the following step (in "
            f"{int(breaks.sum())} of {len(breaks)} steps, first in step {step}); write both from the same recording, "
            "or leave next_obs out"
        )
    final: Float32 = following[ends]
    return final


def _find_images(file: Hdf5File, demos: dict[str, Any], cameras: tuple[str, ...]) -> ImageSource:
    path = file.path
    size: tuple[int, int] | None = None
    steps = 0
    for demo, part in demos.items():
        for camera in cameras:
            key = f"data/{demo}/obs/{camera}_image"
            held = file.names(f"data/{demo}/obs")
            known = [name.removesuffix("_image") for name in held if name.endswith("_image")]
            have = f"choose cameras of {shorten(', '.join(known))}, or make the" if known else "make the"
            remedy = f"{have} images from the recorded states with: {_RENDER} --cameras {','.join(cameras)}"
            column = file.column(key, 4, remedy)
            if column.dtype != np.uint8 or column.shape[3] != 3:
                raise InputError(
                    f"{path}: key '{shorten(key)}' is {column.dtype} of shape {list(column.shape)}; write images as "
                    "uint8 of shape [steps, height, width, 3]"
                )
            check_lengths(path, {f"{demo}/actions": len(part["actions"]), f"{demo}/{camera}_image": len(column)})
            file.reserve(column.size)
            size = size or column.shape[1:3]
            if column.shape[1:3] != size:
                raise InputError(
                    f"{path}: key '{shorten(key)}' has images of {list(column.shape[1:3])} but others of {list(size)}; "
                    "render all cameras in one size"
                )
        steps += len(part["actions"])
    assert size is not None
    return ImageSource((steps, len(cameras), *size, 3), partial(_image_blocks, path, list(demos), cameras))


def _image_blocks(path: Path, demos: list[str], cameras: tuple[str, ...]) -> Iterator[UInt8]:
    with open_hdf5(path) as file:
        for demo in demos:
            columns = [file.column(f"data/{demo}/obs/{camera}_image", 4) for camera in cameras]
            for start in range(0, len(columns[0]), _BLOCK_STEPS):
                steps = slice(start, start + _BLOCK_STEPS)
                yield np.stack([file.read(column, np.uint8, steps) for column in columns], axis=1)


def _env_args(file: Hdf5File) -> dict[str, Any] | None:
    text = file.attribute("data", "env_args")
    if text is None:
        return None
    where = f"{file.path}: the attribute 'env_args' of 'data'"
    try:
        values = parse_json(text, where) if isinstance(text, str | bytes) else None
    except InputError:
        values = None
    if not isinstance(values, dict):
        raise InputError(f"{where} is not a JSON object; write it as Robomimic does")
    return values
