"""Least squares with a norm of each group of weights as the penalty, from the sums of squares alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from anmin.blas import cholesky, cholesky_solve
from anmin.solvers.systems import solve_semidefinite

_SWEEPS, _NEWTON_STEPS = 4, 8
_GONE = 0.9  # of its length: a group that a step would shorten by more becomes zero
_SHORTEST, _GAIN = 1e-3, 1e-6
_ROUNDS, _PROXIMAL_STEPS, _LOOK_EVERY = 300, 30_000, 20
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class GroupProblem:
    """Minimise ⟨V, HV⟩ − 2⟨C, V⟩ + 2·alpha Σ_j ‖V_j‖ over V (m, p, c), with the nuclear norm of each V_j (p, c).

    Attributes
    ----------
    H : ndarray of shape (m·p, m·p)
        Positive semidefinite.
    C : ndarray of shape (m, p, c)
    alpha : float
    """

    H: NDArray
    C: NDArray
    alpha: float

    def gradient(self, V: NDArray) -> NDArray:
        """Return C − HV (m, p, c), half the descent direction of the quadratic part."""
        m, p, c = V.shape
        return self.C - (self.H @ V.reshape(m * p, c)).reshape(V.shape)

    def least_squares(self) -> NDArray:
        """Return the V of least norm that minimises the quadratic part."""
        m, p, c = self.C.shape
        return solve_semidefinite(self.H, self.C.reshape(m * p, c)).reshape(self.C.shape)

    def solved(self, V: NDArray, tol: float) -> NDArray:
        """Return the solution from V on, with :func:`residuals` of at most ``tol`` where that is reached."""
        return self._by_newton(V, tol) if V.shape[2] == 1 else self._by_proximal_gradient(V, tol)

    def _by_newton(self, V: NDArray, tol: float) -> NDArray:
        """One output: sweeps of exact solutions of single groups find the zero ones, Newton steps move the others."""
        from anmin.solvers.group_kernels import sweeps

        m, p, _ = V.shape
        blocks = self.H.reshape(m, p, m, p)[np.arange(m), :, np.arange(m)]
        values, vectors = np.linalg.eigh(blocks)
        values = np.maximum(values, 0.0)
        v = V.ravel().copy()
        for _ in range(_ROUNDS):
            gradient = self.C.ravel() - self.H @ v  # afresh, against drift
            sweeps(self.H, values, vectors, self.alpha, v, gradient, _SWEEPS)
            for _ in range(_NEWTON_STEPS):
                if not self._newton_step(v, gradient, p, tol / 10):
                    break
            gradient = self.C.ravel() - self.H @ v
            if residuals(v.reshape(V.shape), gradient.reshape(V.shape), self.alpha).max(initial=0.0) <= tol:
                break
        return v.reshape(V.shape)

    def _newton_step(self, v: NDArray, gradient: NDArray, p: int, tol: float) -> bool:
        """Move what is not zero by a step of Newton's method, in place; return whether it was a whole step."""
        groups = v.reshape(-1, p)
        lengths = np.linalg.norm(groups, axis=1)
        support = np.flatnonzero(lengths > 0)
        if not support.size:
            return False
        index = (support[:, None] * p + np.arange(p)).ravel()
        unit = groups[support] / lengths[support, None]
        slope = gradient[index] - self.alpha * unit.ravel()
        if np.abs(slope).max() <= tol:
            return False
        among = self.H[np.ix_(index, index)]
        system = among.copy()
        curved = (np.eye(p) - unit[:, :, None] * unit[:, None, :]) * (self.alpha / lengths[support])[:, None, None]
        at = np.arange(len(support))
        system.reshape(len(support), p, len(support), p)[at, :, at] += curved
        root = np.sqrt(np.diagonal(system))
        root[root == 0] = 1.0
        system /= root[:, None] * root
        # A little more than rounding: groups may be alike, and then lengths are shared between them in any way.
        system[np.diag_indices_from(system)] += 10 * len(index) * _EPS
        U = cholesky(system)
        if U is None:
            return False
        step = (cholesky_solve(U, slope / root) / root).reshape(-1, p)
        # Groups that the step would turn round are on their way to zero, and a line search would stop for each.
        gone = np.sum(step * unit, axis=1) < -_GONE * lengths[support]
        step[gone] = -groups[support[gone]]
        flat = step.ravel()
        quadratic, linear = float(flat @ (among @ flat)), float(flat @ gradient[index])
        share = 1.0
        while share >= _SHORTEST:
            norms = float((np.linalg.norm(groups[support] + share * step, axis=1) - lengths[support]).sum())
            change = share**2 * quadratic - 2 * share * linear + 2 * self.alpha * norms
            if change < -_GAIN * share * abs(linear):
                v[index] += share * flat
                if share == 1:
                    groups[support[gone]] = 0.0  # exactly
                gradient -= self.H[:, index] @ (share * flat)
                return share == 1
            share /= 4
        return False

    def _by_proximal_gradient(self, V: NDArray, tol: float) -> NDArray:
        """Several outputs: Nesterov's accelerated proximal gradient method, restarted where it turns back.

        Beck & Teboulle 2009; O'Donoghue & Candès, Adaptive restart for accelerated gradient schemes, 2015.
        """
        largest = float(eigh(self.H, eigvals_only=True, subset_by_index=[len(self.H) - 1] * 2)[0])
        if not largest > 0:
            return np.zeros_like(V)
        ahead, momentum = V, 1.0
        for step in range(1, _PROXIMAL_STEPS + 1):
            after = shrunk(ahead + self.gradient(ahead) / largest, self.alpha / largest)
            if np.vdot(ahead - after, after - V) > 0:
                momentum = 1.0
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            ahead = after + (momentum - 1) / following * (after - V)
            V, momentum = after, following
            if step % _LOOK_EVERY == 0 and residuals(V, self.gradient(V), self.alpha).max(initial=0.0) <= tol:
                break
        return V


