"""Which neurons are of least use when the output weights of the others make up for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import inv


def eliminated(K: NDArray, theta: NDArray, count: int) -> tuple[NDArray, NDArray]:
    """Return which ``count`` neurons to take away, each of least use once those before it are gone, and the rest.

    Where the output layer θ = [B; b0] minimises tr(θᵀKθ) − 2 tr(θᵀr), taking neuron j away, with the best output layer
    for the others, adds Σ_k θ_jk²/(K⁻¹)_jj; then K⁻¹ and θ follow by elimination.

    Parameters
    ----------
    K : ndarray of shape (h + 1, h + 1)
        Positive semidefinite; its last row is that of the output bias, which stays.
    theta : ndarray of shape (h + 1, c)
        The best output layer, K⁻¹r.
    count : int
        At most h.

    Returns
    -------
    gone : ndarray of shape (count,)
        Numbers of the neurons, in the order in which they go.
    theta : ndarray of shape (h + 1 − count, c)
        The best output layer of the others, in their former order.
    """
    inverse = inverse_of(K)
    left = np.arange(len(K) - 1)
    gone = []
    for _ in range(count):
        cost = np.sum(theta[left] ** 2, axis=1) / np.diagonal(inverse)[left]
        j = left[np.argmin(cost)]
        gone.append(j)
        left = left[left != j]
        column = inverse[:, j] / inverse[j, j]
        theta = theta - np.outer(column, theta[j])
        inverse = inverse - np.outer(column, inverse[j])
    return np.array(gone, dtype=int), theta[np.r_[left, len(K) - 1]]


def inverse_of(K: NDArray) -> NDArray:
    """Return the inverse of a positive semidefinite matrix, to which a relative 1e-12 of its diagonal is added.

    Without a penalty it may be singular; otherwise this makes no difference.
    """
    return inv(K + 1e-12 * np.trace(K) / len(K) * np.eye(len(K)))
