"""Which activation patterns a neuron can have on given rows: the cells of an arrangement of hyperplanes.

For rows x_i of X (n, p), with a constant column where neurons have a bias, a vector g is active on the rows with
x_iᵀ g > 0. The hyperplanes {g : x_iᵀ g = 0} cut space into open cells, and all g in one cell have the same pattern.
Patterns are those of the open cells. A vector on hyperplanes is on the boundary of cells, where max(Xg, 0) is the same
by the pattern of any of them, so that nothing is lost to a network. In a cell x_iᵀ g > 0 and x_iᵀ g >= 0 differ for
rows of zeros only; these are never active here, as in :meth:`anmin.network.ReLUNetwork.pattern`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

from anmin.network import ReLUNetwork
from anmin.rows.patterns import n_words, octets, packed
from anmin.validation import is_integer

_TOL = 1e-9  # sine of the angle below which a vector counts as lying on a hyperplane
_LEAST_MARGIN = 1e-8  # of a linear program's vector, to be told from rounding
_RANK_TOL = 1e-12  # of the largest singular value
_MOST, _MOST_BYTES = 1_000_000, 2_000_000_000
_BLOCK_ENTRIES = 2**22
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
    step = max(1, _BLOCK_ENTRIES // len(X))
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
    normals, back = _essential(X)
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
    inside = _cells(normals) if method == "rays" else _cells_by_feasibility(normals)
    return patterns_of(X, back @ inside.T)


def _essential(X: NDArray) -> tuple[NDArray, NDArray]:
    """Return unit normals (m, r) of the different hyperplanes in coordinates of full rank, and the way back (p, r).

    The coordinates z of g are those in which the columns of the normals are about orthonormal, so that how X is scaled
    does not matter: g = back @ z. m and r are 0 where X is zero.
    """
    # Scaled by the largest entries first, so that no square over- or underflows.
    columns = np.abs(X).max(axis=0)
    kept = columns > 0
    if not kept.any():
        return np.zeros((0, 0)), np.zeros((X.shape[1], 0))
    rows = X[:, kept] / columns[kept]
    largest = np.abs(rows).max(axis=1)
    rows = _unit(rows[largest > 0] / largest[largest > 0, None])
    rows = _without_parallels(rows)
    U, S, Vt = np.linalg.svd(rows, full_matrices=False)
    r = np.count_nonzero(S / S[0] > _RANK_TOL)
    back = np.zeros((X.shape[1], r))
    back[kept] = Vt[:r].T / S[:r] / columns[kept, None]
    return _without_parallels(_unit(U[:, :r])), back


def _cells(normals: NDArray) -> NDArray:
    """Return a vector (P, r) inside each cell of different hyperplanes (m, r) of rank r.

    By the rays of the arrangement, the intersections of r − 1 hyperplanes. The cells are pointed cones, and each is
    spanned by the rays at its boundary, whose sum is inside. The cells at a ray v have the signs of normals·v, and on
    the hyperplanes through v those of the cells of these alone, an arrangement of one dimension less.
    """
    m, r = normals.shape
    if r == 1:
        return np.array([[1.0], [-1.0]])
    if r == 2:
        return _sweep(normals)
    found, seen = _Found(m, r), set()
    # Where just r − 1 hyperplanes meet they are independent, and all of their signs occur.
    local = (np.arange(2 ** (r - 1))[:, None] >> np.arange(r - 1) & 1).astype(bool)
    for rays in _rays(normals):
        heights = rays @ normals.T
        through = np.abs(heights) <= _TOL
        simple = through.sum(axis=1) == r - 1
        step = max(1, _BLOCK_ENTRIES // (len(local) * m))
        for chosen in np.array_split(np.flatnonzero(simple), max(1, -(-np.count_nonzero(simple) // step))):
            places = np.nonzero(through[chosen])[1].reshape(-1, 1, r - 1)
            signs = np.repeat(heights[chosen, None] > 0, len(local), axis=1)
            np.put_along_axis(signs, np.repeat(places, len(local), axis=1), local[None], axis=2)
            found.add(signs.reshape(-1, m), np.repeat(rays[chosen], len(local), axis=0))
        for ray, around, above in zip(rays[~simple], through[~simple], heights[~simple] > 0, strict=True):
            # Such a line comes with each r − 1 of its hyperplanes.
            if (key := around.tobytes()) in seen:
                continue
            seen.add(key)
            signs_around = _signs_around(normals[around], ray)
            signs = np.tile(above, (len(signs_around), 1))
            signs[:, around] = signs_around
            found.add(signs, np.tile(ray, (len(signs), 1)))
    return found.inside()


def _signs_around(normals: NDArray, ray: NDArray) -> NDArray[np.bool_]:
    """Return the signs (P, k) of the cells of hyperplanes (k, r) through a ray."""
    # In the space across the ray, of one dimension less; hyperplanes that are parallel there were so before.
    across = _unit(normals @ np.linalg.svd(ray[None])[2][1:].T)
    return _cells(across) @ across.T > 0


def _sweep(normals: NDArray) -> NDArray:
    """Return a vector (2m, 2) inside each cell of different lines (m, 2) of the plane: between neighbours by angle."""
    angles = np.sort(np.arctan2(normals[:, 1], normals[:, 0]) % np.pi)
    middle = (angles + np.append(angles[1:], angles[0] + np.pi)) / 2 + np.pi / 2
    inside = np.column_stack([np.cos(middle), np.sin(middle)])
    return np.vstack([inside, -inside])


def _rays(normals: NDArray) -> Iterator[NDArray]:
    """Yield, in blocks, a unit vector (k, r) of the line in which each r − 1 independent hyperplanes meet."""
    m, r = normals.shape
    subsets = combinations(range(m), r - 1)
    while block := list(islice(subsets, max(1, _BLOCK_ENTRIES // (m * r)))):
        Q, R = np.linalg.qr(normals[np.array(block)].swapaxes(1, 2), mode="complete")
        independent = np.abs(np.diagonal(R, axis1=1, axis2=2)).min(axis=1) > _TOL
        yield Q[independent, :, -1]


class _Found:
    """Cells found so far, up to their sign: the bits of those positive on the first hyperplane, and sums of rays."""

    def __init__(self, m: int, r: int) -> None:
        self.bits, self.sums = np.zeros((0, n_words(m)), dtype=np.uint64), np.zeros((0, r))
        self.waiting: list[tuple[NDArray, NDArray]] = []
        self.n_waiting = 0

    def add(self, signs: NDArray, rays: NDArray) -> None:
        """Add that each ray (k, r) is at the boundary of the cell of these signs (k, m)."""
        negative = ~signs[:, 0]
        self.waiting.append((packed(signs ^ negative[:, None]), np.where(negative[:, None], -rays, rays)))
        self.n_waiting += len(rays)
        if self.n_waiting > max(_BLOCK_ENTRIES // 4, len(self.bits)):
            self._join()

    def inside(self) -> NDArray:
        """Return a vector (P, r) inside each cell, and inside its opposite."""
        self._join()
        return np.vstack([self.sums, -self.sums])

    def _join(self) -> None:
        bits = np.vstack([self.bits, *(bits for bits, _ in self.waiting)])
        rays = np.vstack([self.sums, *(rays for _, rays in self.waiting)])
        first, cell = _first_of_each(bits)
        self.bits = bits[first]
        self.sums = np.column_stack([np.bincount(cell, column, minlength=len(first)) for column in rays.T])
        self.waiting, self.n_waiting = [], 0


def _cells_by_feasibility(normals: NDArray) -> NDArray:
    """Return a vector (P, r) in each cell of different hyperplanes (m, r), by adding them one at a time.

    A vector inside a cell tells that a part of the cell is on one side of a new hyperplane. Whether a part is on the
    other side, and where, a linear program tells.
    """
    cells = [(np.zeros(0), np.zeros(normals.shape[1]))]
    for k, normal in enumerate(normals):
        divided = []
        for signs, inside in cells:
            for side in (1.0, -1.0):
                extended = np.append(signs, side)
                known = side * (normal @ inside) > _TOL * np.linalg.norm(inside)
                vector = inside if known else _vector_inside(normals[: k + 1] * extended[:, None])
                if vector is not None:
                    divided.append((extended, vector))
        cells = divided
    return np.array([inside for _, inside in cells])


def _vector_inside(normals: NDArray) -> NDArray | None:
    """Return g (r,) with normals·g > 0 on all (k, r), of the box |g| <= 1 that with the largest least; or None."""
    k, r = normals.shape
    found = linprog(
        np.append(np.zeros(r), -1.0),
        A_ub=np.column_stack([-normals, np.ones(k)]),
        b_ub=np.zeros(k),
        bounds=[(-1.0, 1.0)] * r + [(None, 1.0)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.x is None:
        raise RuntimeError(f"The linear program of a cell was not solved: {found.message}")
    return found.x[:r] if (normals @ found.x[:r]).min() > _LEAST_MARGIN else None


def _without_parallels(rows: NDArray) -> NDArray:
    """Return one of each unit vectors (n, p) that are equal up to sign, to within ``_TOL``.

    Where such are not seen to be equal, since rounding parts them, that costs time but changes no pattern.
    """
    if len(rows) == 0:
        return rows
    leading = np.abs(rows) > 0.5 / np.sqrt(rows.shape[1])
    signs = np.sign(np.take_along_axis(rows, leading.argmax(axis=1)[:, None], axis=1))
    same = np.round(rows * signs / _TOL).astype(np.int64)
    return rows[np.sort(_first_of_each(same.view(np.uint64))[0])]


def _unit(rows: NDArray) -> NDArray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _distinct(bits: NDArray, vectors: NDArray, n_rows: int) -> Patterns:
    first = np.sort(_first_of_each(bits)[0])
    return Patterns(bits[first], vectors[:, first], n_rows)


def _first_of_each(words: NDArray) -> tuple[NDArray, NDArray]:
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
