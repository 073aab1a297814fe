"""The compiled loops over groups of weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anmin.rows.kernels import compiled

_SECULAR_STEPS = 60


@compiled
def proximal_step(
    values: NDArray, vectors: NDArray, alpha: float, curvature: float, V: NDArray, gradient: NDArray, after: NDArray
) -> float:
    """Set ``after`` to what minimises L⟨d, Md⟩ − 2⟨g, d⟩ + 2·alpha Σ ‖v + d‖ over d = after − v; return ⟨d, Md⟩.

    Groups are the columns of V_j, and the metric M of V_j is given by its eigenvalues ``values`` (m, p) and its
    eigenvectors ``vectors`` (m, p, p), or none (0, 0, 0) where it is diagonal; L is ``curvature``; V, ``gradient`` g
    and ``after`` are (m, p, c). A group is zero where ‖r‖ <= alpha, r = g + L·M v; else it is t (t·L·M + alpha·I)⁻¹ r
    with its own length t, the root of ‖(t·L·M + alpha·I)⁻¹ r‖ = 1, which Newton's method finds from 0 on the reciprocal
    of that norm.
    """
    m, p, c = V.shape
    turned = len(vectors) > 0
    r, old = np.empty(p), np.empty(p)
    distance = 0.0
    for j in range(m):
        for k in range(c):
            square = 0.0
            for a in range(p):
                along, was = gradient[j, a, k], V[j, a, k]
                if turned:
                    along, was = 0.0, 0.0
                    for b in range(p):
                        along += vectors[j, b, a] * gradient[j, b, k]
                        was += vectors[j, b, a] * V[j, b, k]
                old[a] = was
                r[a] = along + curvature * values[j, a] * was
                square += r[a] * r[a]
            length = 0.0
            if square > alpha * alpha:
                for _newton in range(_SECULAR_STEPS):
                    norm, fall = 0.0, 0.0
                    for a in range(p):
                        divisor = length * curvature * values[j, a] + alpha
                        share = r[a] / divisor
                        norm += share * share
                        fall += share * share * curvature * values[j, a] / divisor
                    if not fall > 0:
                        length = 0.0
                        break
                    more = (np.sqrt(norm) - 1.0) * norm / fall
                    length += more
                    if more <= 1e-15 * length:
                        break
            for b in range(p):
                after[j, b, k] = 0.0
            for a in range(p):
                new = length * r[a] / (length * curvature * values[j, a] + alpha) if length > 0 else 0.0
                distance += values[j, a] * (new - old[a]) ** 2
                if length > 0 and turned:
                    for b in range(p):
                        after[j, b, k] += vectors[j, b, a] * new
                elif length > 0:
                    after[j, a, k] = new
    return distance


@compiled
def squared_residual(V: NDArray, gradient: NDArray, alpha: float) -> float:
    """Return the squared length of gradient less its nearest alpha·subgradient of Σ ‖v‖, over the columns of all V_j.

    V and ``gradient`` are (m, p, c).
    """
    m, p, c = V.shape
    total = 0.0
    for j in range(m):
        for k in range(c):
            length, slope = 0.0, 0.0
            for a in range(p):
                length += V[j, a, k] * V[j, a, k]
                slope += gradient[j, a, k] * gradient[j, a, k]
            if length > 0:
                length = np.sqrt(length)
                for a in range(p):
                    total += (gradient[j, a, k] - alpha * V[j, a, k] / length) ** 2
            elif slope > alpha * alpha:
                total += (np.sqrt(slope) - alpha) ** 2
    return total
