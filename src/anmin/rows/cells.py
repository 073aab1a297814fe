"""Rows compressed without loss: those with the same activation pattern enter the sums only through their moments.

With d inputs, h hyperplanes cut space into at most Σ_{k<=d} C(h, k) cells (2,081 for 64 neurons on 2 inputs), however
many rows there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anmin.rows.patterns import active

#: About how long it takes to find a row's cell and to add its moments there.
SECONDS_TO_GROUP = 6e-8


@dataclass(frozen=True, eq=False)
class Cells:
    """The moments of the rows of each activation cell.

    Attributes
    ----------
    bits : ndarray of shape (m, ceil(h/64)), uint64
        The pattern of each cell, as in :class:`anmin.rows.patterns.Pattern`.
    products : ndarray of shape (m, p(p+1)/2)
        Σ w x̃_a x̃_b over the rows of each cell, for a <= b in the order of ``numpy.triu_indices``.
    cross : ndarray of shape (m, p·c)
        Σ w x̃_a y_k.
    n_rows : ndarray of shape (m,)
        Number of rows in each cell.
    """

    bits: NDArray
    products: NDArray
    cross: NDArray
    n_rows: NDArray

    def __len__(self) -> int:
        return len(self.bits)

    def active(self, n_neurons: int) -> NDArray:
        """Return the number of rows on which each neuron is active, shape (h,)."""
        return active(self.bits, n_neurons, self.n_rows)


def grouped(X: NDArray, Y: NDArray, w: NDArray, bits: NDArray, most: int) -> Cells | None:
    """Return the cells of the rows X (N, d), Y (N, c), w (N or 0,) by their bits, or None.

    None where there are more than ``most``.
    """
    from anmin.rows.kernels import add_moments, cells_of_rows

    p, c = X.shape[1] + 1, Y.shape[1]
    cell, first = np.empty(len(bits), dtype=np.int64), np.empty(max(1, most), dtype=np.int64)
    count = cells_of_rows(bits, most, cell, first)
    if count < 0:
        return None
    products, cross = np.zeros((count, p * (p + 1) // 2)), np.zeros((count, p * c))
    add_moments(X, Y, w, cell, products, cross)
    return Cells(bits[first[:count]], products, cross, np.bincount(cell, minlength=count))
