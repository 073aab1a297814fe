"""Compiled loops of the mixing method: coordinate descent on unit vectors, and its derivative.

With W = Σ_i s_i v_iᵀ (m, k), the objective is ‖W‖²_F over the free vectors v_o of unit length. All arrays of a batch
have the instance first. Loops run over a part of the instances, without the interpreter's lock.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(nogil=True, cache=True, fastmath=True)
def _moved(W: NDArray, s: NDArray, delta: NDArray, s_next: NDArray, out: NDArray) -> None:
    """W += s deltaᵀ, and out = Wᵀ s_next, in one visit to W."""
    m, k = W.shape
    out[:] = 0
    for j in range(m):
        a, b = s[j], s_next[j]
        for q in range(k):
            value = W[j, q] + a * delta[q]
            W[j, q] = value
            out[q] += b * value


@numba.njit(nogil=True, cache=True, fastmath=True)
def descend(
    S: NDArray,
    lengths: NDArray,
    free: NDArray,
    V: NDArray,
    W: NDArray,
    slopes: NDArray,
    sweeps: NDArray,
    most: int,
    tol: float,
    low: int,
    high: int,
) -> None:
    """Minimise ‖W‖² over the free vectors of instances low to high, in place.

    Parameters
    ----------
    S : ndarray of shape (R, m)
        s_i, a row each.
    lengths : ndarray of shape (R,)
        ‖s_i‖².
    free : ndarray of shape (B, R), bool
    V : ndarray of shape (B, R, k)
        Unit vectors; the free ones are overwritten.
    W : ndarray of shape (B, m, k)
        SᵀV, kept up.
    slopes : ndarray of shape (B, R)
        Set to ‖g_o‖, g_o = Wᵀs_o − ‖s_o‖² v_o, at the last visit of each free vector.
    sweeps : ndarray of shape (B,), int
        Set to the number of sweeps.
    most, tol : int, float
        Sweeps end after so many, or when one lowers the objective by at most ``tol`` times what the first did; with 0
        there are all.
    """
    k = V.shape[2]
    for b in range(low, high):
        order = np.flatnonzero(free[b])
        count = len(order)
        if count == 0:
            continue
        delta = np.zeros(k, V.dtype)
        g = np.zeros(k, V.dtype)
        _moved(W[b], S[order[0]], delta, S[order[0]], g)
        first = 0.0
        for sweep in range(most):
            fall = 0.0
            for c in range(count):
                o = order[c]
                v = V[b, o]
                square = 0.0
                along = 0.0
                for q in range(k):
                    g[q] -= lengths[o] * v[q]
                    square += g[q] * g[q]
                    along += g[q] * v[q]
                length = np.sqrt(square)
                slopes[b, o] = length
                if length > 0:
                    for q in range(k):
                        new = -g[q] / length
                        delta[q] = new - v[q]
                        v[q] = new
                    fall += 2 * (along + length)
                else:
                    delta[:] = 0
                _moved(W[b], S[o], delta, S[order[(c + 1) % count]], g)
            sweeps[b] = sweep + 1
            if sweep == 0:
                first = fall
            if tol > 0 and fall <= tol * first:
                break


@numba.njit(nogil=True, cache=True, fastmath=True)
def differentiate(
    S: NDArray,
    lengths: NDArray,
    free: NDArray,
    V: NDArray,
    slopes: NDArray,
    dV: NDArray,
    U: NDArray,
    Phi: NDArray,
    most: int,
    tol: float,
    prox: float,
    low: int,
    high: int,
) -> None:
    """Solve the equations of the derivative by sweeps over the free vectors of instances low to high.

    (‖g_o‖ + prox) u_o = −(I − v_o v_oᵀ)(Φᵀs_o − ‖s_o‖² u_o + dv_o),  Φ = Σ_i s_i u_iᵀ

    Parameters
    ----------
    S, lengths, free, V, slopes : arrays
        As :func:`descend` left them.
    dV : ndarray of shape (B, R, k)
        Derivatives of a loss by the vectors.
    U : ndarray of shape (B, R, k)
        Zeros; set to u.
    Phi : ndarray of shape (B, m, k)
        Zeros; set to Φ.
    most, tol : int, float
        Sweeps end after so many, or when the squares of the changes of one are at most ``tol``² times those of the
        first.
    prox : float
        Makes slow directions short; the exact derivative has 0.
    """
    k = V.shape[2]
    for b in range(low, high):
        order = np.flatnonzero(free[b])
        count = len(order)
        if count == 0:
            continue
        delta = np.zeros(k, V.dtype)
        h = np.zeros(k, V.dtype)
        first = 0.0
        for sweep in range(most):
            change = 0.0
            for c in range(count):
                o = order[c]
                v, u = V[b, o], U[b, o]
                along = 0.0
                for q in range(k):
                    h[q] += dV[b, o, q] - lengths[o] * u[q]
                    along += h[q] * v[q]
                scale = 1 / (slopes[b, o] + prox)
                for q in range(k):
                    new = -(h[q] - along * v[q]) * scale
                    delta[q] = new - u[q]
                    u[q] = new
                    change += delta[q] * delta[q]
                _moved(Phi[b], S[o], delta, S[order[(c + 1) % count]], h)
            if sweep == 0:
                first = change
            if tol > 0 and change <= tol * tol * first:
                break
