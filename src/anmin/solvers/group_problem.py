"""Least squares with a norm of each group of weights as the penalty, from the sums of squares alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from anmin.blas import cholesky, cholesky_solve, one_thread, product
from anmin.solvers.accelerated import Accelerated, Point, Quadratic
from anmin.solvers.systems import solve_semidefinite

_NEWTON_STEPS = 12
_GAIN = 1e-12
_ONE_THREAD = 1500  # order of systems up to which threads would wait for each other
_FEWEST_STEPS, _MOST_STEPS = 40, 20_000
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class GroupProblem:
    """Minimise ⟨V, HV⟩ − 2⟨C, V⟩ + 2·alpha Σ_j ‖V_j‖ over V (m, p, c), with a norm of each V_j (p, c).

    Attributes
    ----------
    H : ndarray of shape (m·p, m·p)
        Positive semidefinite.
    C : ndarray of shape (m, p, c)
    alpha : float > 0
    matrices : bool
        Whether the norm is the nuclear norm, or else the sum of the lengths of the columns; one for one output.
    by_rows : Quadratic, optional
        The same, where products with H are quicker that way.
    """

    H: NDArray
    C: NDArray
    alpha: float
    matrices: bool = True
    by_rows: Quadratic | None = None

    @cached_property
    def blocks(self) -> NDArray:
        """The diagonal blocks of H, (m, p, p)."""
        m, p, _ = self.C.shape
        return self.H.reshape(m, p, m, p)[np.arange(m), :, np.arange(m)]

    def product(self, V: NDArray) -> NDArray:
        """Return HV (m, p, c)."""
        if self.by_rows is not None:
            return self.by_rows.product(V)
        m, p, c = V.shape
        return product(self.H, V.reshape(m * p, c)).reshape(V.shape) if c > 1 else (self.H @ V.ravel()).reshape(V.shape)

    def gradient(self, V: NDArray) -> NDArray:
        """Return C − HV (m, p, c), half the descent direction of the quadratic part."""
        return self.C - self.product(V)

    def least_squares(self) -> NDArray:
        """Return the V of least norm that minimises the quadratic part."""
        m, p, c = self.C.shape
        return solve_semidefinite(self.H, self.C.reshape(m * p, c)).reshape(self.C.shape)

    def solved(self, V: NDArray, tol: float, curvature: float = 1.0) -> Point:
        """Return the solution from V on, with a residual of at most ``tol`` where that is reached.

        Accelerated proximal gradient finds which groups are zero; for single columns, Newton's method on the others
        then takes it to rounding, and is tried now and then.
        """
        matrices = self.matrices and V.shape[2] > 1
        first = Accelerated(self, self.alpha, matrices)
        # Newton's method costs about as much as so many steps.
        more, steps = max(_FEWEST_STEPS, len(self.H) // 20), 0
        while True:
            found = first.solved(V, tol, _MOST_STEPS if matrices else more, curvature)
            V, curvature, steps = found.V, found.curvature, steps + found.steps
            if found.residual <= tol or steps >= _MOST_STEPS:
                return found
            with one_thread(when=len(self.H) <= _ONE_THREAD):
                columns = [self._by_lengths(V[:, :, k], self.C[:, :, k], tol) for k in range(V.shape[2])]
            V = np.concatenate(columns, axis=2)
            HV = self.product(V)
            residual = first.residual(V, self.C - HV)
            if residual <= tol:
                return Point(V, HV, residual, steps, curvature)
            # Lower it is in any case, though what stopped the steps, groups on their way to zero, may be worse.
            more = more if residual < found.residual else 2 * more

    def _by_lengths(self, V: NDArray, C: NDArray, tol: float) -> NDArray:
        """Return V (m, p, 1) after steps of Newton's method on the lengths of V (m, p), for its column of C.

        With ‖V_j‖ = min over η_j >= 0 of (‖V_j‖²/η_j + η_j)/2 the problem is smooth: V(η) = S(SHS + alpha·I)⁻¹SC for
        S² = diag(η), and what is left, −⟨C, V(η)⟩ + alpha Σ η_j, is convex in η with the derivatives
        alpha(1 − q_j²), q_j = ‖V_j‖/η_j. It is 1/q_j = 1 that is solved, which is linear in η for a group alone.
        Groups that come to zero stay there.
        """
        m, p = V.shape
        lengths, before, value = np.linalg.norm(V, axis=1), np.zeros(m), np.inf
        best = V
        for _ in range(_NEWTON_STEPS):
            on = np.flatnonzero(lengths > 0)
            if not on.size:
                break
            index = (on[:, None] * p + np.arange(p)).ravel()
            root = np.repeat(np.sqrt(lengths[on]), p)
            system = self.H[np.ix_(index, index)] if len(on) < m else self.H.copy()
            system *= root[:, None] * root
            system[np.diag_indices_from(system)] += self.alpha
            U = cholesky(system)
            if U is None:
                break
            found = (root * cholesky_solve(U, root * C[on].ravel())).reshape(-1, p)
            after = float(self.alpha * lengths.sum() - np.vdot(C[on], found))
            if after > value + _GAIN * abs(value):
                lengths = (lengths + before) / 2
                continue
            value, before = after, lengths
            best = np.zeros_like(V)
            best[on] = found
            norms = np.linalg.norm(found, axis=1)
            q = norms / lengths[on]
            if self.alpha * np.linalg.norm(q - 1) <= tol:
                break
            units = np.zeros((len(on), p, len(on)))
            units[np.arange(len(on)), :, np.arange(len(on))] = found / norms[:, None]
            W = solve_triangular(U, units.reshape(len(index), -1), trans=1, check_finite=False)
            curvature = -self.alpha * product(W.T, W)
            curvature[np.diag_indices_from(curvature)] += 1 + len(index) * _EPS
            scale = np.sqrt(lengths[on])
            step = scale / q * solve_semidefinite(curvature, (q * (q - 1) * scale)[:, None])[:, 0]
            lengths = lengths.copy()
            lengths[on] = np.maximum(lengths[on] + step, 0.0)
        return best[:, :, None]
