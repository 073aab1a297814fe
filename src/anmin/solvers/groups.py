"""Norms of groups of weights, each a matrix: their values, what shrinks them, and the conditions of optimality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_EPS = float(np.finfo(np.float64).eps)


def nuclear_norms(V: NDArray) -> NDArray:
    """Return the sum of the singular values of each V_j, (m,) for V (m, p, c)."""
    return np.linalg.norm(V[:, :, 0], axis=1) if V.shape[2] == 1 else np.linalg.svd(V, compute_uv=False).sum(axis=1)


def spectral_norms(V: NDArray) -> NDArray:
    """Return the largest singular value of each V_j, (m,) for V (m, p, c)."""
    if V.shape[2] == 1 or not len(V):
        return np.linalg.norm(V[:, :, 0], axis=1)
    return np.linalg.svd(V, compute_uv=False)[:, 0]


def shrunk(V: NDArray, by: NDArray | float) -> NDArray:
    """Return each V_j (p, c) with its singular values lowered by ``by``, a number or one for each j, or to zero."""
    by = np.broadcast_to(np.asarray(by, dtype=np.float64), len(V))[:, None]
    if V.shape[2] == 1:
        lengths = np.linalg.norm(V, axis=1)
        return V * (np.maximum(lengths - by, 0.0) / np.where(lengths > 0, lengths, 1.0))[:, :, None]
    u, s, vt = np.linalg.svd(V, full_matrices=False)
    return (u * np.maximum(s - by, 0.0)[:, None, :]) @ vt


def residuals(V: NDArray, gradient: NDArray, alpha: float) -> NDArray:
    """Return for each group how far C − HV = gradient is from alpha times the subgradients of the norm, (m,).

    Those at V_j = U S Zᵀ are U Zᵀ + W with UᵀW = 0, WZ = 0 and a spectral norm of W of at most 1. So it is the length
    (Frobenius norm) of the part of gradient − alpha·U Zᵀ that W cannot make up for, and of how much more of W it takes.
    """
    if V.shape[2] == 1:
        lengths, slopes = np.linalg.norm(V[:, :, 0], axis=1), np.linalg.norm(gradient[:, :, 0], axis=1)
        unit = V[:, :, 0] / np.where(lengths > 0, lengths, 1.0)[:, None]
        inside = np.linalg.norm(gradient[:, :, 0] - alpha * unit, axis=1)
        return np.where(lengths > 0, inside, np.maximum(slopes - alpha, 0.0))
    beyond = np.maximum(np.linalg.svd(gradient, compute_uv=False) - alpha, 0.0)
    found = np.linalg.norm(beyond, axis=1)
    used = np.flatnonzero(np.any(V, axis=(1, 2)))
    u, s, zt = np.linalg.svd(V[used], full_matrices=False)
    kept = s > max(V.shape[1:]) * _EPS * s[:, :1]
    left, right = u * kept[:, None, :], zt * kept[:, :, None]
    outside = gradient[used] - left @ (left.transpose(0, 2, 1) @ gradient[used])
    outside = outside - (outside @ right.transpose(0, 2, 1)) @ right
    inside = gradient[used] - alpha * left @ right - outside
    excess = np.maximum(np.linalg.svd(outside, compute_uv=False) - alpha, 0.0)
    found[used] = np.sqrt(np.sum(inside**2, axis=(1, 2)) + np.sum(excess**2, axis=1))
    return found
