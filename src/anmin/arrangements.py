"""Which activation patterns a neuron can have on given rows: the cells of an arrangement of hyperplanes.

For rows x_i of X (n, p), with a constant column where neurons have a bias, a vector g is active on the rows with
x_iᵀ g > 0. The hyperplanes {g : x_iᵀ g = 0} cut space into open cells, and all g in one cell have the same pattern.
Patterns are those of the open cells. A vector on hyperplanes is on the boundary of cells, where max(Xg, 0) is the same
by the pattern of any of them, so that nothing is lost to a network. In a cell x_iᵀ g > 0 and x_iᵀ g >= 0 differ for
rows of zeros only; these are never active here, as in :meth:`anmin.network.ReLUNetwork.pattern`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.hyperplanes import BLOCK_ENTRIES, essential, inside_cells, inside_cells_by_feasibility
from anmin.network import ReLUNetwork
from anmin.rows.patterns import first_of_each, n_words, octets, packed
from anmin.validation import is_integer

_MOST, _MOST_BYTES = 1_000_000, 2_000_000_000
Method = Literal["rays", "feasibility"]


@dataclass(frozen=True, eq=False)
class Patterns:
    """Distinct activation patterns on n rows, with a vector of each.

    Attributes
    ----------
    bits : ndarray of shape (P, ceil(n/64)), uint64
        Bit i % 64 of word i // 64 says that the pattern is active on row i.
    vectors : ndarray of shape (p, P)
        Column k has pattern k, strictly inside its cell where it was enumerated.
    n_rows : int
        Number of rows, n.
    """

    bits: NDArray
    vectors: NDArray
    n_rows: int

    def __len__(self) -> int:
        return len(self.bits)

    def on(self) -> NDArray[np.bool_]:
        """Return the patterns as booleans (n, P): column k is the diagonal of D_k."""
        return np.unpackbits(octets(self.bits), axis=1, count=self.n_rows, bitorder="little").astype(bool).T

    def without_zero(self) -> Patterns:
        """Return the patterns that are active on some row."""
        kept = self.bits.any(axis=1)
        return Patterns(self.bits[kept], self.vectors[:, kept], self.n_rows)


def n_patterns(n_rows: int, rank: int) -> int:
    """Return 2 Σ_{k<r} C(n − 1, k), the number of patterns of n rows in general position whose matrix has rank r.

    It counts the zero pattern where that is attainable, and no rows of this rank have more (Cover, Geometrical and
    statistical properties of systems of linear inequalities, 1965). Any r >= n gives 2^n. ValueError if n or r < 1.
    """
    _check_counts(n_rows, rank)
    total = term = 1
    for k in range(1, min(rank, n_rows)):
        term = term * (n_rows - k) // k
        total += term
    return 2 * total


def n_patterns_bound(n_rows: int, rank: int) -> float:
    """Return 2r (e (n − 1)/r)^r, a bound of :func:`n_patterns` for r < n; infinity where no float is as large.

    ValueError unless 1 <= r < n; for r = n the number is 2^n, and the bound may be below it.
    """
    _check_counts(n_rows, rank)
    if rank >= n_rows:
        raise ValueError(f"rank must be less than n_rows for the bound; got {rank} and {n_rows}.")
    logarithm = math.log(2 * rank) + rank * (1 + math.log(n_rows - 1) - math.log(rank))
    return math.exp(logarithm) if logarithm < math.log(np.finfo(np.float64).max) else math.inf


def patterns_of(X: ArrayLike, vectors: ArrayLike) -> Patterns:
    """Return the distinct patterns 1[X g > 0] of vectors (p, k) on rows X (n, p), each with the first vector of it."""
    X, vectors = _matrix("X", X), _matrix("vectors", vectors)
    if X.shape[1] != len(vectors):
        raise ValueError(f"vectors must have one row for each of the {X.shape[1]} columns of X; got {vectors.shape}.")
    step = max(1, BLOCK_ENTRIES // len(X))
    blocks = [packed((X @ vectors[:, k : k + step] > 0).T) for k in range(0, vectors.shape[1], step)]
    return _distinct(np.vstack(blocks), vectors, len(X))


def network_patterns(network: ReLUNetwork, X: ArrayLike) -> Patterns:
    """Return the distinct patterns of a network's neurons on rows X (n, d), each with the weights (p,) of the first."""
    on = network.pattern(X)
    return _distinct(packed(on.T), network.A, len(on))


