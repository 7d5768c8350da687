"""Statistics of a LeRobotDataset: of every column over the frames of an episode, and of them all."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.schema import UInt8

Statistics = dict[str, list[Any]]

_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
# Of images a sample tells enough: frames of an episode, and pixels along each axis.
_FRAMES, _PIXELS = 10, 64


def describe_column(values: NDArray[Any]) -> Statistics:
    """Return minimum, maximum, mean, standard deviation, count and quantiles of a column.

    Args:
        values: [N] or [N, D] numbers or flags.

    Returns:
        lists of length D (1 for [N]) by name; `count` is [N].
    """
    columns = values.reshape(len(values), -1).astype(np.float64)
    quantiles = np.quantile(columns, list(_QUANTILES.values()), axis=0)
    return {
        "min": columns.min(axis=0).tolist(),
        "max": columns.max(axis=0).tolist(),
        "mean": columns.mean(axis=0).tolist(),
        "std": columns.std(axis=0).tolist(),
        "count": [len(values)],
        **{name: row.tolist() for name, row in zip(_QUANTILES, quantiles, strict=True)},
    }


class ImageHistogram:
    """How often each of the 256 values occurs in each colour of sampled images, from which all statistics follow."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), np.int64)
        self._frames = 0

    @classmethod
    def of(cls, images: UInt8) -> "ImageHistogram":
        """Count a sample of the images of an episode, uint8 [N, H, W, 3]."""
        histogram = cls()
        steps = [max(1, size // most) for size, most in zip(images.shape, (_FRAMES, _PIXELS, _PIXELS), strict=False)]
        sample = np.asarray(images[:: steps[0], :: steps[1], :: steps[2]])
        histogram._frames = len(sample)
        for colour in range(3):
            histogram._counts[colour] = np.bincount(sample[..., colour].reshape(-1), minlength=256)
        return histogram

    @classmethod
    def sum(cls, parts: Iterable["ImageHistogram"]) -> "ImageHistogram":
        """Return the histogram of all that others have counted."""
        total = cls()
        for part in parts:
            total._counts += part._counts
            total._frames += part._frames
        return total

    def describe(self) -> Statistics:
        """Return the statistics on a scale from 0 to 1, of each colour [[[x]]] as LeRobot keeps them."""
        levels = np.arange(256) / 255
        share = self._counts / self._counts.sum(axis=1, keepdims=True)
        mean = share @ levels
        below = np.cumsum(share, axis=1)
        occurs = self._counts > 0
        values = {
            "min": levels[occurs.argmax(axis=1)],
            "max": levels[255 - occurs[:, ::-1].argmax(axis=1)],
            "mean": mean,
            "std": np.sqrt(np.maximum(share @ levels**2 - mean**2, 0)),
            # A rounding of the sum must not push a quantile to the next level.
            **{name: levels[(below >= q - 1e-12).argmax(axis=1)] for name, q in _QUANTILES.items()},
        }
        return {**{name: each.reshape(3, 1, 1).tolist() for name, each in values.items()}, "count": [self._frames]}
