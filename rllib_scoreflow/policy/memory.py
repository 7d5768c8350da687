"""What this process does with memory that it has freed."""

import ctypes
import sys

# Of glibc's malloc.h, and the largest block that it takes from the heap.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 32 * 2**20
_KEPT = 256 * 2**20


def keep_freed_memory() -> None:
    """Has glibc keep up to 256 MiB of freed memory, where it would hand all beyond a few MiB back to the system.

    A gradient step frees what the next one allocates, and a page that comes back from the system is cleared first: up
    to a fifth of an update. Without effect on another C library.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_TRIM_THRESHOLD, _KEPT)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
