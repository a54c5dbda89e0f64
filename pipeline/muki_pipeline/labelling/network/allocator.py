"""How the process keeps memory: a network's activations are megabytes each and live for a moment.

Huge pages save time only where freed memory is used for the next activation instead of going back to the kernel.
"""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGEST_KEPT, _MOST_KEPT = 32 << 20, 1 << 30  # glibc allows no more for the first


def keep_freed_memory() -> None:
    """Let this process reuse freed memory, on huge pages where the kernel offers them.

    Call it before torch allocates anything. It changes the whole process, so only the command line calls it.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it at its first allocation
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):  # musl has none
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        libc.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
