"""Reader of the layout of DPPO's and ReinFlow's authors: `train.npz` with `normalization.npz` beside it.

`train.npz` holds `states` [N, O] and `actions` [N, A], scaled to [-1, 1], `traj_lengths` [E], and where the source had
them `rewards` [N], `terminals` [N] and `images` [N, 3 V, H, W]. The authors scale by
`2 * (x - min) / (max - min + 1e-6) - 1` with the `obs_min, obs_max, action_min, action_max` of `normalization.npz`;
here the raw values are recovered, since a policy carries its own normaliser.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.readers.base import READERS, Reader
from rllib_scoreflow.data.readers.npz import open_npz, read_header, read_npz, skip_header
from rllib_scoreflow.data.schema import Float32, ImageSource, RawColumns, UInt8
from rllib_scoreflow.data.validation import check_lengths
from rllib_scoreflow.errors import InputError, shorten

NORMALIZATION = "normalization.npz"
_LAYOUT = "give a file with states, actions, rewards and traj_lengths"
_EPSILON = 1e-6  # the authors' own
_BLOCK_BYTES = 64 << 20
_FAR_OUTSIDE = (
    1.5  # scaled values lie within [-1, 1]; of episodes held out when the bounds were taken, a little outside
)


@READERS.register("reinflow")
class ReinFlowReader(Reader):
    """The `train.npz` of ReinFlow's and DPPO's authors, with the normalisation beside it."""

    what = "an .npz file"
    suffixes = (".npz",)
    options = frozenset({"cameras"})

    def files(self, path: Path) -> list[Path]:
        """The file and its normalisation."""
        return [path, path.with_name(NORMALIZATION)]

    def name(self, path: Path) -> str:
        """The folder's name first: all files of this layout are called train.npz."""
        return f"{path.parent.name}-{path.stem}"

    def read(self, path: Path, options: ReadOptions) -> RawColumns:
        """See `read_reinflow_npz`."""
        return read_reinflow_npz(path, options)


def read_reinflow_npz(path: Path, options: ReadOptions) -> RawColumns:
    """Read a file of this layout in raw units; nothing in it is unpickled.

    Without `rewards` (the authors' sets with images) they are zero. An episode ends by a terminal where `terminals` is
    set in its last step, else by a timeout.

    Args:
        path: the file.
        options: `cameras` names the V cameras of `images`, in the file's order; without it they are left out.

    Returns:
        columns of N steps in E episodes; the file does not tell final observations.

    Raises:
        InputError: one of the two files is missing, damaged or holds pickled objects, an array is missing or of a
            wrong shape, values are not scaled by the bounds, or the names do not match the number of cameras.
    """
    arrays = _read(path, ("states", "actions", "traj_lengths"), ("rewards", "terminals"))
    scale = _read(path.with_name(NORMALIZATION), ("obs_min", "obs_max", "action_min", "action_max"), ())
    n = len(arrays["states"]) if arrays["states"].ndim else 0
    arrays.setdefault("rewards", np.zeros(n, np.float32))
    arrays.setdefault("terminals", np.zeros(n, np.bool_))
    for key, ndim in (("states", 2), ("actions", 2), ("rewards", 1), ("terminals", 1), ("traj_lengths", 1)):
        if arrays[key].ndim != ndim or 0 in arrays[key].shape:
            raise InputError(f"{path}: array '{key}' has shape {list(arrays[key].shape)}; {_LAYOUT}")
    check_lengths(path, {key: len(values) for key, values in arrays.items() if key != "traj_lengths"})
    lengths = arrays["traj_lengths"]
    # Each of them first: a sum of large ones may overflow to the right number.
    if lengths.dtype.kind not in "iu" or lengths.min() < 1 or lengths.max() > n or lengths.sum() != n:
        raise InputError(
            f"{path}: array 'traj_lengths' does not divide the {n} steps (its {len(lengths)} values add up to "
            f"{lengths.sum():g}); write the number of steps of every episode"
        )
    ends = np.zeros(n, np.bool_)
    ends[np.cumsum(lengths) - 1] = True
    terminals = ends & arrays["terminals"].astype(np.bool_)
    return RawColumns(
        observations=_raw(path, "states", arrays["states"], scale["obs_min"], scale["obs_max"]),
        actions=_raw(path, "actions", arrays["actions"], scale["action_min"], scale["action_max"]),
        rewards=arrays["rewards"].astype(np.float32),
        action_dtype=str(arrays["actions"].dtype),
        terminals=terminals,
        timeouts=ends & ~terminals,
        cameras=options.cameras or (),
        image_source=None if options.cameras is None else _find_images(path, n, options.cameras),
    )


