"""The linear systems of the two layers, from statistics alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh

from anmin.statistics import OutputStatistics, PatternStatistics


def hidden_system(statistics: PatternStatistics, B: NDArray, b0: NDArray) -> tuple[NDArray, NDArray]:
    """Return M (h·p, h·p) and c (h·p,) of the hidden layer at a frozen pattern and output layer.

    M_jl = (B Bᵀ)_jl U_jl / n and c_j = (V_j b_j − s_j (b0ᵀ b_j)) / n (Barbu, arXiv 2304.02972, Eq. 8 and 9, with y_ik
    for each output k and the row x̃_i where Eq. 8 misprints them). The hidden weights that minimise the frozen-pattern
    loss solve (M + alpha·I) a = c with a = (a_1, ..., a_h) stacked, that is A = a.reshape(h, p).T.
    """
    h, p = statistics.s.shape
    n = statistics.n
    M = (statistics.U * ((B @ B.T) / n)[:, None, :, None]).reshape(h * p, h * p)
    c = (np.einsum("jpc,jc->jp", statistics.V, B) - statistics.s * (B @ b0)[:, None]) / n
    return M, c.reshape(h * p)


def output_system(output: OutputStatistics, alpha: float) -> tuple[NDArray, NDArray]:
    """Return K = S₁ᵀ W S₁/n + alpha·I (h + 1, h + 1) and S₁ᵀ W Y/n (h + 1, c), with S₁ = [S, 1]."""
    h, n = len(output.gram), output.n
    K = np.empty((h + 1, h + 1))
    K[:h, :h] = output.gram / n
    K[:h, h] = K[h, :h] = output.sums / n
    K[h, h] = 1.0
    K[np.diag_indices(h + 1)] += alpha
    return K, np.vstack([output.cross, output.y_sum]) / n


def output_layer(output: OutputStatistics, alpha: float) -> tuple[NDArray, NDArray]:
    """Return B (h, c) and b0 (c,) that minimise the loss at fixed hidden weights (the paper's B-step).

    They solve (S₁ᵀ W S₁/n + alpha·I) [B; b0] = S₁ᵀ W Y/n with S₁ = [S, 1] (Eq. 4 of the paper, whose right-hand side
    lacks the 1/n). Where the matrix is singular, the solution of least norm is taken.
    """
    weights = solve_semidefinite(*output_system(output, alpha))
    return weights[:-1], weights[-1]


def solve_semidefinite(system: NDArray, right: NDArray) -> NDArray:
    """Solve a positive semidefinite system by Cholesky; where it is singular, return the solution of least norm."""
    try:
        factor = cho_factor(system, lower=True, check_finite=False)
        diagonal = np.diagonal(factor[0])
        # A pivot at the level of rounding means a singular matrix that happened to factor.
        if diagonal.min() ** 2 > len(system) * np.finfo(np.float64).eps * diagonal.max() ** 2:
            return cho_solve(factor, right, check_finite=False)
    except LinAlgError:
        pass
    if not np.isfinite(system).all():
        return np.full_like(right, np.nan)
    values, vectors = eigh(system)
    kept = values > len(system) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return vectors[:, kept] @ ((vectors[:, kept].T @ right).T / values[kept]).T
