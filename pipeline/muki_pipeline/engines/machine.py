"""What of this machine the program may use: a scheduler or a container often gives it a part."""

import os
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")
"""Where Linux shows a container the limits that it runs under."""


def usable_cores() -> int:
    """Cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _limit("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        return max(min(cores, int(quota) // int(period)), 1)
    return cores


def usable_memory() -> int:
    """Bytes of memory that this process may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_limit("memory.max"), _limit("memory/memory.limit_in_bytes"))  # of versions 2 and 1
    return min([physical, *(int(limit) for limit in limits if limit.isdigit())])


def _limit(name: str) -> str:
    path = _GROUP / name
    return path.read_text().strip() if path.is_file() else ""
