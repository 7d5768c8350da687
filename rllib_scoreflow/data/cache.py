"""The cache folder: where it is, and the hash that keys what lies in it."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from rllib_scoreflow.files.atomic import atomic_path
from rllib_scoreflow.files.digest import file_digest
from rllib_scoreflow.files.user_paths import expand_user

CACHE_VARIABLE = "RLLIB_SCOREFLOW_CACHE"
# From here on hashing takes seconds, which every process that opens the dataset would spend.
_REMEMBER_BYTES = 256 << 20


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the absolute cache folder, which need not exist yet.

    The argument goes before the environment variable RLLIB_SCOREFLOW_CACHE, and that before
    ~/.cache/rllib_scoreflow.
    """
    chosen = cache_dir or os.environ.get(CACHE_VARIABLE) or "~/.cache/rllib_scoreflow"
    return expand_user(chosen).absolute()


def cached_digest(path: Path, cache: Path, digest: Callable[[Path], str] = file_digest) -> str:
    """Return a file's SHA-256; that of a large file is remembered in `cache` until the file changes.

    "Changes" means its size, inode, or times of modification; to read the file in any case use `file_digest`.

    Args:
        path: the file.
        cache: the cache folder.
        digest: reads the file and returns the hash; what it raises is passed on. One and the same for a path.
    """
    stat = path.stat()
    if stat.st_size < _REMEMBER_BYTES:
        return digest(path)
    state = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
    note = cache / "digests" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text())
        if known["state"] == state:
            return str(known["sha256"])
    sha256 = digest(path)
    # Only a convenience: a cache that cannot be written is complained of where it matters.
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(note) as temporary:
            temporary.write_text(json.dumps({"state": state, "sha256": sha256}))
    return sha256
