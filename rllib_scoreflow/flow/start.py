"""Where a denoising chain starts."""

from typing import Literal, get_args

Start = Literal["normal", "zero", "learned"]
STARTS: tuple[Start, ...] = get_args(Start)
"""See `ChainConfig.start`."""