def _read(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give train.npz with its {NORMALIZATION} in the same folder")
    return read_npz(path, required, optional, _LAYOUT)


def _raw(path: Path, key: str, scaled: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> Float32:
    if low.shape != high.shape or low.shape != scaled.shape[1:]:
        raise InputError(
            f"{path}: array '{key}' has {scaled.shape[1]} dimensions but the bounds in {NORMALIZATION} have the shapes "
            f"{list(low.shape)} and {list(high.shape)}; put the {NORMALIZATION} that belongs to it beside it"
        )
    low, high = low.astype(np.float64), high.astype(np.float64)
    wrong = ~(np.isfinite(low) & np.isfinite(high) & (low <= high))
    if wrong.any():
        dim = int(np.argmax(wrong))
        raise InputError(
            f"{path.with_name(NORMALIZATION)}: the bounds of '{key}' in dimension {dim} run from {low[dim]:g} to "
            f"{high[dim]:g}; write the smallest and the largest value of every dimension"
        )
    outside = np.abs(scaled) > _FAR_OUTSIDE
    if outside.any():
        row, dim = (int(i) for i in np.argwhere(outside)[0])
        raise InputError(
            f"{path}: array '{key}' holds {scaled[row, dim]:g} in row {row}, dimension {dim}, far outside [-1, 1] to "
            f"which this layout scales by the bounds in {NORMALIZATION}; scale it, or give the raw values as HDF5"
        )
    # float64 beyond float32's range becomes infinite here and is refused by the validation.
    with np.errstate(over="ignore", invalid="ignore"):
        raw: Float32 = ((scaled.astype(np.float64) + 1.0) / 2.0 * (high - low + _EPSILON) + low).astype(np.float32)
    return raw


def _find_images(path: Path, steps: int, cameras: tuple[str, ...]) -> ImageSource:
    with open_npz(path, _LAYOUT) as archive:
        if "images.npy" not in archive.namelist():
            raise InputError(f"{path}: array 'images' is missing, so there are no cameras to read; leave cameras out")
        shape, fortran, dtype = read_header(path, archive, "images", _LAYOUT)
    if len(shape) != 4 or shape[0] != steps or shape[1] % 3 or 0 in shape or dtype != np.uint8 or fortran:
        raise InputError(
            f"{path}: array 'images' is {dtype} of shape {shorten(list(shape))}; write it as uint8 of shape "
            f"[{steps}, 3 * cameras, height, width]"
        )
    if len(cameras) != shape[1] // 3:
        raise InputError(
            f"{path}: array 'images' holds {shape[1] // 3} cameras but {len(cameras)} are named; name all of them in "
            "the order of the file"
        )
    _, channels, height, width = shape
    return ImageSource((steps, channels // 3, height, width, 3), partial(_image_blocks, path, shape))


def _image_blocks(path: Path, shape: tuple[int, ...]) -> Iterator[UInt8]:
    """Stream the member out of the archive: np.load would bring all of it into memory."""
    steps, channels, height, width = shape
    row = channels * height * width
    remedy = "array 'images' is damaged, fetch or write the file again"
    with open_npz(path, remedy) as archive, archive.open("images.npy") as member:
        skip_header(member)
        for start in range(0, steps, per_read := max(1, _BLOCK_BYTES // row)):
            count = min(per_read, steps - start)
            data = member.read(count * row)
            block = np.frombuffer(data, np.uint8).reshape(count, channels // 3, 3, height, width)
            yield np.moveaxis(block, 2, 4)
