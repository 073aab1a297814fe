"""Planted problems: rows drawn from a known network, and how far another one is from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from anmin.lab.arguments import checked_array, checked_count, checked_level
from anmin.network import ReLUNetwork


class Planted(NamedTuple):
    """Rows of a planted network f(x) = Σ_j v_j relu(w_jᵀ x).

    Attributes
    ----------
    X : ndarray of shape (N, d)
        Inputs, N(0, I).
    y : ndarray of shape (N,)
        f(x) and Gaussian noise.
    W : ndarray of shape (d, k)
        Hidden weights, a column for each neuron.
    v : ndarray of shape (k,)
        Output weights.
    """

    X: NDArray
    y: NDArray
    W: NDArray
    v: NDArray


def near_identity(d: int, k: int, gamma: float, rng: np.random.Generator) -> NDArray:
    """Return the first k columns of I + γ N/‖N‖₂ with N of independent N(0, 1) entries, (d, k): ResNet-like weights.

    Raises
    ------
    ValueError
        If k is above d, or ``gamma`` negative.
    """
    checked_count("d", d)
    checked_count("k", k, most=d, why="the columns of the identity")
    gamma = checked_level("gamma", gamma)
    N = rng.standard_normal((d, d))
    return (np.eye(d) + gamma * N / np.linalg.norm(N, 2))[:, :k]


def orthonormal(d: int, k: int, rng: np.random.Generator) -> NDArray:
    """Return k orthonormal columns in random directions, (d, k).

    Raises
    ------
    ValueError
        If k is above d.
    """
    checked_count("d", d)
    checked_count("k", k, most=d, why="there are no more orthogonal directions")
    return np.linalg.qr(rng.standard_normal((d, k)))[0]


def plant(
    W: ArrayLike, n_rows: int, rng: np.random.Generator, *, v: ArrayLike | None = None, noise: float = 0.0
) -> Planted:
    """Draw rows of the network of these weights.

    Parameters
    ----------
    W : array of shape (d, k)
    n_rows : int
    rng : numpy.random.Generator
    v : array of shape (k,), optional
        Output weights; by default all 1.
    noise : float, default 0.0
        Standard deviation of what is added to y, in units of y.

    Raises
    ------
    ValueError
        If shapes disagree, ``n_rows`` is not a count, or ``noise`` is negative.
    """
    W = checked_array("W", W, "d", "k")
    d, k = W.shape
    v = np.ones(k) if v is None else checked_array("v", v, k)
    X = rng.standard_normal((checked_count("n_rows", n_rows), d))
    y = relu_sum(X, W, v) + checked_level("noise", noise) * rng.standard_normal(len(X))
    return Planted(X, y, W, v)


def relu_sum(X: NDArray, W: NDArray, v: NDArray | None = None) -> NDArray:
    """Return Σ_j v_j relu(w_jᵀ x), (N,), for rows x of X (N, d), W (d, k) and v (k,), or v = 1."""
    active = np.maximum(X @ W, 0.0)
    return active.sum(axis=1) if v is None else active @ v


def as_network(W: NDArray, v: NDArray | None = None) -> ReLUNetwork:
    """Return Σ_j v_j relu(w_jᵀ x) as a network without biases."""
    k = W.shape[1]
    B = np.ones((k, 1)) if v is None else v[:, None]
    return ReLUNetwork(np.vstack([np.zeros(k), W]), B, np.zeros(1))


def distance(W: ArrayLike, W_star: ArrayLike) -> float:
    """Return ‖W − W*‖_F / ‖W*‖_F, the least over orders of the columns of W (d, k).

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    W_star = checked_array("W_star", W_star, "d", "k")
    W = checked_array("W", W, *W_star.shape)
    cost = np.sum((W[:, :, None] - W_star[:, None, :]) ** 2, axis=0)
    rows, columns = linear_sum_assignment(cost)
    return float(np.sqrt(cost[rows, columns].sum() / np.sum(W_star**2)))
