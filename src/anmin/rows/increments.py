"""Frozen-pattern sums brought up to date by the rows whose pattern changed."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from anmin.rows.patterns import Pattern
from anmin.rows.sums import ADDITION, Sums
from anmin.statistics import PatternStatistics
from anmin.threads import in_threads

#: Updates after which the sums are made afresh. Each adds a rounding of about 1e-16 of the largest share ever in a sum.
MOST_UPDATES = 50
#: About how long it takes to look whether a neuron is active on a row.
SECONDS_TO_LOOK = 1e-9


def seconds_by_updates(n_rows: int, flips: int, p: int, h: int) -> float:
    """Return about how long :func:`updated` takes."""
    per_flip = h * (p * (p + 1) / 2 * ADDITION + SECONDS_TO_LOOK)
    return flips * per_flip + n_rows * h * SECONDS_TO_LOOK


def updated(
    since: PatternStatistics, X: NDArray, Y: NDArray, w: NDArray, pattern: Pattern, negative_slope: float
) -> Sums:
    """Return the sums at ``pattern`` from those at an earlier one of the same rows.

    The neurons take their new pattern one after the other, so that each pair meets rows whose other entry is either
    still old or already new. For neuron j, with the change Δ_i = G_ij(new) − G_ij(old) on its flipped rows,

        U_jl += Σ_i w_i Δ_i G_il x̃_i x̃_iᵀ  (l ≠ j),      U_jj += Σ_i w_i (G_ij(new)² − G_ij(old)²) x̃_i x̃_iᵀ

    and likewise V_j and s_j.
    """
    from anmin.rows.kernels import add_flipped, add_unpacked

    h, p = since.s.shape
    V, s, U = since.V.copy(), since.s.copy(), since.U.copy()
    D = np.zeros((h, h, p * (p + 1) // 2))
    in_threads(
        partial(add_flipped, X, Y, w, since.pattern.bits, pattern.bits, negative_slope, D, V, s),
        operations=float(len(X) * h + since.pattern.flips(pattern) * D[0].size),
    )
    D += D.transpose(1, 0, 2)
    D[np.arange(h), np.arange(h)] /= 2
    in_threads(partial(add_unpacked, D, U), operations=U.size)
    return Sums(U, V, s)
