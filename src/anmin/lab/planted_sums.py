"""Targets that a sum of ReLUs without biases made, and how far a fitted sum is from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from anmin.validation import is_integer


@dataclass(frozen=True, eq=False)
class PlantedSum:
    """Rows of y = Σ_j max(xᵀ w_j, 0), some to fit and some to test.

    Attributes
    ----------
    X, X_test : ndarray of shape (n, d) and (k, d)
    y, y_test : ndarray of shape (n,) and (k,)
    W : ndarray of shape (d, m)
        The planted weights w_j.
    """

    X: NDArray
    y: NDArray
    X_test: NDArray
    y_test: NDArray
    W: NDArray


def plant(n_rows: int, n_features: int, n_neurons: int, rng: np.random.Generator, n_test: int = 100) -> PlantedSum:
    """Return a planted sum with all entries of the inputs and weights drawn from N(0, 1).

    The setting of the experiments of Ergen & Pilanci, Convex Optimization for Shallow Neural Networks.

    Raises
    ------
    ValueError
        If a count is not an integer of at least 1.
    """
    counts = {"n_rows": n_rows, "n_features": n_features, "n_neurons": n_neurons, "n_test": n_test}
    for name, value in counts.items():
        if not is_integer(value, 1):
            raise ValueError(f"{name} must be an integer of at least 1; got {value!r}.")
    X, W = rng.standard_normal((n_rows, n_features)), rng.standard_normal((n_features, n_neurons))
    X_test = rng.standard_normal((n_test, n_features))
    return PlantedSum(X, sum_of_relus(X, W), X_test, sum_of_relus(X_test, W), W)


def sum_of_relus(X: ArrayLike, W: ArrayLike) -> NDArray:
    """Return Σ_j max(xᵀ w_j, 0) for each row of X (n, d) and weights W (d, m), shape (n,)."""
    return np.maximum(np.asarray(X) @ np.asarray(W), 0.0).sum(axis=1)


def distance(found: ArrayLike, planted: ArrayLike) -> float:
    """Return the Frobenius distance of weights (d, m) in the order of columns in which it is least.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    found, planted = np.asarray(found, dtype=np.float64), np.asarray(planted, dtype=np.float64)
    if found.shape != planted.shape or found.ndim != 2:
        raise ValueError(f"Weights must be two matrices of one shape; got {found.shape} and {planted.shape}.")
    squares = ((found[:, :, None] - planted[:, None, :]) ** 2).sum(axis=0)
    return float(np.sqrt(squares[linear_sum_assignment(squares)].sum()))
