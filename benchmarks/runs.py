"""What the benchmarks share: lists and numbers on the command line, and files that are written whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from anmin.atomic import written_atomically


def names(text: str) -> list[str]:
    """Return names that were given with commas between."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def positive(kind: type) -> Callable[[str], float]:
    """Return what reads a positive number."""

    def read(text: str) -> float:
        if not 0 < kind(text) < math.inf:
            raise ValueError
        return kind(text)

    read.__name__ = f"positive {kind.__name__}"  # argparse says so of what is not
    return read


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
