"""The compiled loop over groups of weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anmin.rows.kernels import compiled

_SECULAR_STEPS = 60


@compiled
def sweeps(
    H: NDArray, values: NDArray, vectors: NDArray, alpha: float, v: NDArray, gradient: NDArray, count: int
) -> None:
    """Solve for one group after the other, ``count`` times, in place; ``gradient`` is c − Hv throughout.

    ``values`` (m, p) and ``vectors`` (m, p, p) are the eigenvalues and eigenvectors of the blocks H_jj. A group is zero
    where ‖r‖ <= alpha, r = gradient_j + H_jj v_j; else v_j = t (t·H_jj + alpha·I)⁻¹ r with its own length t, the root
    of ‖(t·H_jj + alpha·I)⁻¹ r‖ = 1, which Newton's method finds from 0 on the reciprocal of that norm.
    """
    m, p = values.shape
    r, new, step = np.empty(p), np.empty(p), np.empty(p)
    for _ in range(count):
        for j in range(m):
            square = 0.0
            for a in range(p):
                along, old = 0.0, 0.0
                for b in range(p):
                    along += vectors[j, b, a] * gradient[j * p + b]
                    old += vectors[j, b, a] * v[j * p + b]
                r[a] = along + values[j, a] * old
                square += r[a] * r[a]
            length = 0.0
            if square > alpha * alpha:
                for _newton in range(_SECULAR_STEPS):
                    norm, fall = 0.0, 0.0
                    for a in range(p):
                        divisor = length * values[j, a] + alpha
                        share = r[a] / divisor
                        norm += share * share
                        fall += share * share * values[j, a] / divisor
                    if not fall > 0:
                        length = 0.0
                        break
                    more = (np.sqrt(norm) - 1.0) * norm / fall
                    length += more
                    if more <= 1e-15 * length:
                        break
            moved = False
            for b in range(p):
                new[b] = 0.0
            if length > 0:
                for a in range(p):
                    share = length * r[a] / (length * values[j, a] + alpha)
                    for b in range(p):
                        new[b] += vectors[j, b, a] * share
            for b in range(p):
                step[b] = new[b] - v[j * p + b]
                v[j * p + b] = new[b]
                moved = moved or step[b] != 0
            if moved:
                for b in range(p):
                    for q in range(m * p):
                        gradient[q] -= step[b] * H[j * p + b, q]
