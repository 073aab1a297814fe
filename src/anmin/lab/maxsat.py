"""MAXSAT by its semidefinite relaxation, solved by the mixing method (Wang & Kolter 2019), with random rounding."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from anmin.lab.mixing import descend

_MOST_BY_FORCE = 20
_SWEEPS, _TOL = 2000, 1e-12


@dataclass(frozen=True)
class Relaxed:
    """A solution of the relaxation and its best rounding.

    Attributes
    ----------
    V : ndarray of shape (1 + n, k)
        Unit vectors: that of truth, then those of the variables.
    unsatisfied : float
        Σ_j (‖Σ_i s̃_ij v_i‖² − (|s̃_j| − 1)²)/(4|s̃_j|), a lower bound of the number of clauses left unsatisfied where
        none has more than two literals (and V is optimal).
    values : ndarray of shape (n,), bool
        The best of the roundings.
    left : int
        Clauses that ``values`` leave unsatisfied.
    """

    V: NDArray
    unsatisfied: float
    values: NDArray
    left: int


def relaxed_maxsat(clauses: NDArray, rng: np.random.Generator, n_roundings: int = 50) -> Relaxed:
    """Minimise ⟨SᵀS, VᵀV⟩ over unit vectors, row j of S being (−1, s̃_j)/√(4|s̃_j|), and round as Goemans and Williamson.

    Parameters
    ----------
    clauses : ndarray of shape (m, n), of −1, 0, 1
        s̃_j, a row each: 1 where a variable stands in the clause, −1 where its negation does.
    rng : numpy.random.Generator
    n_roundings : int >= 1
        Random half-spaces r; a value is true where sign(v_oᵀr) = sign(v_Tᵀr).

    Raises
    ------
    ValueError
        If a clause is empty or an entry is none of −1, 0, 1.
    """
    clauses, counts = _checked(clauses)
    if n_roundings < 1:
        raise ValueError(f"n_roundings must be at least 1; got {n_roundings}.")
    m, n = clauses.shape
    S = np.column_stack([-np.ones(m), clauses]).T / np.sqrt(4 * counts)
    k = int(np.sqrt(2 * (n + 1))) + 1
    V = rng.standard_normal((n + 1, max(k, 2)))
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    free = np.ones((1, n + 1), dtype=bool)
    free[0, 0] = False
    W = np.ascontiguousarray(S.T @ V)[None]
    S = np.ascontiguousarray(S)
    batch = np.ascontiguousarray(V)[None]
    descend(S, (S**2).sum(axis=1), free, batch, W, np.zeros((1, n + 1)), np.zeros(1, np.int64), _SWEEPS, _TOL, 0, 1)
    V = batch[0]
    bound = float(np.sum((S.T @ V) ** 2) - np.sum((counts - 1) ** 2 / (4 * counts)))
    heights = V @ rng.standard_normal((V.shape[1], n_roundings))
    roundings = (heights[1:] > 0) == (heights[0] > 0)
    left = [n_unsatisfied(clauses, values) for values in roundings.T]
    best = int(np.argmin(left))
    return Relaxed(V, bound, roundings[:, best], left[best])


def n_unsatisfied(clauses: NDArray, values: NDArray) -> int:
    """Return how many clauses (m, n) truth values (n,) leave unsatisfied."""
    signs = np.where(values, 1, -1)
    return int(np.count_nonzero(~np.any(clauses * signs > 0, axis=1)))


def fewest_unsatisfied(clauses: NDArray) -> int:
    """Return the least number of unsatisfied clauses over all values, by trying them all; ValueError for n > 20."""
    clauses, _ = _checked(clauses)
    n = clauses.shape[1]
    if n > _MOST_BY_FORCE:
        raise ValueError(f"All values are tried for at most {_MOST_BY_FORCE} variables; got {n}.")
    return min(n_unsatisfied(clauses, np.array(values)) for values in product((False, True), repeat=n))


def _checked(clauses: NDArray) -> tuple[NDArray, NDArray]:
    clauses = np.asarray(clauses, dtype=np.float64)
    if clauses.ndim != 2 or clauses.size == 0 or not np.isin(clauses, (-1, 0, 1)).all():
        raise ValueError("clauses must be a matrix of −1, 0 and 1, with a row for each clause.")
    counts = np.count_nonzero(clauses, axis=1)
    if not counts.all():
        raise ValueError(f"Each clause must have a literal; number {np.flatnonzero(counts == 0)[0]} has none.")
    return clauses, counts
