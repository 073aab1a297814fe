"""The linear systems of the two layers, from statistics alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from anmin.blas import cholesky, cholesky_solve, product
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


def cross_terms(statistics: PatternStatistics, A: NDArray) -> NDArray:
    """Return Ĉ (h, p, h + 1), how the two layers' Jacobians overlap: Ĉ_(j),l = U_jl a_l/n and Ĉ_(j),h+1 = s_j/n."""
    h, p = statistics.s.shape
    C = np.empty((h, p, h + 1))
    C[:, :, :h] = np.einsum("jplq,ql->jpl", statistics.U, A) / statistics.n
    C[:, :, h] = statistics.s / statistics.n
    return C


def projected_system(
    statistics: PatternStatistics, A: NDArray, B: NDArray, b0: NDArray, alpha: float
) -> tuple[NDArray, NDArray]:
    """Return the Gauss–Newton matrix (h·p, h·p) and half the gradient (h·p,) of the loss with the output layer solved.

    B (h, c) and b0 (c,) must be the best output layer for A (p, h). With Ĉ of :func:`cross_terms` and K of
    :func:`output_system`,

        M = (B Bᵀ ⊗ 1) ∘ (U/n − Ĉ K⁻¹ Ĉᵀ) + alpha·I,        g_j = (Ĉ_(j) [B; b0] − V_j/n) b_j + alpha·a_j

    (variable projection of Golub & Pereyra with the Gauss–Newton matrix of Kaufman; one Schur complement whatever the
    number of outputs). Both are ordered as in :func:`hidden_system`.
    """
    h, p = statistics.s.shape
    n, k = statistics.n, h * p
    C = cross_terms(statistics, A)
    K = np.empty((h + 1, h + 1))
    K[:h] = np.einsum("pj,jpl->jl", A, C)
    K[h, :h], K[h, h] = K[:h, h], 1.0
    K[np.diag_indices(h + 1)] += alpha
    residual_sums = product(C.reshape(k, h + 1), np.vstack([B, b0])) - statistics.V.reshape(k, -1) / n
    gradient = np.sum(residual_sums.reshape(h, p, -1) * B[:, None, :], axis=2) + alpha * A.T
    W = product(C.reshape(k, h + 1), root_of_inverse(K))  # Ĉ K⁻¹ Ĉᵀ is W Wᵀ
    M = statistics.U.reshape(k, k) / n
    M -= product(W, W.T)
    M.reshape(h, p, h, p)[...] *= (B @ B.T)[:, None, :, None]
    M[np.diag_indices(k)] += alpha
    return M, gradient.reshape(k)


def root_of_inverse(K: NDArray) -> NDArray:
    """Return R (h + 1, r) with R Rᵀ = K⁻¹, or its pseudo-inverse: eigenvalues at the level of rounding are left out."""
    # Not by Cholesky: where M is to be singular, as it is without a penalty, its rounding would hide that.
    values, vectors = eigh(K)
    kept = values > len(K) * np.finfo(np.float64).eps * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept])


def output_layer(output: OutputStatistics, alpha: float) -> tuple[NDArray, NDArray]:
    """Return B (h, c) and b0 (c,) that minimise the loss at fixed hidden weights (the paper's B-step).

    They solve (S₁ᵀ W S₁/n + alpha·I) [B; b0] = S₁ᵀ W Y/n with S₁ = [S, 1] (Eq. 4 of the paper, whose right-hand side
    lacks the 1/n). Where the matrix is singular, the solution of least norm is taken.
    """
    weights = solve_semidefinite(*output_system(output, alpha))
    return weights[:-1], weights[-1]


def solve_semidefinite(system: NDArray, right: NDArray) -> NDArray:
    """Solve a positive semidefinite system by Cholesky; where it is singular, return the solution of least norm."""
    U = cholesky(system.copy())
    if U is not None:
        diagonal = np.diagonal(U)
        # A pivot at the level of rounding means a singular matrix that happened to factor.
        if diagonal.min() ** 2 > len(system) * np.finfo(np.float64).eps * diagonal.max() ** 2:
            return cholesky_solve(U, right)
    if not np.isfinite(system).all():
        return np.full_like(right, np.nan)
    values, vectors = eigh(system)
    kept = values > len(system) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return vectors[:, kept] @ ((vectors[:, kept].T @ right).T / values[kept]).T
