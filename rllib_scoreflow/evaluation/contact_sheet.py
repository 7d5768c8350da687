"""A contact sheet: pictures of one episode at even intervals on one page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation.episode import Episode, Frame
from rllib_scoreflow.evaluation.evaluate import Act
from rllib_scoreflow.evaluation.target import check_target
from rllib_scoreflow.files.atomic import atomic_path

_COLUMNS = 4
_DPI = 100
_CELL_INCHES = 3.2
_LABEL_INCHES = 0.25
# Frames kept per frame shown while the episode's length is not known yet.
_SPARE = 8
# White between two images, in pixels.
_GAP = 4


@dataclass(frozen=True)
class Picture:
    """A moment of an episode.

    Attributes:
        step: primitive steps done.
        total: undiscounted return so far.
        frame: uint8 [H, W, 3].
        views: images of the policy's cameras, uint8 [V, h, w, 3], None without cameras.
    """

    step: int
    total: float
    frame: Frame
    views: NDArray[np.uint8] | None


@dataclass(frozen=True)
class ContactSheet:
    """A contact sheet that was written.

    Attributes:
        path: the file.
        episode_return: undiscounted return of the episode.
        length: its primitive steps.
        steps: the steps shown, 0 and the last one among them.
        success: 1.0 or 0.0, None where the environment does not say.
    """

    path: Path
    episode_return: float
    length: int
    steps: tuple[int, ...]
    success: float | None


def draw_contact_sheet(
    act: Act,
    env_id: str,
    path: str | Path,
    *,
    seed: int,
    act_steps: int,
    horizon: int,
    env_config: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    frames: int = 12,
    title: str | None = None,
    overwrite: bool = False,
) -> ContactSheet:
    """Play the episode that record_video films and draw frames of it, the first and the last included, as a PNG.

    Under each frame of a policy with cameras stand the images that it sees.

    Args:
        act: observations [1, ...] -> [1, horizon * A], raw units.
        env_id: D4RL dataset id, gymnasium id or "module:EnvId".
        path: a .png file.
        seed: of the initial state.
        act_steps: primitive steps executed per chunk.
        horizon: actions per chunk.
        env_config: keyword arguments of the environment, its camera and image size among them.
        max_episode_steps: time limit instead of the registered one.
        frames: how many, at least 2; a shorter episode has fewer.
        title: what to write above it in place of the environment's id.
        overwrite: replace an existing file.

    Raises:
        InputError: fewer than 2 frames, the file exists or is not .png, the folder is missing, act_steps is not
            between 1 and horizon, the environment has no time limit, or it cannot be rendered here.
    """
    target = check_target("contact sheet", Path(path), ".png", overwrite=overwrite)
    if frames < 2:
        raise InputError(f"frames is {frames}: choose at least 2")
    with Episode(env_id, seed=seed, env_config=env_config, max_episode_steps=max_episode_steps) as episode:
        kept = _keep_some(episode, act, act_steps, horizon, at_most=_SPARE * frames)
        success = episode.success
    wanted = np.linspace(0, kept[-1].step, frames)
    nearest = {min(kept, key=lambda picture: abs(picture.step - step)).step for step in wanted}
    shown = [picture for picture in kept if picture.step in nearest]
    end = {None: "", 0.0: ", no success"}.get(success, ", success")
    result = f"return {kept[-1].total:.1f} in {kept[-1].step} steps{end}"
    _draw(shown, f"{title or env_id}: {result}", target)
    return ContactSheet(target, kept[-1].total, kept[-1].step, tuple(p.step for p in shown), success)


def _keep_some(episode: Episode, act: Act, act_steps: int, horizon: int, *, at_most: int) -> list[Picture]:
    """Play to the end; pictures at even intervals, at most `at_most` + 1, the first and the last step included.

    Only these are rendered, which is what takes time: the interval doubles whenever there are too many.
    """
    kept: list[Picture] = []
    interval = 1
    for step in episode.play(act, act_steps=act_steps, horizon=horizon):
        if step % interval and not episode.ended:
            continue
        kept.append(Picture(step, episode.total, episode.frame().copy(), episode.views()))
        if len(kept) > at_most and not episode.ended:
            interval *= 2
            kept = [picture for picture in kept if picture.step % interval == 0]
    return kept


def _draw(pictures: Sequence[Picture], title: str, target: Path) -> None:
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    cells = [_cell(picture) for picture in pictures]
    height, width = cells[0].shape[:2]
    size = (_CELL_INCHES * columns, (_CELL_INCHES * height / width + _LABEL_INCHES) * rows + 2 * _LABEL_INCHES)
    figure = Figure(figsize=size, layout="compressed")
    figure.suptitle(title, fontsize="medium", wrap=True)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, picture, cell in zip(grid.flat, pictures, cells, strict=False):
        axes.imshow(cell)
        axes.set_title(f"step {picture.step}, return {picture.total:.1f}", fontsize="small")
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=_DPI, bbox_inches="tight")


def _cell(picture: Picture) -> Frame:
    """Return the frame and, side by side under it, what the policy's cameras see."""
    if picture.views is None:
        return picture.frame
    height, width = picture.frame.shape[:2]
    count, view_height, view_width = picture.views.shape[:3]
    scale = min((width - (count - 1) * _GAP) / (count * view_width), height / 2 / view_height)
    # Nearest pixels, so that one sees how little the policy sees.
    rows = (np.arange(int(scale * view_height)) / scale).astype(int)
    columns = (np.arange(int(scale * view_width)) / scale).astype(int)
    strip = np.full((len(rows) + _GAP, width, 3), 255, np.uint8)
    for i, view in enumerate(picture.views):
        left = i * (len(columns) + _GAP)
        strip[_GAP:, left : left + len(columns)] = view[rows][:, columns]
    return np.concatenate([picture.frame, strip])
