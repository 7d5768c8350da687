"""Observations and images for demonstrations that were recorded as simulator states."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.atomic_files import atomic_path
from rllib_scoreflow.envs.robosuite_sim import RobosuiteSim
from rllib_scoreflow.errors import InputError

Progress = Callable[[int, int], None]


def render_dataset(
    source: Path,
    target: Path,
    *,
    cameras: Sequence[str],
    image_size: tuple[int, int],
    progress: Progress,
    reflections: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a Robomimic file with images from the states of recorded demonstrations.

    The low-dimensional observations are computed anew from the states, under `obs` and `next_obs`; the images are
    under `obs` only, as `<camera>_image` uint8 [T, H, W, 3], upright, compressed. Rewards and dones are kept, or, where
    the source has none (robosuite's own recordings), are 1 where the next state is a success. The filter keys (`mask`)
    and the demonstrations' attributes are kept.

    Args:
        source: a Robomimic file, or one that robosuite's scripts recorded, with or without observations.
        target: the file to write; it appears whole or not at all.
        cameras: names of robosuite's cameras; none: low-dimensional observations only.
        image_size: height and width of the images in pixels.
        progress: called with the number of demonstrations done and their total, first with none done.
        reflections: see Camera.
        overwrite: replace an existing file.

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
    with _opened(source) as file:
        _demonstrations(source, file)
        env_args = _env_args(source, file)
        sim = RobosuiteSim(env_args, seed=0, reflections=reflections)
        try:
            unknown = [camera for camera in cameras if camera not in sim.cameras]
            if unknown:
                raise InputError(
                    f"{env_args['env_name']} has no camera {', '.join(unknown)}: choose from {', '.join(sim.cameras)}"
                )
            with atomic_path(target) as temporary, h5py.File(temporary, "w") as output:
                _Renderer(source, sim, tuple(cameras), image_size).render_all(file, output, progress)
                output["data"].attrs["env_args"] = json.dumps(_with_cameras(env_args, cameras, image_size))
        finally:
            sim.close()


@dataclass(frozen=True)
class _Renderer:
    """Writes the demonstrations of one file."""

    source: Path
    sim: RobosuiteSim
    cameras: tuple[str, ...]
    image_size: tuple[int, int]

    def render_all(self, file: Any, output: Any, progress: Progress) -> None:
        names = _demonstrations(self.source, file)
        data = output.create_group("data")
        for key, value in file["data"].attrs.items():
            data.attrs[key] = value
        total = 0
        progress(0, len(names))
        for done, name in enumerate(names, start=1):
            total += self._render(file["data"][name], data.create_group(name))
            progress(done, len(names))
        data.attrs["total"] = total
        if "mask" in file:
            file.copy("mask", output)

    def _render(self, recorded: Any, group: Any) -> int:
        """Write one demonstration; its number of steps."""
        states, actions, model = _checked_recording(self.source, recorded)
        for key, value in recorded.attrs.items():
            group.attrs[key] = value
        group.attrs["num_samples"] = len(states)
        observations: list[dict[str, NDArray[Any]]] = []
        images: dict[str, list[NDArray[np.uint8]]] = {camera: [] for camera in self.cameras}
        successes = []
        for i, state in enumerate(states):
            observations.append(self.sim.reset_to_state(state, None if i else model))
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
        outcome = {"rewards": np.array(successes[1:], np.float64), "dones": np.array(successes[1:], np.int64)}
        outcome["dones"][-1] = 1
        for name in ("states", "actions", *outcome):
            _write(group, name, recorded[name][:] if name in recorded else outcome[name])
        return len(states)


def _of_robomimic(name: str) -> bool:
    """Whether Robomimic's files hold robosuite's observation: those of robots, and all of the objects as one."""
    return name == "object" or (name.startswith("robot") and not name.endswith("-state"))


def _write(group: Any, name: str, values: NDArray[Any]) -> None:
    group.create_dataset(name, data=values, compression="gzip", chunks=True)


def _opened(source: Path) -> Any:
    try:
        return h5py.File(source, "r")
    except OSError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{str(source)!r} cannot be read as HDF5 ({reason}): give a Robomimic file") from None


def _demonstrations(source: Path, file: Any) -> list[str]:
    """Return the names of the demonstrations in their order of recording."""
    names = [name for name in file.get("data", {}) if name.startswith("demo_") and name[5:].isdigit()]
    if not names:
        raise InputError(f"{str(source)!r} has no data/demo_N groups: give a file of Robomimic's or robosuite's")
    return sorted(names, key=lambda name: int(name[5:]))


def _env_args(source: Path, file: Any) -> dict[str, Any]:
    """Return the `env_args` of a Robomimic file, or what robosuite's own recordings say in their place."""
    attributes = file["data"].attrs
    if "env_args" in attributes:
        found: dict[str, Any] = json.loads(attributes["env_args"])
        return found
    if "env" in attributes and "env_info" in attributes:
        env_kwargs = json.loads(attributes["env_info"])
        env_kwargs.pop("env_name", None)
        return {
            "env_name": str(attributes["env"]),
            "env_version": str(attributes.get("repository_version", "")),
            "type": 1,
            "env_kwargs": env_kwargs,
        }
    raise InputError(
        f"{str(source)!r}: its group data has neither the attribute env_args (Robomimic) nor env and env_info "
        "(robosuite), so that its environment is unknown"
    )


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


def _checked_recording(source: Path, recorded: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Return states [T, S], actions [T, A] and the model of a demonstration."""
    place = f"{str(source)!r}, {recorded.name.removeprefix('/')}"
    missing = [name for name in ("states", "actions") if name not in recorded]
    missing += ["model_file"] * ("model_file" not in recorded.attrs)
    if missing:
        raise InputError(f"{place} lacks {', '.join(missing)}: it cannot be simulated again")
    states, actions = recorded["states"][:], recorded["actions"][:]
    if states.ndim != 2 or actions.ndim != 2 or len(states) != len(actions) or not len(states):
        raise InputError(
            f"{place} has states of shape {states.shape} and actions of shape {actions.shape}: as many rows of both "
            "are needed, and at least one"
        )
    return states, actions, str(recorded.attrs["model_file"])
