"""Sums over the active neurons of each row, and over the active rows of each neuron, by the codes of eight neurons.

With the gates G_ij = 1 where neuron j is active on row i and the negative slope elsewhere,

    T_ik = Σ_j G_ij x̃_iᵀ V_jk        and        V_jk = Σ_i G_ij R_ik x̃_i

are products with an N × h·p matrix and its transpose that are never formed. What eight neurons have in common with a
row depends on the row only by the eight bits of its pattern: the sums of V_j are looked up in a table of 256, and the
rows are added up in as many (the method of the Four Russians). That is N·h/8·c·p additions each. With many inputs or
outputs, products of matrices are quicker, of as many rows at a time as a core's cache holds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from anmin.blas import product
from anmin.rows.patterns import Pattern
from anmin.rows.sums import gates_of
from anmin.threads import in_threads

_TABLE_BYTES = 250_000  # of the tables in use at a time: what a core's cache holds
_CODES = 256
_BLOCK_ENTRIES = 2**18  # of rows × neurons at a time, in products of matrices
_STRANDS, _STRAND_ROWS = 16, 2048  # most of them, and the least rows that one of several has
#: Widest c·p for which this is quicker than products of matrices.
MOST_COLUMNS = 24


def through(
    X: NDArray, pattern: Pattern, w: NDArray | None, V: NDArray | None, T: NDArray, negative_slope: float
) -> NDArray:
    """Add Σ_j G_ij x̃_iᵀ V_jk to T (N, c), in place, and return Σ_i G_ij w_i T_ik x̃_i, shape (h, c, p).

    X is (N, d), w (N,) or None for ones, and V (h, c, p), or None for zeros.
    """
    if T.shape[1] * (X.shape[1] + 1) > MOST_COLUMNS:
        return _by_products(X, pattern, w, V, T, negative_slope)
    return _by_codes(X, pattern, w, V, T, negative_slope)


def _by_codes(
    X: NDArray, pattern: Pattern, w: NDArray | None, V: NDArray | None, T: NDArray, negative_slope: float
) -> NDArray:
    from anmin.rows.kernels import add_against, add_along, set_of_neurons, set_tables

    h, n, columns = pattern.n_neurons, len(X), (T.shape[1], X.shape[1] + 1)
    weights = np.empty(0) if w is None else w
    octets, bits = -(-h // 8), pattern.bits
    groups = list(_groups(octets, columns))
    tables = np.empty((octets if V is not None else 0, _CODES, *columns))
    if V is not None:
        set_tables(V, negative_slope, tables)
    # Each strand of rows has sums of its own, so that they do not depend on the number of threads.
    strands = min(_STRANDS, max(1, n // _STRAND_ROWS))
    cuts = np.linspace(0, n, strands + 1).astype(int)
    totals = np.empty((strands, h, *columns))

    def task(part: int, parts: int) -> None:
        sums = np.empty((octets, _CODES, *columns))
        for strand in range(part, strands, parts):
            start, stop = cuts[strand], cuts[strand + 1]
            for first, last in groups if V is not None else ():
                add_along(X, bits, tables, first, last, start, stop, T)
            sums[:] = 0.0
            for first, last in groups:
                add_against(X, bits, weights, T, first, last, start, stop, sums)
            set_of_neurons(sums, negative_slope, totals[strand])

    in_threads(task, operations=float(n) * octets * columns[0] * columns[1])
    return totals.sum(axis=0)


def _by_products(
    X: NDArray, pattern: Pattern, w: NDArray | None, V: NDArray | None, T: NDArray, negative_slope: float
) -> NDArray:
    h, c, p = pattern.n_neurons, T.shape[1], X.shape[1] + 1
    sums = np.zeros((c, h, p))
    step = max(256, _BLOCK_ENTRIES // h)
    for start in range(0, len(X), step):
        block = slice(start, min(start + step, len(X)))
        Xt = np.column_stack([np.ones(block.stop - start), X[block]])
        G = gates_of(pattern.bits, block, h, negative_slope)
        for k in range(c):
            if V is not None:
                T[block, k] += np.einsum("ij,ij->i", product(Xt, V[:, k].T), G)
            weighted = T[block, k] if w is None else T[block, k] * w[block]
            sums[k] += product((G * weighted[:, None]).T, Xt)
    return np.ascontiguousarray(sums.transpose(1, 0, 2))


def _groups(octets: int, columns: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last of octets whose tables fit in the cache together."""
    step = max(1, _TABLE_BYTES // (8 * _CODES * columns[0] * columns[1]))
    for start in range(0, octets, step):
        yield start, min(start + step, octets)
