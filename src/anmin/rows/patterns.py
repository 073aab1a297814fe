"""Which neurons are active on which rows, as bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

_BITS_OF_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.int64)


@dataclass(frozen=True, eq=False)
class Pattern:
    """An activation pattern of h neurons on N rows, and what is known of the sums made at it.

    Attributes
    ----------
    bits : ndarray of shape (N, ceil(h/64)), uint64
        Bit j % 64 of word j // 64 says that neuron j is active.
    n_neurons : int
    updates : int
        How many updates lie behind the sums since they were last made afresh.
    n_cells : int or None
        Number of different patterns among the rows, where they were counted; N if there were too many to be of use.
    """

    bits: NDArray
    n_neurons: int
    updates: int = 0
    n_cells: int | None = None

    def active(self) -> NDArray:
        """Return the number of rows on which each neuron is active, shape (h,)."""
        return active(self.bits, self.n_neurons)

    def flips(self, other: Pattern) -> int:
        """Return the number of (row, neuron) entries in which two patterns of the same neurons differ."""
        return int(np.bitwise_count(self.bits ^ other.bits).sum(dtype=np.int64))

    def of_neurons(self, index: NDArray) -> Pattern:
        """Return the pattern of the neurons of these numbers alone."""
        on = np.unpackbits(octets(self.bits), axis=1, count=self.n_neurons, bitorder="little")
        return Pattern(packed(on[:, index]), len(index), self.updates)


def active(bits: NDArray, n_neurons: int, counts: NDArray | None = None) -> NDArray:
    """Return how often each neuron is active, shape (h,), where the patterns (m,) occur ``counts`` times, or once."""
    found = [np.bincount(column, counts, minlength=256) @ _BITS_OF_BYTES for column in octets(bits).T]
    return np.rint(np.concatenate(found)[:n_neurons]).astype(np.int64)


def packed(on: NDArray) -> NDArray:
    """Return booleans (N, h) as bits (N, ceil(h/64))."""
    n, h = on.shape
    found = np.zeros((n, 8 * n_words(h)), dtype=np.uint8)
    found[:, : (h + 7) // 8] = np.packbits(on, axis=1, bitorder="little")
    return found.view("<u8").astype(np.uint64, copy=False)


def first_of_each(words: NDArray) -> tuple[NDArray, NDArray]:
    """Return where each different row of words (k, q), uint64, is first, and for all rows which of these it is."""
    # By a number for each row where they take several words, which sorts much faster than the words.
    several = words.shape[1] > 1
    factors = np.random.default_rng(0).integers(1, 2**64, words.shape[1], dtype=np.uint64)
    keys = words @ factors if several else words[:, 0]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    if several and not np.array_equal(words[first][inverse], words):  # different rows of one number
        whole = np.ascontiguousarray(words).view(np.dtype((np.void, words.itemsize * words.shape[1])))[:, 0]
        _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    return first, inverse


def n_words(n_neurons: int) -> int:
    """Return the words that hold the bits of a row; one where there are no neurons."""
    return max(1, -(-n_neurons // 64))


@cache
def gates_of_octets(negative_slope: float) -> NDArray:
    """Return the gates of the eight neurons of every byte of the bits, shape (256, 8)."""
    return np.where(_BITS_OF_BYTES == 1, 1.0, negative_slope)


def octets(bits: NDArray) -> NDArray:
    """Return bits (N, words) as bytes (N, 8·words), of eight neurons each, the first in the lowest bit."""
    return bits.astype("<u8", copy=False).view(np.uint8)
