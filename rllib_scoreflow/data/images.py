"""Images on their way from a source to the store: in a file, never all in memory."""

import errno
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from rllib_scoreflow.data.progress import Bar
from rllib_scoreflow.data.schema import ImageSource, RawColumns, UInt8


def with_images(columns: RawColumns, scratch: Path | None) -> RawColumns:
    """Read the images that the reader has found.

    Args:
        columns: what the reader returned; without an image source it is returned as it is.
        scratch: the folder (made if missing) in which a file without a name holds the images for as long as the
            returned array lives; None: memory.

    Returns:
        the columns with `images`, [N, V, H, W, 3] uint8, C-contiguous.

    Raises:
        InputError: the source is damaged.
        OSError: the folder cannot be written or has too little space, said before anything is read.
    """
    source = columns.image_source
    if source is None:
        return columns
    images = _allocate(source, scratch)
    row = 0
    with Bar("reading images", len(images)) as bar:
        for block in source.blocks():
            images[row : row + len(block)] = block
            row += len(block)
            bar.advance(len(block))
    if row != len(images):
        raise AssertionError(f"the reader promised {len(images)} rows of images and gave {row}")
    return replace(columns, images=images, image_source=None)


def _allocate(source: ImageSource, scratch: Path | None) -> UInt8:
    if scratch is None:
        return np.empty(source.shape, np.uint8)
    scratch.mkdir(parents=True, exist_ok=True)
    needed, free = int(np.prod(source.shape, dtype=np.int64)), shutil.disk_usage(scratch).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"the images need {needed / 1e9:.1f} GB of space, {free / 1e9:.1f} GB are free")
    with tempfile.TemporaryFile(dir=scratch) as file:
        # Without space reserved, a disk that fills up would end the process by a signal when a page is written.
        os.posix_fallocate(file.fileno(), 0, needed)
        return np.memmap(file, np.uint8, "r+", shape=source.shape)
