"""Frozen-pattern sums brought up to date by the rows whose pattern changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin.blas import product
from anmin.statistics import PatternStatistics

#: Share of the pattern's entries below which an update is cheaper than a pass over all rows.
UPDATES_PAY_BELOW = 0.125
#: Updates after which the sums are made afresh. Each adds a rounding of about 1e-16 of the largest share ever in a sum.
MOST_UPDATES = 50
_BLOCK_BYTES = 2**22  # of the products of inputs that are formed at a time


class Block(NamedTuple):
    """Some rows in float64: x̃ with its constant (n, p), targets (n, c), square roots of weights (n,) or None."""

    Xt: NDArray
    Y: NDArray
    root_w: NDArray | None


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which neurons are active on which rows, booleans (N, h), and how many updates lie behind the sums at it."""

    on: NDArray
    updates: int = 0

    def of_neurons(self, index: NDArray) -> Pattern:
        """Return the pattern of the neurons of these numbers alone."""
        return Pattern(self.on[:, index], self.updates)


def updated(
    since: PatternStatistics,
    rows: Callable[[NDArray], Block],
    on: NDArray,
    differs: NDArray,
    negative_slope: float,
) -> PatternStatistics:
    """Return the sums at the pattern ``on`` (N, h) from those at an earlier one.

    The neurons take their new pattern one after the other, so that each pair meets rows whose other entry is either
    still old or already new. For neuron j, with the change Δ_i = G_ij(new) − G_ij(old) on its flipped rows,

        U_jl += Σ_i w_i Δ_i G_il x̃_i x̃_iᵀ  (l ≠ j),      U_jj += Σ_i w_i (G_ij(new)² − G_ij(old)²) x̃_i x̃_iᵀ

    and likewise V_j and s_j.

    Parameters
    ----------
    since : PatternStatistics
        With a :class:`Pattern` of these rows.
    rows : callable
        Gives the rows of an array of indices as a :class:`Block`.
    on, differs : ndarray of shape (N, h), bool
        The new pattern, and where it differs from the earlier one.
    negative_slope : float
    """
    h, p = since.s.shape
    U, V, s = since.U.copy(), since.V.copy(), since.s.copy()
    current = since.pattern.on.copy()
    first, second = np.triu_indices(p)
    place = np.empty((p, p), dtype=np.intp)
    place[first, second] = place[second, first] = np.arange(len(first))
    step = max(256, _BLOCK_BYTES // (8 * len(first)))
    for j in range(h):
        flipped = np.flatnonzero(differs[:, j])
        if not flipped.size:
            continue
        sums = np.zeros((h, len(first)))
        for start in range(0, len(flipped), step):
            index = flipped[start : start + step]
            Xt, Y, root_w = rows(index)
            change = np.where(on[index, j], 1.0 - negative_slope, negative_slope - 1.0)
            if root_w is not None:
                change *= root_w**2
            G = np.where(current[index], 1.0, negative_slope)
            G[:, j] = 1.0 + negative_slope  # the sum of both: Δ times it is the change of the square
            G *= change[:, None]
            sums += product(G.T, Xt[:, first] * Xt[:, second])
            changed = Xt * change[:, None]
            V[j] += product(changed.T, np.ascontiguousarray(Y))
            s[j] += changed.sum(axis=0)
        blocks = sums[:, place]  # (h, p, p), each symmetric
        U[j] += blocks.transpose(1, 0, 2)
        blocks[j] = 0.0
        U[:, :, j, :] += blocks
        current[flipped, j] = on[flipped, j]
    return replace(
        since,
        U=U,
        V=V,
        s=s,
        active=np.count_nonzero(on, axis=0),
        flips=int(np.count_nonzero(differs)),
        pattern=Pattern(on, since.pattern.updates + 1),
    )
