"""Least squares with the length of each weight vector as the penalty, each in the cone of its pattern: one output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin.blas import cholesky, cholesky_solve
from anmin.solvers.cones import Cones, Projection
from anmin.solvers.interior_point import InteriorPoint

_NEWTON_STEPS = 200  # in a proximal step
_FEW, _MANY = 80, 1000  # in all, before and after the interior-point method
_CUTS = 12  # times that constraints are added to that
_FIRST, _LARGEST = 1e3, 1e10  # proximal step, in units of 1/curvature
_MOST = 10.0
_GROWTH = ((12, _MOST), (25, 4.0), (50, 2.0), (100, 1.0))  # of the proximal step, after so many Newton steps
_SLOPE, _SHORTEST, _ROUNDING = 1e-4, 1e-8, 1e-14
_STILL = 5  # Newton steps that change no more than rounding does


class _Point(NamedTuple):
    """A dual point ξ of a proximal step, what follows from it, and the value of the dual, which is to be least."""

    xi: NDArray
    along: NDArray  # Rᵀξ
    u: NDArray  # projections
    z: NDArray  # shrunk
    value: float


@dataclass(frozen=True, eq=False)
class ConeProblem:
    """Minimise ½‖R w − t‖² + alpha Σ_j (‖u_j‖ + ‖v_j‖) over u_j, v_j in cones K_j, with w_j = u_j − v_j.

    By the proximal point method, that is the augmented Lagrangian method for the dual problem, each step of which is
    solved by a semismooth Newton method (Li, Sun & Toh, A highly efficient semismooth Newton augmented Lagrangian
    method for solving Lasso problems, 2018). The dual has one variable for each row of R, its multipliers are u and v.
    The Newton system is of what is not zero, and of what the active constraints leave free of it.

    Attributes
    ----------
    R : ndarray of shape (r, m·p)
    H : ndarray of shape (m·p, m·p)
        RᵀR.
    c : ndarray of shape (m·p,)
        Rᵀt.
    alpha : float
    cones : Cones
    gates : ndarray of shape (m,)
        Which of the cones are those of w_1, ..., w_m.
    """

    R: NDArray
    H: NDArray
    c: NDArray
    alpha: float
    cones: Cones
    gates: NDArray

    def solved(self, z: NDArray, tol: float, curvature: float) -> NDArray:
        """Return z (2m, p), first all u, then all v, from z on; ``tol`` bounds the residual of each z_g.

        Newton's method gets lost far from the solution where the penalty is small: an interior-point method gets near.
        Without a penalty that would go far away, as there are many solutions, and proximal steps find one nearby.
        """
        found, done = self._by_proximal_steps(z, tol, curvature, _FEW if self.alpha > 0 else _MANY)
        if not done and self.alpha > 0:
            near = self._from_inside(curvature)
            start = min(near, found, key=self.objective)
            found, _ = self._by_proximal_steps(start, tol, curvature, _MANY)
        return found

    def objective(self, z: NDArray) -> float:
        """Return what is minimised, less a constant."""
        Rw, m = self._through(z), len(self.gates)
        linear = float(self.c @ (z[:m] - z[m:]).ravel())
        return 0.5 * float(Rw @ Rw) - linear + self.alpha * float(np.linalg.norm(z, axis=1).sum())

    def _from_inside(self, curvature: float) -> NDArray:
        """Return a point near the solution, from within the cones, but for those that are flat."""
        m, p = len(self.gates), len(self.c) // len(self.gates)
        centres = self.cones.centres(self.gates)
        full = np.flatnonzero(centres.any(axis=1))
        z = np.zeros((2 * m, p))
        if not full.size:
            return z
        at = (full[:, None] * p + np.arange(p)).ravel()
        gates, both = self.gates[full], np.concatenate([full, full + m])
        projection = self.cones.projection(np.concatenate([gates, gates]))
        for _ in range(_CUTS):
            before = self.cones.counts.sum()
            method = InteriorPoint(self.H[np.ix_(at, at)], self.c[at], self.alpha, *self.cones.known(gates))
            z[both] = projection(method.solved(centres[full], curvature), exact=True)
            if self.cones.counts.sum() == before:
                break
        return z

    def _by_proximal_steps(self, z: NDArray, tol: float, curvature: float, most: int) -> tuple[NDArray, bool]:
        """Return the solution from z on, and whether it is one, after at most so many Newton steps.

        The proximal steps begin with lengths of about 1/``curvature``, and grow as long as Newton's method follows.
        """
        projection = self.cones.projection(np.concatenate([self.gates, self.gates]))
        xi, step, left = self._through(z), _FIRST / curvature, most
        while left > 0:
            point, inside, taken = self._proximal_step(projection, z, xi, step, tol, left)
            left -= max(taken, 1)
            moved = np.linalg.norm(point.z - z, axis=1).max() / step
            z, xi = point.z, point.xi
            if moved + inside <= tol:
                return z, True
            step *= self._factor(taken) if moved > tol / 2 else 1 / _MOST
            step = min(step, _LARGEST / curvature)
        return z, False

    @staticmethod
    def _factor(newton_steps: int) -> float:
        """Return by how much the proximal step may grow after one that took so many Newton steps."""
        return next((factor for most, factor in _GROWTH if newton_steps <= most), 0.5)

    def _through(self, z: NDArray) -> NDArray:
        m = len(self.gates)
        return self.R @ (z[:m] - z[m:]).ravel()

    def _proximal_step(
        self, projection: Projection, z0: NDArray, xi: NDArray, step: float, tol: float, most: int
    ) -> tuple[_Point, float, int]:
        """Return the minimiser of the problem plus ‖z − z0‖²/(2·step), how exact it is, and the Newton steps taken."""
        point, still = self._at(projection, z0, xi, xi @ self.R, step, exact=True), 0
        for taken in range(min(_NEWTON_STEPS, most) + 1):
            gradient = point.xi - self._through(point.z)
            slopes = gradient @ self.R
            inside = np.linalg.norm(slopes.reshape(len(self.gates), -1), axis=1).max()
            moved = np.linalg.norm(point.z - z0, axis=1).max() / step
            if inside <= max(0.3 * tol, 0.1 * moved) or taken == min(_NEWTON_STEPS, most):
                break
            direction = self._direction(projection, point, gradient, slopes, step)
            slope, along, share = float(gradient @ direction), direction @ self.R, 1.0
            noise, before = _ROUNDING * abs(point.value), point
            while True:
                xi, at = before.xi + share * direction, before.along + share * along
                point = self._at(projection, z0, xi, at, step)
                if point.value <= before.value + _SLOPE * share * slope + noise or share < _SHORTEST:
                    break
                share /= 2
            point = self._at(projection, z0, xi, at, step, exact=True)
            still = still + 1 if before.value - point.value <= 10 * noise else 0
            if share < _SHORTEST or still > _STILL:
                break
        return point, float(inside), taken

    def _at(
        self, projection: Projection, z0: NDArray, xi: NDArray, along: NDArray, step: float, *, exact: bool = False
    ) -> _Point:
        q = (self.c - along).reshape(len(self.gates), -1)
        u = projection(z0 + step * np.concatenate([q, -q]), exact=exact)
        z = shortened(u, step * self.alpha)
        return _Point(xi, along, u, z, 0.5 * float(xi @ xi) + 0.5 * float(np.vdot(z, z)) / step)

    def _direction(
        self, projection: Projection, point: _Point, gradient: NDArray, slopes: NDArray, step: float
    ) -> NDArray:
        """Return the Newton direction, −(I + step·E Eᵀ)⁻¹ times the gradient, with E Eᵀ = R J Rᵀ of the derivatives J.

        ``slopes`` are Rᵀ·gradient.
        """
        from anmin.solvers.cone_kernels import set_reduced, set_roots

        m, p = len(self.gates), point.z.shape[1]
        groups = np.flatnonzero(point.z.any(axis=1))
        if not groups.size:
            return -gradient
        blocks, widths = groups % m, p - projection.sizes[groups]
        roots = np.empty((len(groups), p, p))
        set_roots(projection.Q, projection.sizes, groups, point.u, step * self.alpha, roots)
        kept = np.arange(p) < widths[:, None]
        count = int(widths.sum())
        if count <= len(self.R):
            system = np.empty((count, count))
            set_reduced(self.H, blocks, roots, widths, system)
            system[np.diag_indices(count)] += 1 / step
            U = cholesky(system)
            if U is None:
                return -gradient
            weights = np.zeros((len(groups), p))
            weights[kept] = cholesky_solve(U, np.einsum("gab,ga->gb", roots, slopes.reshape(m, p)[blocks])[kept])
            back = np.zeros((m, p))
            np.add.at(back, blocks, np.einsum("gab,gb->ga", roots, weights))
            return self.R @ back.ravel() - gradient
        E = np.hstack([self.R[:, j * p : (j + 1) * p] @ N for j, N in zip(blocks, roots, strict=True)])
        system = step * (E @ E.T)
        system[np.diag_indices_from(system)] += 1
        U = cholesky(system)
        return -gradient if U is None else -cholesky_solve(U, gradient)


def shortened(u: NDArray, by: float) -> NDArray:
    """Return the vectors u (G, p), each made shorter by that much, or zero."""
    lengths = np.linalg.norm(u, axis=1, keepdims=True)
    return u * np.divide(lengths - by, lengths, out=np.zeros_like(lengths), where=lengths > by)
