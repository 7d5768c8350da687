"""The hash of a file: what keys datasets in the cache, tells experiments apart and vouches for checkpoints."""

import hashlib
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal hash of a file's bytes (about 1 GB/s)."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
