"""Threads for loops that release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import joblib

from anmin.blas import one_thread

_WORTH_IT = 1e6  # operations below which starting threads costs more than it saves


def in_threads(task: Callable[[int, int], None], operations: float, most: int | None = None) -> None:
    """Call ``task(part, parts)`` for every part of the work, in threads if there are operations enough.

    The parts must write to different places, and the values must not depend on how many there are: at most ``most``, by
    default as many as :func:`n_threads` says. BLAS keeps to one thread within each. All parts have ended when this
    returns, also by an exception.
    """
    parts = (most or n_threads()) if operations > _WORTH_IT else 1
    with one_thread(when=parts > 1):
        others = [_pool().submit(task, part, parts) for part in range(1, parts)]
        try:
            task(0, parts)
        finally:
            wait(others)
    for other in others:
        other.result()


@cache
def n_threads() -> int:
    """Return OMP_NUM_THREADS if it is set, else the number of cores that this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(wanted)) if wanted.isdecimal() else joblib.cpu_count()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads(), thread_name_prefix="anmin")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
