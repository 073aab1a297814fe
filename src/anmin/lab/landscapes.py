"""Minima of small functions and the programs of fixed activation patterns, found numerically."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog, minimize, minimize_scalar

from anmin.lab.descent import loss_and_gradient


def local_minima(
    function: Callable[[NDArray], NDArray], low: float, high: float, n_points: int = 2001
) -> list[tuple[float, float]]:
    """Return minimisers and values of a function of one variable inside an interval, from left to right.

    Between the neighbours of each grid point that is below the one and not above the other, the least value is searched
    for; a flat bottom gives one of its points. ValueError if the interval is empty or has fewer than three points.
    """
    if not low < high or n_points < 3:
        raise ValueError(f"An interval of three points at least is needed; got {low} to {high}, {n_points} points.")
    at = np.linspace(low, high, n_points)
    values = function(at)
    dips = 1 + np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:]))
    found = []
    for k in dips:
        best = minimize_scalar(
            lambda t: float(function(np.array(t))), bounds=(at[k - 1], at[k + 1]), options={"xatol": 1e-12}
        )
        found.append((float(best.x), float(best.fun)))
    return found


def best_of(function: Callable[[NDArray], tuple[float, NDArray]], starts: Sequence[NDArray]) -> tuple[NDArray, float]:
    """Return the best point that L-BFGS-B finds from any of the starts, and the value there.

    ``function`` returns its value and gradient.
    """
    runs = [
        minimize(function, start, jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-12, "maxls": 50})
        for start in starts
    ]
    best = min(runs, key=lambda run: run.fun)
    return best.x, float(best.fun)


def best_network(
    X: NDArray, y: NDArray, n_neurons: int, decay: float, rng: np.random.Generator, n_starts: int = 100
) -> float:
    """Return the least loss of :mod:`anmin.lab.descent` that is found from random starts N(0, 1), both layers free."""
    p = X.shape[1]

    def function(v: NDArray) -> tuple[float, NDArray]:
        loss, dW, da = loss_and_gradient(X, y, v[:-n_neurons].reshape(p, n_neurons), v[-n_neurons:], decay)
        return float(loss), np.concatenate([dW.ravel(), da])

    return best_of(function, list(rng.standard_normal((n_starts, (p + 1) * n_neurons))))[1]


def best_convex_1d(x: NDArray, y: NDArray, beta: float) -> float:
    """Return the optimum of min ‖Σ_k D_k x (u_k − v_k) − y‖² + β Σ_k (|u_k| + |v_k|) for rows of one input x (n,).

    D_1 is active where x > 0 and D_2 where x < 0: the only patterns that one input without a bias allows. In their
    cones u_1, v_1 >= 0 and u_2, v_2 <= 0, so that the penalty is linear.
    """
    columns = np.column_stack([np.maximum(x, 0), np.minimum(x, 0)])
    M = np.column_stack([columns, -columns])  # of u_1, u_2, v_1, v_2
    signs = np.array([1.0, -1.0, 1.0, -1.0])

    def function(z: NDArray) -> tuple[float, NDArray]:
        residual = M @ z - y
        return float(residual @ residual + beta * (signs @ z)), 2 * M.T @ residual + beta * signs

    bounds = [(0, None), (None, 0), (0, None), (None, 0)]
    # Columns of u and v are collinear, at which L-BFGS-B may stop short.
    best = minimize(function, signs, jac=True, method="SLSQP", bounds=bounds, options={"ftol": 1e-15, "maxiter": 500})
    return float(best.fun)


def cone(X: NDArray, on: ArrayLike) -> NDArray:
    """Return the smallest box around {u : (2D − I) X u >= 0, |u_k| <= 1}, of shape (p, 2); zeros: the cone is {0}.

    ``on`` (n,) is the diagonal of D.
    """
    A = -(2.0 * np.asarray(on) - 1)[:, None] * X
    box = np.empty((X.shape[1], 2))
    for k, side in np.ndindex(box.shape):
        c = np.zeros(len(box))
        c[k] = 1 - 2 * side
        found = linprog(c, A_ub=A, b_ub=np.zeros(len(A)), bounds=(-1, 1))
        box[k, side] = found.x[k] + 0.0
    return box
