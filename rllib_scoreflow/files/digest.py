"""Hashes: of a file, what keys datasets and vouches for checkpoints, and of plain data, what vouches for policies."""

import hashlib
import json
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 1 << 20


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal hash of a file's bytes (about 1 GB/s)."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def json_digest(content: Any) -> str:
    """Return the hexadecimal SHA-256 of plain data, however its JSON is spaced and its keys are ordered."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
