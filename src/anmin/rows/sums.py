"""The frozen-pattern sums U, V and s, made afresh from rows or from cells.

A pair of neurons sees only the rows on which both are active, so with the negative slope s

    U_jl = (1−s)² Σ_{both active} Q_i + s(1−s) (Σ_{j active} Q_i + Σ_{l active} Q_i) + s² Σ_i Q_i,    Q_i = w_i x̃_i x̃_iᵀ

and only the upper triangles of the Q_i, and the pairs j <= l, are added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from anmin.blas import product
from anmin.rows.cells import Cells
from anmin.rows.patterns import gates_of_octets
from anmin.threads import in_threads

_BLOCK_ROWS = 4096  # of which codes and a tile of products stay in a core's cache
_TILE = 64  # products that are added up at a time
_VECTOR = 8  # a tile's width is a multiple of it, for the processor's wide registers
_BLOCK_BYTES = 2**21
#: Seconds for an addition of a product to a sum, and of a multiplication within BLAS, on a core of about 2020. They
#: decide only which way is taken where both are right.
ADDITION, MULTIPLICATION = 3e-10, 3e-11
_TO_FORM = 1e-8  # for an entry of the N × h·p matrix


class Sums(NamedTuple):
    """U (h, p, h, p), V (h, p, c) and s (h, p) of :class:`anmin.statistics.PatternStatistics`."""

    U: NDArray
    V: NDArray
    s: NDArray


def seconds_by_pairs(n_rows: int, p: int, h: int) -> float:
    """Return about how long :func:`sums_by_pairs` takes with this many rows or cells."""
    groups = -(-h // 4)
    per_pair = n_rows + 640 * -(-n_rows // _BLOCK_ROWS)  # 640: to get from codes to neurons
    products = max(_VECTOR, p * (p + 1) / 2)
    return groups * (groups + 1) / 2 * per_pair * products * ADDITION + n_rows * (1e-7 + 2e-9 * (h + products))


def seconds_by_product(n_rows: int, p: int, h: int) -> float:
    """Return about how long :func:`sums_by_product` takes with this many rows."""
    return n_rows * h * p * (h * p / 2 * MULTIPLICATION + _TO_FORM)


def seconds_of_light_pass(n_rows: int, p: int, h: int) -> float:
    """Return about how long the output-layer sums over this many rows take."""
    return n_rows * h * (h * MULTIPLICATION + p * ADDITION / 2 + 1e-9)


def sums_of_rows(
    X: NDArray, Y: NDArray, w: NDArray, bits: NDArray, n_neurons: int, negative_slope: float, block_rows: int | None
) -> Sums:
    """Return the sums over rows X (N, d), Y (N, c), with weights w (N,) or none, and their pattern."""
    from anmin.rows.kernels import set_products

    n, p = len(X), X.shape[1] + 1
    first, second = np.triu_indices(p)

    def fill(start: int, stop: int, columns: slice, Q: NDArray) -> None:
        set_products(X, w, first[columns], second[columns], start, stop, Q)

    U = sums_by_pairs(bits, n, p, n_neurons, negative_slope, fill, block_rows or _BLOCK_ROWS)
    c = Y.shape[1]
    V, s = np.zeros((n_neurons, p, c)), np.zeros((n_neurons, p))
    for block, Xt in _blocks_of_rows(X, block_rows or max(256, _BLOCK_BYTES // (8 * p))):
        G = gates_of(bits, block, n_neurons, negative_slope)
        if len(w):
            G *= w[block, None]
        s += product(G.T, Xt)
        outputs = max(1, _BLOCK_BYTES // (8 * Xt.size))
        for k in range(0, c, outputs):
            cross = Xt[:, :, None] * Y[block, None, k : k + outputs]
            V[:, :, k : k + outputs] += product(G.T, cross.reshape(len(Xt), -1)).reshape(n_neurons, p, -1)
    return Sums(U, V, s)


def sums_of_cells(cells: Cells, p: int, n_neurons: int, negative_slope: float) -> Sums:
    """Return the sums over the rows in the cells."""

    def fill(start: int, stop: int, columns: slice, Q: NDArray) -> None:
        part = cells.products[start:stop, columns]
        Q[: len(part), : part.shape[1]] = part

    U = sums_by_pairs(cells.bits, len(cells), p, n_neurons, negative_slope, fill, _BLOCK_ROWS)
    G = gates_of(cells.bits, slice(0, len(cells)), n_neurons, negative_slope)
    return Sums(U, product(G.T, cells.cross).reshape(n_neurons, p, -1), product(G.T, cells.products[:, :p]))


def sums_by_pairs(
    bits: NDArray,
    n: int,
    p: int,
    n_neurons: int,
    negative_slope: float,
    fill: Callable[[int, int, slice, NDArray], None],
    block_rows: int,
) -> NDArray:
    """Return U from the products that ``fill(start, stop, columns, Q)`` gives for some rows or cells, in Q."""
    from anmin.rows.kernels import GROUP, add_pair_sums, add_unpacked, set_codes

    h, width = n_neurons, p * (p + 1) // 2
    tiles = -(-width // _TILE)
    tile = _VECTOR * -(-width // (tiles * _VECTOR))
    step = min(block_rows, n)
    C, total = np.zeros((h, h, tiles * tile)), np.zeros(tiles * tile)
    codes, Q = np.empty((-(-h // GROUP), step), dtype=np.uint8), np.zeros((step, tile))
    pairs = len(codes) * (len(codes) + 1) / 2
    for start in range(0, n, step):
        stop = min(start + step, n)
        these = codes[:, : stop - start]
        set_codes(bits, start, stop, these)
        for place in range(0, width, tile):
            if place + tile > width:
                Q[:] = 0.0
            fill(start, stop, slice(place, min(place + tile, width)), Q)
            added = Q[: stop - start]
            total[place : place + tile] += added.sum(axis=0)
            in_threads(partial(add_pair_sums, these, added, place, C), operations=pairs * added.size)
    U = np.zeros((h, p, h, p))
    if negative_slope != 0:
        on = C[np.arange(h), np.arange(h)]
        C *= (1 - negative_slope) ** 2
        C += negative_slope * (1 - negative_slope) * (on[:, None] + on) + negative_slope**2 * total
    in_threads(partial(add_unpacked, C, U), operations=U.size)
    return U


def sums_by_product(
    X: NDArray, Y: NDArray, w: NDArray, bits: NDArray, n_neurons: int, negative_slope: float, block_rows: int | None
) -> Sums:
    """Return the sums as products of N × h·p matrices: the plain way, and the quickest where rows are few."""
    p, c, h = X.shape[1] + 1, Y.shape[1], n_neurons
    k = h * p
    # BLAS fills the upper triangle of a Fortran-ordered matrix, which is the lower one of its transpose, U.
    U, VsT = np.zeros((k, k), order="F"), np.zeros((c + 1, k))
    for block, Xt in _blocks_of_rows(X, block_rows or max(256, _BLOCK_BYTES // (8 * k), k // 8)):
        G = gates_of(bits, block, h, negative_slope)
        Y1 = np.column_stack([Y[block], np.ones(len(Xt))])
        if len(w):
            root = np.sqrt(w[block, None])
            G *= root
            Y1 *= root
        Phi = (G[:, :, None] * Xt[:, None, :]).reshape(len(Xt), k)
        U = dsyrk(1.0, Phi.T, beta=1.0, c=U, overwrite_c=True)
        VsT += product(Y1.T, Phi)
    return Sums(
        _mirrored(U).reshape(h, p, h, p), np.ascontiguousarray(VsT[:c].T).reshape(h, p, c), VsT[c].reshape(h, p)
    )


def _blocks_of_rows(X: NDArray, step: int) -> Iterator[tuple[slice, NDArray]]:
    """Yield the rows block by block as x̃, float64 (n, p)."""
    for start in range(0, len(X), step):
        block = slice(start, min(start + step, len(X)))
        yield block, np.column_stack([np.ones(block.stop - start), X[block]])


def gates_of(bits: NDArray, block: slice, n_neurons: int, negative_slope: float) -> NDArray:
    """Return G (n, h) of a block of rows: 1 where a neuron is active, else the negative slope."""
    return gated(np.ones((block.stop - block.start, n_neurons)), bits, block, negative_slope)


def gated(Z: NDArray, bits: NDArray, block: slice, negative_slope: float) -> NDArray:
    """Multiply Z (n, h) of a block of rows by G, in place, and return it."""
    from anmin.rows.kernels import multiply_by_gates

    multiply_by_gates(bits, block.start, block.stop, gates_of_octets(negative_slope), Z)
    return Z


def _mirrored(U: NDArray) -> NDArray:
    """Complete the symmetric matrix of which BLAS filled the upper triangle, in place and in C order."""
    lower = U.T  # C-ordered view, its lower triangle filled
    step = 512
    for start in range(0, len(lower), step):
        rows = slice(start, start + step)
        lower[:start, rows] = lower[rows, :start].T
        corner = lower[rows, rows]
        corner[...] = np.tril(corner) + np.tril(corner, -1).T
    return lower
