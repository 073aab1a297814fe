"""The cone-constrained program by a general solver, for small problems."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from anmin.solvers.convex_program import ConvexProgram

_TOL = 1e-11


def solve_by_cvxpy(program: ConvexProgram) -> tuple[NDArray, NDArray]:
    """Return U and V (P, p, c) from Clarabel, an interior-point method, by way of CVXPY.

    They lie in their cones to about 1e-8; all constraints are written out, n·P·c·2 of them.

    Raises
    ------
    ImportError
        If CVXPY or Clarabel is not installed.
    RuntimeError
        If Clarabel finds no solution.
    """
    try:
        import clarabel  # noqa: F401
        import cvxpy as cp
    except ImportError:
        raise ImportError(
            "method='reference' needs CVXPY and Clarabel, which are not installed: pip install 'anmin[convex]'."
        ) from None
    (n, p), P, c = program.X.shape, len(program.on), program.Y.shape[1]
    on = program.on.T.astype(np.float64)
    root = np.sqrt((np.ones(n) if program.w is None else program.w) / program.n)
    U, V = np.zeros((P, p, c)), np.zeros((P, p, c))
    for k in range(c):
        u, v, b0 = cp.Variable((p, P)), cp.Variable((p, P)), cp.Variable()
        f = cp.sum(cp.multiply(on, program.X @ (u - v)), axis=1) + b0
        lengths = cp.sum(cp.norm(u, axis=0)) + cp.sum(cp.norm(v, axis=0))
        value = cp.sum_squares(cp.multiply(root, f - program.Y[:, k])) + 2 * program.alpha * lengths
        inside = [cp.multiply(2 * on - 1, program.X @ part) >= 0 for part in (u, v)]
        problem = cp.Problem(
            cp.Minimize(value + program.alpha * cp.square(b0)), inside + [b0 == 0] * (not program.bias)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it may be inaccurate, which the residual says as well
            problem.solve(solver="CLARABEL", tol_gap_abs=_TOL, tol_gap_rel=_TOL, tol_feas=_TOL)
        if u.value is None or v.value is None:
            raise RuntimeError(f"Clarabel found no solution: {problem.status}.")
        U[:, :, k], V[:, :, k] = u.value.T, v.value.T
    return U, V
