"""Numbers that tell rows from others, whatever the parts in which they are visited."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.rows.kernels import compiled


@compiled
def mixed(z: Any) -> Any:
    """Return numbers that look random, one to one (the finaliser of SplitMix64: Steele, Lea & Flood 2014)."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def check_of(first: int, values: NDArray) -> int:
    """Return a number that is another one if any of the values (n, k) is, or rows change places.

    It is a sum over rows, modulo 2**64, so those of parts add. ``first`` is the number of the first row. That rows
    which differ have the same by chance has a probability of about 2**-64.
    """
    words = np.ascontiguousarray(values, np.float64).view(np.uint64)
    return int(_total(np.uint64(first), words))


@compiled
def _total(first: Any, words: NDArray) -> Any:
    total = np.uint64(0)
    for i in range(words.shape[0]):
        row = first + np.uint64(i)
        for j in range(words.shape[1]):
            row = mixed(row ^ words[i, j])
        total += mixed(row)
    return total