def sampled_patterns(X: ArrayLike, n_vectors: int, rng: np.random.Generator) -> Patterns:
    """Return the distinct patterns on rows X (n, p) of ``n_vectors`` random vectors g ~ N(0, I)."""
    X = _matrix("X", X)
    if n_vectors < 1:
        raise ValueError(f"n_vectors must be at least 1; got {n_vectors}.")
    return patterns_of(X, rng.standard_normal((X.shape[1], n_vectors)))


def all_patterns(X: ArrayLike, *, method: Method = "rays", most: int = _MOST) -> Patterns:
    """Return all patterns that rows X (n, p) allow, each with a vector inside its cell.

    Parameters
    ----------
    X : array of shape (n, p)
        May have zero and repeated rows, and any rank.
    method : {"rays", "feasibility"}, default "rays"
        "rays" finds the cells around each line in which r − 1 hyperplanes meet, r the rank: C(n, r − 1)·2^(r − 1) of
        them in general position, a million or so in a second. "feasibility" adds one row after the other
        and asks a linear program for each cell whether it is cut: another way to the same, about a thousand times
        slower.
    most : int, default 1,000,000
        Largest number of patterns that is gone for; their bits may also take 2 GB at most.

    Returns
    -------
    Patterns
        In an order that is of no meaning. All are real: each vector was tried on X. They are complete but for cells
        so thin that hyperplanes meet, or are parallel, to within 1e-9 (1e-7 with "feasibility") in the coordinates in
        which the columns of the rows, scaled to unit length, are orthonormal.

    Raises
    ------
    ValueError
        If X is not a finite matrix with rows and columns, or, before any cell is found, if rows of this number and rank
        may have more than ``most`` patterns (:func:`n_patterns`), or their bits more than 2 GB.
    """
    X = _matrix("X", X)
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(map(repr, get_args(Method)))}; got {method!r}.")
    normals, back = essential(X)
    m, r = normals.shape
    if r == 0:
        return patterns_of(X, np.ones((X.shape[1], 1)))
    possible = n_patterns(m, r)
    if possible > most:
        raise ValueError(
            f"X has {m:,} different hyperplanes of rank {r}, which may have {possible:,} patterns; the limit is "
            f"{most:,}. Take fewer rows or columns, or random patterns (sampled_patterns)."
        )
    size = 8 * possible * n_words(len(X))
    if size > _MOST_BYTES:
        raise ValueError(
            f"{possible:,} patterns on {len(X):,} rows would take {size / 1e9:.3g} GB; the limit is "
            f"{_MOST_BYTES / 1e9:.3g} GB. Take fewer rows, or random patterns (sampled_patterns)."
        )
    inside = inside_cells(normals) if method == "rays" else inside_cells_by_feasibility(normals)
    return patterns_of(X, back @ inside.T)


def _distinct(bits: NDArray, vectors: NDArray, n_rows: int) -> Patterns:
    first = np.sort(first_of_each(bits)[0])
    return Patterns(bits[first], vectors[:, first], n_rows)


def _matrix(name: str, values: ArrayLike) -> NDArray:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{name} must be a matrix with at least one row and one column; got shape {matrix.shape}.")
    bad = np.count_nonzero(~np.isfinite(matrix))
    if bad:
        raise ValueError(f"{name} must be finite; {bad} of its {matrix.size} entries are NaN or infinite.")
    return matrix


def _check_counts(n_rows: int, rank: int) -> None:
    for name, value in (("n_rows", n_rows), ("rank", rank)):
        if not is_integer(value, 1):
            raise ValueError(f"{name} must be an integer of at least 1; got {value!r}.")
