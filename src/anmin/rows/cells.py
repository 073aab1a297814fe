"""Rows compressed without loss: those with the same activation pattern enter the sums only through their moments.

With d inputs, h hyperplanes cut space into at most Σ_{k<=d} C(h, k) cells (2,081 for 64 neurons on 2 inputs), however
many rows there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """

    bits: NDArray
    products: NDArray
    cross: NDArray

    def __len__(self) -> int:
        return len(self.bits)

    def output(self, A: NDArray, negative_slope: float) -> tuple[NDArray, NDArray, NDArray]:
        """Return Sᵀ W S (h, h), Sᵀ w (h,) and Sᵀ W Y (h, c) of the rows, at hidden weights A (p, h) of this pattern.

        gram_jl = Σ_cells G_j G_l a_jᵀ (Σ w x̃ x̃ᵀ) a_l, and likewise the others.
        """
        from anmin.rows.kernels import set_gates

        p, h = A.shape
        m = len(self)
        G = np.empty((m, h))
        set_gates(self.bits, 0, m, negative_slope, G)
        moments, cross = np.empty((m, p, p)), self.cross.reshape(m, p, -1)
        first, second = np.triu_indices(p)
        moments[:, first, second] = moments[:, second, first] = self.products
        gram, sums, output = np.zeros((h, h)), np.zeros(h), np.zeros((h, cross.shape[2]))
        for a in range(p):
            weighted = G * A[a]
            right = (moments[:, a] @ A) * G
            gram += weighted.T @ right
            sums += moments[:, 0, a] @ weighted
            output += weighted.T @ cross[:, a]
        return (gram + gram.T) / 2, sums, output


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
    return Cells(bits[first[:count]], products, cross)
