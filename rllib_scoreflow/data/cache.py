"""The cache folder: where it is, and the hash that keys what lies in it."""

import hashlib
import os
from pathlib import Path

CACHE_VARIABLE = "RLLIB_SCOREFLOW_CACHE"
_BLOCK_BYTES = 1 << 20


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the absolute cache folder, which need not exist yet.

    The argument goes before the environment variable RLLIB_SCOREFLOW_CACHE, and that before
    ~/.cache/rllib_scoreflow.
    """
    chosen = cache_dir or os.environ.get(CACHE_VARIABLE) or "~/.cache/rllib_scoreflow"
    return Path(chosen).expanduser().absolute()


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal hash of a file's bytes (about 1 GB/s)."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
