"""Which gates a convex program is given: random ones, all that the rows allow, or the user's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.arrangements import all_patterns, patterns_of
from anmin.rows.arrays import ArrayRows
from anmin.rows.scaling import Scaling
from anmin.solvers.gated import checked_gates

_BLOCK_ENTRIES = 2**22  # of rows × gates at a time
_BESIDE = 64 * float(np.finfo(np.float64).eps)


def sampled_gates(rows: ArrayRows, count: int, rng: np.random.Generator) -> NDArray:
    """Return the gate that is open for every row, and random ones g ~ N(0, I), at most ``count`` in all, (p, P).

    Of gates that are open on the same rows only the first is kept, and none that is open on no row. With the gate of
    every row the linear models are among the networks.
    """
    p = rows.n_features + 1
    vectors = rng.standard_normal((p, count))
    vectors[:, 0] = np.eye(p)[0]
    return patterns_of(_with_constant(rows), vectors).without_zero().vectors


def all_gates(rows: ArrayRows) -> NDArray:
    """Return a gate of each pattern that the rows allow (p, P), but the one of no row.

    Raises
    ------
    ValueError
        If there may be too many (:func:`anmin.arrangements.all_patterns`).
    """
    try:
        return all_patterns(_with_constant(rows)).without_zero().vectors
    except ValueError as error:
        raise ValueError(f"gates='all' is too much for these rows; try gates='sample'. {error}") from None


def given_gates(gates: Any, rows: ArrayRows, scaling: Scaling) -> NDArray:
    """Return the user's gates (p, P), which are for raw inputs, for inputs of the scaling; ``rows`` are raw.

    A row that lies on the hyperplane of a gate, where only rounding says on which side it is, is to be out, as is said
    of 0 > 0: such a gate is moved by a little more than rounding.

    Raises
    ------
    ValueError
        If they are not numbers, not of shape (d + 1, gates), not finite, zero, or two are of one direction.
    """
    p = rows.n_features + 1
    try:
        vectors = np.array(gates, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("gates must be 'sample', 'all' or a matrix of numbers, one column for each gate.") from None
    if vectors.ndim == 2 and len(vectors) == p and np.isfinite(vectors).all():
        Xt = _with_constant(rows)
        beside = _BESIDE * (np.abs(Xt).max(axis=0) @ np.abs(vectors))
        step = max(1, _BLOCK_ENTRIES // len(Xt))
        blocks = [slice(k, k + step) for k in range(0, vectors.shape[1], step)]
        on = np.concatenate([(np.abs(Xt @ vectors[:, k]) <= beside[k]).any(axis=0) for k in blocks] or [[]]).astype(
            bool
        )
        vectors[0, on] -= 2 * beside[on]
        vectors = scaling.unfold_hidden(vectors)
    return checked_gates(vectors, p)


def _with_constant(rows: ArrayRows) -> NDArray:
    return np.column_stack([np.ones(rows.n_rows), rows.X])