def nuclear_norms(V: NDArray) -> NDArray:
    """Return the sum of the singular values of each V_j, (m,) for V (m, p, c)."""
    return np.linalg.norm(V[:, :, 0], axis=1) if V.shape[2] == 1 else np.linalg.svd(V, compute_uv=False).sum(axis=1)


def spectral_norms(V: NDArray) -> NDArray:
    """Return the largest singular value of each V_j, (m,) for V (m, p, c)."""
    if V.shape[2] == 1 or not len(V):
        return np.linalg.norm(V[:, :, 0], axis=1)
    return np.linalg.svd(V, compute_uv=False)[:, 0]


def shrunk(V: NDArray, by: float) -> NDArray:
    """Return each V_j with its singular values lowered by ``by``, or to zero."""
    if V.shape[2] == 1:
        lengths = np.linalg.norm(V, axis=1, keepdims=True)
        return V * np.maximum(1 - by / np.maximum(lengths, by), 0.0) if by > 0 else V
    u, s, vt = np.linalg.svd(V, full_matrices=False)
    return (u * np.maximum(s - by, 0.0)[:, None, :]) @ vt


def residuals(V: NDArray, gradient: NDArray, alpha: float) -> NDArray:
    """Return for each group how far C − HV = gradient is from alpha times the subgradients of the norm, (m,).

    Those at V_j = U S Zᵀ are U Zᵀ + W with UᵀW = 0, WZ = 0 and a spectral norm of W of at most 1. So it is the spectral
    norm of the part of gradient − alpha·U Zᵀ that W cannot make up for, or how much more of W it would take.
    """
    found = np.maximum(spectral_norms(gradient) - alpha, 0.0)
    used = np.flatnonzero(np.any(V, axis=(1, 2)))
    u, s, zt = np.linalg.svd(V[used], full_matrices=False)
    for j, uj, sj, ztj in zip(used, u, s, zt, strict=True):
        rank = int(np.sum(sj > max(V.shape[1:]) * _EPS * sj[0]))
        left, right = uj[:, :rank], ztj[:rank].T
        outside = gradient[j] - left @ (left.T @ gradient[j])
        outside = outside - (outside @ right) @ right.T
        inside = gradient[j] - alpha * left @ right.T - outside
        found[j] = max(np.linalg.norm(inside, 2), np.linalg.norm(outside, 2) - alpha)
    return found
