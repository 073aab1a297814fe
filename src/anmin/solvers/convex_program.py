"""The cone-constrained program of a ReLU network over given patterns, for any design matrix: its value and solution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from anmin.blas import product
from anmin.rows.patterns import first_of_each, packed
from anmin.solvers.cone_problem import ConeProblem, shortened
from anmin.solvers.cones import Cones

_BLOCK_ENTRIES = 2**21
_MOST_AT_ONCE = 2000  # weights of a working set, from which on gates are added as they are missed
_INNER = 0.3  # of the tolerance asked for, for the working set alone
_PATIENCE = 8  # rounds in which the residual is not halved, as where rounding does not let it
_LEAST_REACH = 1e-6
_REPEATS, _SHORT = 5, 0.1
_ROUGHLY = 0.1  # of the residual there is: how exactly a working set is solved that is not the last


class Look(NamedTuple):
    """What a visit to the rows tells of weights."""

    gradient: NDArray
    b0: NDArray
    objective: float
    bound: float
    residual: float
    missed: NDArray


@dataclass(frozen=True, eq=False)
class ConvexProgram:
    """Minimise, over u_jk and v_jk in R^p with (2·1[i in D_j] − 1) x_iᵀu_jk >= 0 for all rows i, the same for v_jk,

        (1/n) Σ_i w_i ‖f_i − y_i‖² + 2·alpha Σ_jk (‖u_jk‖ + ‖v_jk‖) + alpha ‖b0‖²
        f_ik = Σ_j 1[i in D_j] x_iᵀ(u_jk − v_jk) + b0_k

    Attributes
    ----------
    X : ndarray of shape (n, p)
        The design, with a constant column where neurons have a bias.
    on : ndarray of bool, shape (P, n)
        The patterns D_j. A cone may be {0}. Of equal patterns the first gets all the weights; one without rows none.
    Y : ndarray of shape (n, c)
    w : ndarray of shape (n,) or None
        Positive row weights, whose sum is n in the formula.
    alpha : float >= 0
    bias : bool
        Whether there is a b0.
    """

    X: NDArray
    on: NDArray
    Y: NDArray
    w: NDArray | None
    alpha: float
    bias: bool

    @cached_property
    def n(self) -> float:
        """Sum of the row weights."""
        return float(len(self.X)) if self.w is None else float(self.w.sum())

    @cached_property
    def curvature(self) -> float:
        """Σ_i w_i ‖x_i‖²/n, a bound for the curvature along the weights of one pattern."""
        squares = np.einsum("ip,ip->i", self.X, self.X)
        total = float(squares.sum() if self.w is None else squares @ self.w) / self.n
        return total if total > 0 else 1.0

    @cached_property
    def distinct(self) -> NDArray:
        """Numbers of the first pattern of each kind that is active on some row."""
        first = np.sort(first_of_each(packed(self.on))[0])
        return first[self.on[first].any(axis=1)]

    @cached_property
    def cones(self) -> Cones:
        """The cones of all patterns."""
        return Cones(self.X, self.on)

    @cached_property
    def largest(self) -> float:
        """The smallest alpha at which all weights are zero, or a millionth of the most that it could be, if more."""
        P, p, c = len(self.on), self.X.shape[1], self.Y.shape[1]
        gradient, *_ = self._gradient(np.zeros((P, p, c)))
        squares = self.Y**2 if self.w is None else self.Y**2 * self.w[:, None]
        most = np.sqrt(self.curvature * squares.sum(axis=0).max() / self.n)
        return max(float(self._reaches(gradient).max(initial=0.0)), _LEAST_REACH * float(most))

    def predictions(self, W: NDArray) -> NDArray:
        """Return Σ_j 1[i in D_j] x_iᵀW_j for W (P, p, c), without b0, (n, c)."""
        used = np.flatnonzero(W.any(axis=(1, 2)))
        c = W.shape[2]
        f = np.zeros((len(self.X), c))
        if not used.size:
            return f
        step = max(1, _BLOCK_ENTRIES // len(used))
        for start in range(0, len(self.X), step):
            rows = slice(start, start + step)
            on = self.on[used, rows].T
            for k in range(c):
                heights = product(self.X[rows], np.ascontiguousarray(W[used, :, k].T))
                f[rows, k] = np.sum(heights, axis=1, where=on)
        return f

    def look(self, U: NDArray, V: NDArray) -> Look:
        """Visit the rows with weights U and V (P, p, c), which must lie in their cones."""
        alpha, n = self.alpha, self.n
        gradient, b0, R = self._gradient(U - V)
        WR = R if self.w is None else R * self.w[:, None]
        sse, with_y = np.einsum("ic,ic->c", WR, R), np.einsum("ic,ic->c", WR, self.Y)
        lengths = np.linalg.norm(U, axis=1).sum(axis=0) + np.linalg.norm(V, axis=1).sum(axis=0)
        objective = float(np.sum(sse / n + 2 * alpha * lengths + alpha * b0**2))
        reaches = self._reaches(gradient)
        bound = 0.0
        if alpha > 0:
            mean = WR.sum(axis=0) / n if self.bias else np.zeros_like(b0)
            # From (f − y)² >= 2z(f − y) − z² with z = θ(f − y): feasible where θ·reach <= alpha, for each output.
            square, reach = sse / n + mean**2 / alpha, reaches.max(axis=(0, 1), initial=0.0)
            some = square > 0
            theta = np.maximum(np.divide(-with_y / n, square, out=np.zeros_like(square), where=some), 0.0)
            theta = np.minimum(theta, alpha / np.maximum(reach, 1e-300))
            bound = float(np.maximum(-2 * theta * with_y / n - theta**2 * square, 0.0).sum())
        missed = np.maximum(reaches - alpha, 0.0).max(axis=(0, 2))
        return Look(gradient, b0, objective, bound, self._residual(U, V, gradient), missed)

    def solved(self, U: NDArray, V: NDArray, tol: float, max_rounds: int) -> tuple[NDArray, NDArray, Look, int]:
        """Return the solution from U and V on, what there is to say of it, and the number of visits to the rows."""
        look = self.look(U, V)
        best, tol, rounds, since = (U, V, look), tol * self.largest, 1, 0
        while look.residual > tol and rounds < max_rounds and since < _PATIENCE:
            used = np.flatnonzero((U.any(axis=(1, 2))) | (V.any(axis=(1, 2))))
            room = max(len(used), _MOST_AT_ONCE // self.X.shape[1])
            worst = self.distinct[np.argsort(-look.missed[self.distinct], kind="stable")][:room]
            working = np.union1d(used, worst if len(self.distinct) <= room else worst[look.missed[worst] > 0])
            inner = _INNER * tol if len(working) >= len(self.distinct) else max(_INNER * tol, _ROUGHLY * look.residual)
            U, V = self._improved(working, U, V, inner)
            look, rounds = self.look(U, V), rounds + 1
            since = 0 if look.residual < best[2].residual / 2 else since + 1
            if look.residual < best[2].residual:
                best = U, V, look
        return *best, rounds

    def inside(self, U: NDArray, V: NDArray) -> tuple[NDArray, NDArray]:
        """Return the points of the cones that are nearest to U and V."""
        P, p, c = U.shape
        gates = np.tile(np.arange(P), 2 * c)
        Z = np.stack([U, V]).transpose(0, 3, 1, 2).reshape(-1, p)
        for _ in range(_REPEATS):  # a point far shorter than what was projected is mostly rounding
            before, Z = Z, self.cones.projection(gates)(Z, exact=True)
            if (np.linalg.norm(Z, axis=1) >= _SHORT * np.linalg.norm(before, axis=1)).all():
                break
        U, V = np.ascontiguousarray(Z.reshape(2, c, P, p).transpose(0, 2, 3, 1))
        return U, V

    def _improved(self, working: NDArray, U: NDArray, V: NDArray, tol: float) -> tuple[NDArray, NDArray]:
        """Return the solution of the working set of gates."""
        R, C = self._root(working)
        H = product(R.T, R)
        m, U, V = len(working), U.copy(), V.copy()
        for k in range(self.Y.shape[1]):
            problem = ConeProblem(R, H, C[:, k], self.alpha, self.cones, working)
            z = np.concatenate([U[working, :, k], V[working, :, k]])
            z = problem.solved(z, tol, self.curvature)
            U[working, :, k], V[working, :, k] = z[:m], z[m:]
        return self.inside(U, V)  # of what was projected as a small part of something, with its rounding

    def _gradient(self, W: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return −½ times the gradient of the squared error (P, p, c), b0 (c,) and f − y (n, c)."""
        R = self.predictions(W) - self.Y
        b0 = np.zeros(R.shape[1])
        if self.bias:
            b0 = -(R.sum(axis=0) if self.w is None else self.w @ R) / (self.n * (1 + self.alpha))
            R = R + b0
        WR = R if self.w is None else R * self.w[:, None]
        P, p, c = W.shape
        gradient = np.empty((P, p, c))
        step = max(1, _BLOCK_ENTRIES // len(self.X))
        for start in range(0, P, step):
            on = self.on[start : start + step].astype(np.float64)
            for k in range(c):
                gradient[start : start + step, :, k] = product(on, self.X * (WR[:, k] / -self.n)[:, None])
        return gradient, b0, R

    def _reaches(self, gradient: NDArray) -> NDArray:
        """Return the lengths of the projections of the gradient and of its negative on the cones, (2, P, c)."""
        P, p, c = gradient.shape
        projection = self.cones.projection(np.tile(np.arange(P), 2 * c))
        along = gradient.transpose(2, 0, 1)
        found = projection(np.stack([along, -along]).reshape(-1, p), exact=True)
        reaches = np.linalg.norm(found, axis=1).reshape(2, c, P).transpose(0, 2, 1)
        reaches[:, ~self.on.any(axis=1)] = 0.0  # of rounding; but for it, the gradient is
        return reaches

    def _residual(self, U: NDArray, V: NDArray, gradient: NDArray) -> float:
        """Return the largest ‖z − prox(z + t·gradient)‖/t of a u_jk or v_jk, with t one over the curvature."""
        P, p, c = U.shape
        step = 1 / self.curvature
        Z = np.stack([U, V]).transpose(0, 3, 1, 2).reshape(-1, p)
        slope = np.stack([gradient, -gradient]).transpose(0, 3, 1, 2).reshape(-1, p)
        found = self.cones.projection(np.tile(np.arange(P), 2 * c))(Z + step * slope, exact=True)
        found = shortened(found, step * self.alpha)
        moved = np.linalg.norm(Z - found, axis=1).reshape(2, c, P) / step
        return float(moved[:, :, self.on.any(axis=1)].max(initial=0.0))

    def _root(self, working: NDArray) -> tuple[NDArray, NDArray]:
        """Return R (r, m·p) and C = Rᵀt (m·p, c) of :class:`ConeProblem`, with b0 solved out."""
        n, p = self.X.shape
        m, w = len(working), self.w
        left = 1 / (1 + self.alpha) if self.bias else 0.0
        gram, cross, sums, y_sum = np.zeros((m * p, m * p)), np.zeros((m * p, self.Y.shape[1])), np.zeros(m * p), 0.0
        few = n <= m * p
        designs = []
        step = n if few else max(1, _BLOCK_ENTRIES // (m * p))
        for start in range(0, n, step):
            rows = slice(start, start + step)
            design = (self.on[working, rows].T[:, :, None] * self.X[rows, None, :]).reshape(-1, m * p)
            root = np.full(len(design), 1 / np.sqrt(self.n)) if w is None else np.sqrt(w[rows] / self.n)
            sums += (root**2) @ design
            y_sum = y_sum + (root**2) @ self.Y[rows]
            design *= root[:, None]
            cross += design.T @ (self.Y[rows] * root[:, None])
            if few:
                designs.append((design, root))
            else:
                gram += product(design.T, design)
        C = cross - left * np.outer(sums, y_sum)
        if few:
            design, root = designs[0]
            # ΦᵀΦ − left·s sᵀ is that of the design with this share of its means taken away.
            return np.ascontiguousarray(design - (1 - np.sqrt(1 - left)) * np.outer(root, sums)), C
        gram -= left * np.outer(sums, sums)
        factor, pivots, rank, _ = lapack.dpstrf(gram, overwrite_a=True)
        R = np.empty((rank, m * p))
        R[:, pivots - 1] = np.triu(factor)[:rank]
        return R, C
