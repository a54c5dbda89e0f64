"""Knowledge integration of text classifiers by model uncertainty (MUKI, arXiv:2210.05230).

Importing it tells the C library how to keep memory: a network's activations are megabytes each and short-lived,
and huge pages save time only where a freed one is used for the next, not asked of the kernel again.
"""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGEST_KEPT, _MOST_KEPT = 32 << 20, 1 << 30  # glibc allows no more for the first

# Read by torch at its first allocation: large buffers on huge pages, where the kernel offers them.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if sys.platform == "linux" and hasattr(_libc := ctypes.CDLL(None), "mallopt"):  # musl has none
    _libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    _libc.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
