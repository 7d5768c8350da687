"""A video of one episode."""

import importlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation.episode import Episode
from rllib_scoreflow.evaluation.evaluate import Act
from rllib_scoreflow.evaluation.target import check_target
from rllib_scoreflow.files.atomic import atomic_path


@dataclass(frozen=True)
class Recording:
    """A recorded episode.

    Attributes:
        path: the file.
        episode_return: undiscounted return.
        length: primitive steps.
        frames: frames in the file: the initial state and one per primitive step.
        fps: frames per second.
        success: 1.0 or 0.0, None where the environment does not say.
    """

    path: Path
    episode_return: float
    length: int
    frames: int
    fps: float
    success: float | None


def record_video(
    act: Act,
    env_id: str,
    path: str | Path,
    *,
    seed: int,
    act_steps: int,
    horizon: int,
    env_config: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    fps: float | None = None,
    overwrite: bool = False,
) -> Recording:
    """Record one episode, every primitive step a frame, as an .mp4 file.

    The episode begins in the state in which the first sub environment of an evaluation with the
    same seed on the gymnasium backend begins.

    Args:
        act: observations [1, ...] -> [1, horizon * A], raw units.
        env_id: D4RL dataset id, gymnasium id or "module:EnvId".
        path: an .mp4 file.
        seed: of the initial state.
        act_steps: primitive steps executed per chunk.
        horizon: actions per chunk.
        env_config: keyword arguments of the environment, its camera and image size among them.
        max_episode_steps: time limit instead of the registered one.
        fps: frames per second instead of real time.
        overwrite: replace an existing file.

    Raises:
        InputError: the file exists or is not .mp4, the folder is missing, act_steps is not between 1
            and horizon, the environment has no time limit, or it cannot be rendered here.
    """
    target = check_target("video", Path(path), ".mp4", overwrite=overwrite)
    imageio = _load_imageio()
    with Episode(env_id, seed=seed, env_config=env_config, max_episode_steps=max_episode_steps) as episode:
        rate = float(fps or episode.fps)
        # As its own context manager the writer would keep ffmpeg running after an exception.
        with (
            atomic_path(target) as temporary,
            closing(imageio.get_writer(temporary, fps=rate, macro_block_size=2)) as writer,
        ):
            for _ in episode.play(act, act_steps=act_steps, horizon=horizon):
                writer.append_data(episode.frame())
        return Recording(target, episode.total, episode.length, episode.length + 1, rate, episode.success)


def _load_imageio() -> Any:
    try:
        importlib.import_module("imageio_ffmpeg")
        return importlib.import_module("imageio.v2")
    except ImportError as error:
        raise InputError(
            f"videos need imageio and imageio-ffmpeg ({error}): pip install imageio imageio-ffmpeg"
        ) from None
