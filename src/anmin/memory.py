"""The memory that is free, and refusing, before any work, what it cannot hold."""

from __future__ import annotations

import os
from pathlib import Path

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")


def check_memory(required: int, n_neurons: int, n_features: int) -> None:
    """Raise ValueError if ``required`` bytes are more than the machine has free."""
    available = available_bytes()
    if available is not None and required > available:
        raise ValueError(
            f"A fit of n_neurons={n_neurons} with {n_features} inputs needs about {readable_bytes(required)} of "
            f"memory, of which {readable_bytes(available)} are free. Choose fewer neurons."
        )


def available_bytes() -> int | None:
    """Return the memory that this process may still take, or None where the system does not say."""
    found = [value for value in (_free_memory(), _container_limit()) if value is not None]
    return min(found, default=None)


def _free_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _container_limit() -> int | None:
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def readable_bytes(count: float) -> str:
    """Return a number of bytes with a unit."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {_UNITS[-1]}"
