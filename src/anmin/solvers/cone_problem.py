"""Least squares with the length of each weight vector as the penalty, each in the cone of its pattern: one output."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anmin.blas import cholesky, cholesky_solve
from anmin.solvers.cones import Cones, Projection

_OUTER, _INNER = 100, 200
_MOST = 10.0
_GROWTH = ((12, _MOST), (25, 4.0), (50, 2.0), (100, 1.0))  # of the proximal step, after so many Newton steps
_FIRST, _LARGEST = 1e3, 1e10  # proximal step, in units of 1/curvature
_SLOPE, _SHORTEST, _ROUNDING = 1e-4, 1e-8, 1e-14


@dataclass(eq=False)
class ConeProblem:
    """Minimise ½‖R w − t‖² + alpha Σ_j (‖u_j‖ + ‖v_j‖) over u_j, v_j in cones K_j, with w_j = u_j − v_j.

    By the proximal point method, that is the augmented Lagrangian method for the dual problem, each step of which is
    solved by a semismooth Newton method (Li, Sun & Toh, A highly efficient semismooth Newton augmented Lagrangian
    method for solving Lasso problems, 2018). The dual has one variable for each row of R, its multipliers are u and v.
    The Newton system is of what is not zero, and of what the active constraints leave free of it.

    Attributes
    ----------
    R : ndarray of shape (r, m·p)
    c : ndarray of shape (m·p,)
        Rᵀt.
    alpha : float
    cones : Cones
    gates : ndarray of shape (m,)
        Which of the cones are those of w_1, ..., w_m.
    """

    R: NDArray
    c: NDArray
    alpha: float
    cones: Cones
    gates: NDArray
    newton_steps: int = field(default=0, init=False)
    evaluations: int = field(default=0, init=False)

    def solved(self, z: NDArray, tol: float, curvature: float) -> NDArray:
        """Return z (2m, p), first all u, then all v, from z on; ``tol`` bounds the residual of each z_g."""
        projection = self.cones.projection(np.concatenate([self.gates, self.gates]))
        xi = self._through(z)
        step = _FIRST / curvature
        for _ in range(_OUTER):
            before = self.newton_steps
            z_new, xi, inside = self._proximal_step(projection, z, xi, step, tol)
            moved = np.linalg.norm(z_new - z, axis=1).max() / step
            z = z_new
            if moved + inside <= tol:
                break
            step *= self._factor(self.newton_steps - before) if moved > tol / 2 else 1 / _MOST
            step = min(step, _LARGEST / curvature)
        return z

    @staticmethod
    def _factor(newton_steps: int) -> float:
        """Return by how much the proximal step may grow after one that took so many Newton steps."""
        return next((factor for most, factor in _GROWTH if newton_steps <= most), 0.5)

    def _through(self, z: NDArray) -> NDArray:
        m = len(self.gates)
        return self.R @ (z[:m] - z[m:]).ravel()

    def _proximal_step(
        self, projection: Projection, z0: NDArray, xi: NDArray, step: float, tol: float
    ) -> tuple[NDArray, NDArray, float]:
        """Return the minimiser of the problem plus ‖z − z0‖²/(2·step), its dual ξ, and how exact it is."""
        z, u, value = self._at(projection, z0, xi, step, True)
        for _ in range(_INNER):
            gradient = xi - self._through(z)
            inside = np.linalg.norm((gradient @ self.R).reshape(len(self.gates), -1), axis=1).max()
            moved = np.linalg.norm(z - z0, axis=1).max() / step
            if inside <= max(0.3 * tol, 0.1 * moved):
                break
            self.newton_steps += 1
            direction = self._direction(projection, z, u, gradient, step)
            slope = float(gradient @ direction)
            share = 1.0
            while True:
                tried = xi + share * direction
                z, u, after = self._at(projection, z0, tried, step, False)
                if after <= value + _SLOPE * share * slope + _ROUNDING * abs(value) or share < _SHORTEST:
                    break
                share /= 2
            xi = tried
            z, u, value = self._at(projection, z0, xi, step, True)
            if share < _SHORTEST:
                break
        return z, xi, float(inside)

    def _at(
        self, projection: Projection, z0: NDArray, xi: NDArray, step: float, exact: bool
    ) -> tuple[NDArray, NDArray, float]:
        self.evaluations += 1
        q = (self.c - xi @ self.R).reshape(len(self.gates), -1)
        u = projection(z0 + step * np.concatenate([q, -q]), exact=exact)
        lengths = np.linalg.norm(u, axis=1)
        by = step * self.alpha
        z = u * np.where(lengths > by, 1 - by / np.maximum(lengths, 1e-300), 0.0)[:, None]
        return z, u, 0.5 * float(xi @ xi) + 0.5 * float(np.vdot(z, z)) / step

    def _direction(self, projection: Projection, z: NDArray, u: NDArray, gradient: NDArray, step: float) -> NDArray:
        """Return the Newton direction, (I + step·R J Rᵀ)⁻¹ times the descent direction."""
        m, p = len(self.gates), z.shape[1]
        parts = []
        for g in np.flatnonzero(z.any(axis=1)):
            N = projection.free(int(g))
            length = float(np.linalg.norm(u[g]))
            shrunk = min(step * self.alpha / length, 1.0)
            e = N.T @ (u[g] / length)
            root = np.sqrt(1 - shrunk)
            N = root * N + (1 - root) * np.outer(N @ e, e)
            j = g % m
            parts.append(self.R[:, j * p : (j + 1) * p] @ N)
        if not parts:
            return -gradient
        E = np.hstack(parts)
        r, k = E.shape
        if k <= r:
            system = E.T @ E
            system[np.diag_indices(k)] += 1 / step
            U = cholesky(system)
            if U is None:
                return -gradient
            return -gradient + E @ cholesky_solve(U, E.T @ gradient)
        system = step * (E @ E.T)
        system[np.diag_indices(r)] += 1
        U = cholesky(system)
        return -gradient if U is None else -cholesky_solve(U, gradient)
