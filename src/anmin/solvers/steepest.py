"""The steepest neuron: the one that, given a little output, lowers the squared error fastest; with proof of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as every
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anmin.rows.arrays import ArrayRows
from anmin.rows.gated import through

Method = Literal["sweep", "branch and bound", "spectral"]
_CLIMBS, _LEAST_STRIDE = 30, 1e-4
_RANDOM_STARTS = 64
_MOST_DIVIDED = 12  # inputs and bias: more have too many orthants
_FIRST_TOL, _FINER = 10.0, 0.3  # of the passes of the branch and bound
_APART = 1e-3  # largest difference in the weights of two unit vectors that are taken for the same
#: Below this a neuron has no direction.
NO_LENGTH = 1e-150
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Steepest:
    """The unit vector v with the largest slope ‖(1/n) Σ_i w_i z_i σ(x̃_iᵀv)‖ that was found, and a bound of all slopes.

    Attributes
    ----------
    candidates : ndarray of shape (p, k)
        Unit vectors at which a climb ended, no two alike, the steepest first.
    slopes : ndarray of shape (k,)
        Of these; the first is the largest met.
    bound : float
        No unit vector has a larger slope, but for rounding, which a small allowance is for.
    method : {"sweep", "branch and bound", "spectral"}
        What the bound is by.
    """

    candidates: NDArray
    slopes: NDArray
    bound: float
    method: Method

    @property
    def vector(self) -> NDArray:
        """The steepest unit vector that was found, shape (p,)."""
        return self.candidates[:, 0]

    @property
    def slope(self) -> float:
        """Its slope."""
        return float(self.slopes[0])


def steepest_neuron(
    rows: ArrayRows,
    Z: NDArray,
    negative_slope: float = 0.0,
    *,
    starts: NDArray | None = None,
    tol: float = 1e-3,
    enough: float = 0.0,
    max_visits: float = 3e8,
) -> Steepest:
    """Maximise ‖(1/n) Σ_i w_i z_i σ(x̃_iᵀv)‖ over ‖v‖ <= 1, and bound it.

    For z_i = f(x_i) − y_i a new neuron ε·v with output weights −ε·u, u of the direction of that sum, changes the
    squared error by −2ε² times this slope, and the penalty by 2ε²·alpha.

    With one input the sum is linear on the arcs between the directions in which a row changes sides, and its norm is
    greatest at an eigenvector or an end of an arc: a sweep over the sorted rows finds the maximum to rounding. With
    more inputs climbs from many starts find a large slope, and a branch and bound over cones
    (:func:`anmin.solvers.steepest_kernels.bounded`) proves how large the largest can be. With few rows or inputs that
    is within ``tol`` of what was found; else the bound is what the visits allow, or a product of spectral norms:
    ‖Σ_i w_i z_i σ(x̃_iᵀv)‖ <= ‖√w Z‖ ‖√w X̃‖.

    Parameters
    ----------
    rows : ArrayRows
        Their targets are of no account.
    Z : ndarray of shape (N, c)
    negative_slope : float in [0, 1)
    starts : ndarray of shape (p, m), optional
        Where climbs begin besides at random directions, always the same ones.
    tol : float > 0
        By how much of itself the largest slope found may be exceeded, where visits suffice to prove it.
    enough : float
        A slope below which nothing needs to be told apart.
    max_visits : float
        Rows that the branch and bound visits at most, counted once for each cone, with two inputs and one output; with
        more, as many as take as long. Some 5e7 take a second.
    """
    Xt = np.column_stack([np.ones(rows.n_rows), rows.X.astype(np.float64, copy=False)])
    Z = np.ascontiguousarray(Z, dtype=np.float64)
    R = (Z if rows.w is None else Z * rows.w[:, None]) / rows.n
    # σ(t) = s·t + (1 − s)·max(t, 0)
    linear = negative_slope * (Xt.T @ R)
    rounding = (16 + np.sqrt(rows.n_rows)) * _EPS * float(np.linalg.norm(R, axis=1) @ np.linalg.norm(Xt, axis=1))
    if Xt.shape[1] == 2:
        slope, vector = _swept(Xt, (1 - negative_slope) * R, linear)
        found = _climbed(rows, Z, negative_slope, starts)
        return Steepest(*_distinct(found, vector, slope), slope + rounding, "sweep")
    V, slopes = _climbed(rows, Z, negative_slope, starts)
    slope, vector = float(slopes.max()), V[:, slopes.argmax()].copy()
    method: Method = "spectral"
    bound = _spectral(rows, Xt, Z)
    if Xt.shape[1] <= _MOST_DIVIDED:
        proved, slope = _divided(Xt, (1 - negative_slope) * R, linear, slope, vector, tol, enough, max_visits)
        if proved < bound:
            bound, method = proved, "branch and bound"
    return Steepest(*_distinct((V, slopes), vector, slope), bound + rounding, method)


def slopes_of(rows: ArrayRows, Z: NDArray, V: NDArray, negative_slope: float) -> tuple[NDArray, NDArray]:
    """Return ‖C_j‖ (m,) for unit vectors V (p, m), C_j = (1/n) Σ_i w_i z_i σ(x̃_iᵀv_j), and ½∇‖C_j‖² (p, m)."""
    G = through(rows.X, rows.pattern(V), rows.w, None, Z, negative_slope) / rows.n
    C = np.einsum("jcp,pj->jc", G, V)
    return np.linalg.norm(C, axis=1), np.einsum("jcp,jc->pj", G, C)


def _climbed(rows: ArrayRows, Z: NDArray, negative_slope: float, starts: NDArray | None) -> tuple[NDArray, NDArray]:
    """Return unit vectors (p, m) and their slopes (m,), each climbed to from a start.

    A stride to the unit vector along the gradient would end the climb if no row changed sides; where the slope does
    not rise it is cut to a quarter.
    """
    p = rows.n_features + 1
    V = np.hstack([np.eye(p), -np.eye(p), np.random.default_rng(0).standard_normal((p, _RANDOM_STARTS))])
    V = np.hstack([np.zeros((p, 0)) if starts is None else directions_of(starts), _unit(V)])
    slopes, ascent = slopes_of(rows, Z, V, negative_slope)
    stride = np.ones(V.shape[1])
    for _ in range(_CLIMBS):
        moving = np.flatnonzero(stride > _LEAST_STRIDE)
        if not moving.size:
            break
        W = _unit(V[:, moving] + stride[moving] * (_unit(ascent[:, moving]) - V[:, moving]))
        reached, onward = slopes_of(rows, Z, W, negative_slope)
        rose = reached > slopes[moving]
        better = moving[rose]
        done = better[reached[rose] <= slopes[better] * (1 + 1e-12)]
        V[:, better], slopes[better], ascent[:, better] = W[:, rose], reached[rose], onward[:, rose]
        stride[moving] = np.where(rose, np.minimum(2 * stride[moving], 1.0), stride[moving] / 4)
        stride[done] = 0.0
    return V, slopes


def _swept(Xt: NDArray, R: NDArray, linear: NDArray) -> tuple[float, NDArray]:
    """Return the largest ‖linearᵀv + Σ_i R_i max(x̃_iᵀv, 0)‖ over unit vectors, for x̃ = (1, x), and where it is.

    As v turns from (−1, 0) through (0, −1), (1, 0) and (0, 1), rows become active in the order of x, then all are, and
    then they leave off in the same order.
    """
    order = np.argsort(Xt[:, 1], kind="stable")
    products = (Xt[:, :, None] * R[:, None, :])[order]
    angle = np.arctan(Xt[order, 1])
    on, off = angle - np.pi / 2, angle + np.pi / 2
    G = linear + np.concatenate(
        [np.cumsum(products, axis=0), np.cumsum(products[::-1], axis=0)[::-1][1:], np.zeros((1, *linear.shape))]
    )
    first = np.concatenate([on, off])
    last = np.concatenate([on[1:], off, on[:1] + 2 * np.pi])
    # Where G Gᵀ has its larger eigenvalue, brought into the half-turn that begins with the arc.
    Q = G @ G.transpose(0, 2, 1)
    inside = np.arctan2(2 * Q[:, 0, 1], Q[:, 0, 0] - Q[:, 1, 1]) / 2
    inside = first + np.mod(inside - first, np.pi)
    angles = np.where(inside <= last, inside, first)
    found = [(a, np.linalg.norm(np.einsum("ipc,pi->ic", G, [np.cos(a), np.sin(a)]), axis=1)) for a in (first, angles)]
    angle_best, slope = max(((a[s.argmax()], s.max()) for a, s in found), key=lambda pair: pair[1])
    return float(slope), np.array([np.cos(angle_best), np.sin(angle_best)])


def _divided(
    Xt: NDArray, R: NDArray, linear: NDArray, slope: float, vector: NDArray, tol: float, enough: float, visits: float
) -> tuple[float, float]:
    """Return a bound by branch and bound and the largest slope met, whose place ``vector`` is set to if it is larger.

    With up to three inputs at once to within ``tol``; with more in passes that prove more and more, as far as visits
    suffice for a whole pass.
    """
    from anmin.solvers.steepest_kernels import bounded

    p = Xt.shape[1]
    visits *= 9 / (p * (p + R.shape[1] - 1))  # each takes as long as that
    R = np.ascontiguousarray(R)
    orthants = np.array([np.diag(signs) for signs in every([1.0, -1.0], repeat=p)])
    bound, level = np.inf, tol if p <= 4 else max(tol, _FIRST_TOL)
    while True:
        slope, proved, visited = bounded(Xt, R, linear, orthants, slope, level, enough, visits, vector)
        bound, visits = min(bound, proved), visits - visited
        if visits <= 0 or level <= tol or bound <= enough:
            return bound, slope
        level = max(tol, _FINER * level)


def _spectral(rows: ArrayRows, Xt: NDArray, Z: NDArray) -> float:
    """Return ‖√w Z‖ ‖√w X̃‖/n, with spectral norms."""
    root = np.ones((len(Xt), 1)) if rows.w is None else np.sqrt(rows.w)[:, None]
    norms = [np.sqrt(max(np.linalg.eigvalsh(M.T @ M)[-1], 0.0)) for M in (root * Xt, root * Z)]
    return float(norms[0] * norms[1] / rows.n)


def _distinct(found: tuple[NDArray, NDArray], vector: NDArray, slope: float) -> tuple[NDArray, NDArray]:
    """Return the steepest vector and those of others that are unlike each other, by falling slope."""
    V, slopes = np.column_stack([vector, found[0]]), np.concatenate([[slope], found[1]])
    cells = np.round(V / _APART).astype(np.int64)
    order = np.argsort(-slopes, kind="stable")
    kept = order[np.sort(np.unique(cells[:, order], axis=1, return_index=True)[1])]
    return V[:, kept], slopes[kept]


def directions_of(A: NDArray) -> NDArray:
    """Return the unit vectors (p, m) along the columns of A (p, h) that are not zero, or next to it."""
    lengths = np.linalg.norm(A, axis=0)
    return A[:, lengths > NO_LENGTH] / lengths[lengths > NO_LENGTH]


def _unit(V: NDArray) -> NDArray:
    return V / np.maximum(np.linalg.norm(V, axis=0), NO_LENGTH)
