"""Observations and images for demonstrations that were recorded as simulator states."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.readers.hdf5 import ROBOMIMIC_LAYOUT, Hdf5File, open_checked_hdf5, reading
from rllib_scoreflow.envs.robosuite.own_model import Recording, open_simulation
from rllib_scoreflow.envs.robosuite.sim import RobosuiteSim
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import atomic_path
from rllib_scoreflow.files.json import parse_json

Progress = Callable[[int, int], None]
_DEMONSTRATION = re.compile(r"demo_\d{1,18}")


def render_dataset(
    source: Path,
    target: Path,
    *,
    cameras: Sequence[str],
    image_size: tuple[int, int],
    progress: Progress,
    reflections: bool = False,
    overwrite: bool = False,
) -> str:
    """Write a Robomimic file with images from the states of recorded demonstrations.

    The low-dimensional observations are computed anew from the states, under `obs` and `next_obs`; the images are
    under `obs` only, as `<camera>_image` uint8 [T, H, W, 3], upright, compressed. Rewards and dones are kept, or, where
    the source has none (robosuite's own recordings), are 1 where the next state is a success. The filter keys (`mask`)
    and the demonstrations' attributes are kept. Recordings of another release whose models cannot be loaded are shown
    in robosuite's own model, as `own_model.open_simulation` says; filter keys keep the demonstrations that are written.

    Args:
        source: a Robomimic file, or one that robosuite's scripts recorded, with or without observations.
        target: the file to write; it appears whole or not at all.
        cameras: names of robosuite's cameras; none: low-dimensional observations only.
        image_size: height and width of the images in pixels.
        progress: called with the number of demonstrations done and their total, first with none done.
        reflections: see Camera.
        overwrite: replace an existing file.

    Returns:
        What to say of the simulation; empty where the recorded models were loaded.

    Raises:
        InputError: the target exists, the source is not such a file, a camera is unknown, robosuite is missing, or
            images cannot be rendered here.
    """
    if target.exists() and not overwrite:
        raise InputError(f"{str(target)!r} exists: choose another name, it is not overwritten")
    if not target.parent.is_dir():
        raise InputError(f"folder {str(target.parent)!r} does not exist: create it first")
    if min(image_size) < 1:
        raise InputError(f"image size {list(image_size)}: give at least one pixel")
    with open_checked_hdf5(source) as file:
        with reading(source):
            names = _demonstrations(file)
            env_args = _env_args(file)
        simulated = open_simulation(
            env_args, names, lambda name: _read(file, f"data/{name}"), repr(str(source)), reflections=reflections
        )
        sim = simulated.sim
        try:
            unknown = [camera for camera in cameras if camera not in sim.cameras]
            if unknown:
                raise InputError(
                    f"{env_args['env_name']} has no camera {', '.join(unknown)}: choose from {', '.join(sim.cameras)}"
                )
            with atomic_path(target) as temporary, h5py.File(temporary, "w") as output:
                renderer = _Renderer(file, sim, tuple(cameras), image_size, own_model=simulated.own_model)
                renderer.render_all(simulated.names, output, progress)
                output["data"].attrs["env_args"] = json.dumps(_with_cameras(env_args, cameras, image_size))
        finally:
            sim.close()
    return simulated.note


@dataclass(frozen=True)
class _Renderer:
    """Writes the demonstrations of one file."""

    file: Hdf5File
    sim: RobosuiteSim
    cameras: tuple[str, ...]
    image_size: tuple[int, int]
    own_model: bool

    def render_all(self, names: Sequence[str], output: Any, progress: Progress) -> None:
        data = output.create_group("data")
        self._copy_attributes("data", data)
        total = 0
        progress(0, len(names))
        for done, name in enumerate(names, start=1):
            total += self._render(f"data/{name}", data.create_group(name))
            progress(done, len(names))
        data.attrs["total"] = total
        for name in self.file.names("mask"):
            with reading(self.file.path):
                chosen = self.file.words(f"mask/{name}")
            output[f"mask/{name}"] = np.array([word for word in chosen if word in names], dtype="S")

    def _copy_attributes(self, key: str, group: Any) -> None:
        with reading(self.file.path):
            attributes = {name: self.file.attribute(key, name) for name in self.file.root[key].attrs}
        group.attrs.update(attributes)

    def _render(self, recorded: str, group: Any) -> int:
        """Write one demonstration; its number of steps."""
        states, actions, model = _read(self.file, recorded)
        with reading(self.file.path):
            outcome = _recorded_outcome(self.file, recorded)
        self._copy_attributes(recorded, group)
        group.attrs["num_samples"] = len(states)
        observations: list[dict[str, NDArray[Any]]] = []
        images: dict[str, list[NDArray[np.uint8]]] = {camera: [] for camera in self.cameras}
        successes = []
        for i, state in enumerate(states):
            observations.append(self.sim.reset_to_state(state, None if i or self.own_model else model))
            successes.append(self.sim.success)
            for camera in self.cameras:
                images[camera].append(self.sim.render(camera, *self.image_size))
        # What followed the last recorded state is not recorded: its action is executed from there.
        observations.append(self.sim.step(actions[-1]))
        successes.append(self.sim.success)
        for name in filter(_of_robomimic, observations[0]):
            column = np.stack([observation[name] for observation in observations]).astype(np.float32)
            _write(group, f"obs/{name}", column[:-1])
            _write(group, f"next_obs/{name}", column[1:])
        for camera in self.cameras:
            _write(group, f"obs/{camera}_image", np.stack(images[camera]))
        replayed = {"rewards": np.array(successes[1:], np.float64), "dones": np.array(successes[1:], np.int64)}
        replayed["dones"][-1] = 1
        for name, values in {"states": states, "actions": actions, **replayed, **outcome}.items():
            _write(group, name, values)
        return len(states)


def _of_robomimic(name: str) -> bool:
    """Whether Robomimic's files hold robosuite's observation: those of robots, and all of the objects as one."""
    return name == "object" or (name.startswith("robot") and not name.endswith("-state"))


def _write(group: Any, name: str, values: NDArray[Any]) -> None:
    group.create_dataset(name, data=values, compression="gzip", chunks=True)


def _demonstrations(file: Hdf5File) -> list[str]:
    """Return the names of the demonstrations in their order of recording."""
    names = [name for name in file.names("data") if _DEMONSTRATION.fullmatch(name) and file.is_group(f"data/{name}")]
    if not names:
        raise InputError(f"{str(file.path)!r} has no data/demo_N groups: give a file of Robomimic's or robosuite's")
    return sorted(names, key=lambda name: int(name[5:]))


def _env_args(file: Hdf5File) -> dict[str, Any]:
    """Return the `env_args` of a Robomimic file, or what robosuite's own recordings say in their place."""
    text = file.attribute("data", "env_args")
    if text is not None:
        found = _json_object(file, "env_args", text)
        if not isinstance(found.get("env_name"), str) or not isinstance(found.get("env_kwargs"), dict):
            raise InputError(
                f"{str(file.path)!r}: its env_args lack env_name or env_kwargs: write them as Robomimic does"
            )
        return found
    env, env_info = file.attribute("data", "env"), file.attribute("data", "env_info")
    if env is not None and env_info is not None:
        env_kwargs = _json_object(file, "env_info", env_info)
        env_kwargs.pop("env_name", None)
        return {
            "env_name": str(env),
            "env_version": str(file.attribute("data", "repository_version") or ""),
            "type": 1,
            "env_kwargs": env_kwargs,
        }
    raise InputError(
        f"{str(file.path)!r}: its group data has neither the attribute env_args (Robomimic) nor env and env_info "
        "(robosuite), so that its environment is unknown"
    )


def _json_object(file: Hdf5File, name: str, text: Any) -> dict[str, Any]:
    where = f"{str(file.path)!r}: the attribute {name} of data"
    found = parse_json(text, where) if isinstance(text, str | bytes) else None
    if not isinstance(found, dict):
        raise InputError(f"{where} is not a JSON object: write it as Robomimic does")
    return found


def _with_cameras(env_args: dict[str, Any], cameras: Sequence[str], image_size: tuple[int, int]) -> dict[str, Any]:
    height, width = image_size
    env_kwargs = {
        **env_args["env_kwargs"],
        "has_offscreen_renderer": bool(cameras),
        "use_camera_obs": bool(cameras),
        "camera_names": list(cameras),
        "camera_heights": height,
        "camera_widths": width,
    }
    return {**env_args, "env_kwargs": env_kwargs}


def _read(file: Hdf5File, recorded: str) -> Recording:
    with reading(file.path):
        return _check_recording(file, recorded)


def _check_recording(file: Hdf5File, recorded: str) -> Recording:
    """Return states [T, S], actions [T, A] and the model of a demonstration."""
    place = f"{str(file.path)!r}, {recorded}"
    held, model = file.names(recorded), file.attribute(recorded, "model_file")
    missing = [name for name in ("states", "actions") if name not in held]
    missing += ["model_file"] * (model is None)
    if missing:
        raise InputError(f"{place} lacks {', '.join(missing)}: it cannot be simulated again")
    columns = [file.column(f"{recorded}/{name}", 2, ROBOMIMIC_LAYOUT) for name in ("states", "actions")]
    if len(columns[0]) != len(columns[1]):
        shapes = [column.shape for column in columns]
        raise InputError(
            f"{place} has states of shape {shapes[0]} and actions of shape {shapes[1]}: as many rows of both are needed"
        )
    states, actions = (file.read(column, column.dtype.type) for column in columns)
    return states, actions, model.decode() if isinstance(model, bytes) else str(model)


def _recorded_outcome(file: Hdf5File, recorded: str) -> dict[str, NDArray[Any]]:
    """Return the rewards and dones [T] of a demonstration, as far as it has them."""
    found: dict[str, NDArray[Any]] = {}
    for name in ("rewards", "dones"):
        if name in file.names(recorded):
            column = file.column(f"{recorded}/{name}", 1, ROBOMIMIC_LAYOUT)
            found[name] = file.read(column, column.dtype.type)
    return found
