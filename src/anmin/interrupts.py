"""A request to terminate, taken like Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt in the block, as Ctrl-C does, and give it back to its former handler after.

    Only the main thread is told of signals; in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        # None stands for a handler that was not set from Python, and cannot be set again.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if former is None else former)


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt
