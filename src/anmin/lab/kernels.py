"""Expectations over x ~ N(0, I) in closed form: kernels of ReLUs, population losses and their gradients.

With θ the angle of u and v and ū = u/‖u‖:

    E[relu(uᵀx) relu(vᵀx)]        = ‖u‖‖v‖/(2π) · (sin θ + (π − θ) cos θ)
    E[relu(uᵀx) x 1{vᵀx >= 0}]    = ((π − θ) u + ‖u‖ sin θ v̄) / (2π)

(Cho & Saul; Brutzkus & Globerson; Tian). All networks here are sums of ReLUs, f(x) = Σ_j relu(w_jᵀ x).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.lab.arguments import checked_array, checked_count


def angles(U: ArrayLike, V: ArrayLike) -> NDArray:
    """Return the angles between the columns of U (d, k) and V (d, l), (k, l), in radians.

    Raises
    ------
    ValueError
        If the shapes disagree, or a column is zero and so has no direction.
    """
    U = checked_array("U", U, "d", "k")
    V = checked_array("V", V, len(U), "l")
    a, b = _directions("U", U), _directions("V", V)
    # From differences and sums of unit vectors (Kahan): the arc cosine loses half of the digits of small angles.
    apart = np.linalg.norm(a[:, :, None] - b[:, None, :], axis=0)
    together = np.linalg.norm(a[:, :, None] + b[:, None, :], axis=0)
    return 2 * np.arctan2(apart, together)


def relu_kernel(U: ArrayLike, V: ArrayLike) -> NDArray:
    """Return E[relu(u_iᵀx) relu(v_jᵀx)] for the columns of U (d, k) and V (d, l), (k, l)."""
    theta = angles(U, V)
    scale = np.outer(np.linalg.norm(U, axis=0), np.linalg.norm(V, axis=0)) / (2 * np.pi)
    kernel: NDArray = scale * (np.sin(theta) + (np.pi - theta) * np.cos(theta))
    return kernel


def gated_means(U: ArrayLike, V: ArrayLike) -> NDArray:
    """Return Σ_i E[relu(u_iᵀx) x 1{v_jᵀx >= 0}] for the columns of U (d, k) and each of V (d, l), (d, l)."""
    theta = angles(U, V)
    U, V = np.asarray(U, float), np.asarray(V, float)
    direction = V / np.linalg.norm(V, axis=0)
    means: NDArray = (U @ (np.pi - theta) + direction * (np.linalg.norm(U, axis=0) @ np.sin(theta))) / (2 * np.pi)
    return means


def population_loss(W: ArrayLike, W_star: ArrayLike) -> float:
    """Return E[(Σ_j relu(w_jᵀx) − Σ_j relu(w*_jᵀx))²] for W (d, k) and W* (d, l).

    Raises
    ------
    ValueError
        If the shapes disagree or a column is zero.
    """
    return float(relu_kernel(W, W).sum() - 2 * relu_kernel(W, W_star).sum() + relu_kernel(W_star, W_star).sum())


def population_gradient(W: ArrayLike, W_star: ArrayLike) -> NDArray:
    """Return the gradient of :func:`population_loss` in W, (d, k).

    Its column j is (1/π) Σ_i [(π − θ_ij) w_i + ‖w_i‖ sin θ_ij w̄_j] less the same of W*: Li & Yuan, for weights
    I + W, which the review prints times −π.
    """
    return 2 * (gated_means(W, W) - gated_means(W_star, W))


def one_neuron_gradient(w: ArrayLike, w_star: ArrayLike, n_rows: int) -> NDArray:
    """Return the expected gradient of ½ Σ_i (relu(wᵀx_i) − relu(w*ᵀx_i))² over N rows, (d,), for w and w* (d,).

    It is N/(2π) · [π (w − w*) + θ w* − (‖w*‖/‖w‖) sin θ w] (Tian).

    Raises
    ------
    ValueError
        If the shapes disagree, a vector is zero, or ``n_rows`` is not a count.
    """
    w = checked_array("w", w, "d")
    w_star = checked_array("w_star", w_star, len(w))
    theta = angles(w[:, None], w_star[:, None])[0, 0]
    ratio = np.linalg.norm(w_star) / np.linalg.norm(w)
    bracket = np.pi * (w - w_star) + theta * w_star - ratio * np.sin(theta) * w
    gradient: NDArray = checked_count("n_rows", n_rows) / (2 * np.pi) * bracket
    return gradient


def filter_loss(w: ArrayLike, w_star: ArrayLike, n_patches: int) -> float:
    """Return E[(f_w(x) − f_w*(x))²] for f_w(x) = (1/k) Σ_j relu(wᵀx_j) over k independent patches x_j ~ N(0, I).

    The patches make k neurons of disjoint inputs, and (1/k²) Σ_ij runs over their kernels (Brutzkus & Globerson); two
    different patches are orthogonal, which leaves ‖u‖‖v‖/(2π).

    Parameters
    ----------
    w, w_star : array of shape (m,)
    n_patches : int
        k.

    Raises
    ------
    ValueError
        If the shapes disagree, a filter is zero, or ``n_patches`` is not a count.
    """
    w = checked_array("w", w, "m")
    w_star = checked_array("w_star", w_star, len(w))
    k = checked_count("n_patches", n_patches)
    pair = np.column_stack([w, w_star])
    norms = np.linalg.norm(pair, axis=0)
    means = (relu_kernel(pair, pair) + (k - 1) * np.outer(norms, norms) / (2 * np.pi)) / k
    return float(means[0, 0] - 2 * means[0, 1] + means[1, 1])


def filter_gradient(w: ArrayLike, w_star: ArrayLike, n_patches: int) -> NDArray:
    """Return the gradient of :func:`filter_loss` in w, (m,)."""
    w = checked_array("w", w, "m")
    w_star = checked_array("w_star", w_star, len(w))
    k = checked_count("n_patches", n_patches)
    same = population_gradient(w[:, None], w_star[:, None])[:, 0]
    unit = w / np.linalg.norm(w)
    different = (np.linalg.norm(w) - np.linalg.norm(w_star)) * unit / np.pi
    return (same + (k - 1) * different) / k


def sample_gradient(X: ArrayLike, W: ArrayLike, W_star: ArrayLike, noise: ArrayLike) -> NDArray:
    """Return the gradient of (1/2N) Σ_i (f_W(x_i) − y_i)² in W by masked second moments (Zhang et al.), (d, k).

    With Σ̂(u, v) = (1/N) Σ_i x_i x_iᵀ 1{uᵀx_i >= 0, vᵀx_i >= 0} and y = f_W*(x) + ε its column k is
    Σ_j (Σ̂(w_j, w_k) w_j − Σ̂(w*_j, w_k) w*_j) − (1/N) Σ_i ε_i x_i 1{w_kᵀx_i >= 0}.

    Parameters
    ----------
    X : array of shape (N, d)
    W, W_star : array of shape (d, k) and (d, l)
    noise : array of shape (N,)
        ε.

    Raises
    ------
    ValueError
        If the shapes disagree.
    """
    X = checked_array("X", X, "N", "d")
    W = checked_array("W", W, X.shape[1], "k")
    W_star = checked_array("W_star", W_star, X.shape[1], "l")
    noise = checked_array("noise", noise, len(X))
    gates = (X @ W >= 0).astype(float)
    gates_star = (X @ W_star >= 0).astype(float)
    gradient = np.empty_like(W)
    for k, gate in enumerate(gates.T):
        # Σ̂(u, v) u = (1/N) Σ_i x_i (x_iᵀu) 1{...}: applied to the vector, it is never formed.
        own = sum(_masked(X, gates[:, j] * gate, w) for j, w in enumerate(W.T))
        planted = sum(_masked(X, gates_star[:, j] * gate, w) for j, w in enumerate(W_star.T))
        gradient[:, k] = own - planted - X.T @ (noise * gate) / len(X)
    return gradient


def _masked(X: NDArray, mask: NDArray, u: NDArray) -> NDArray:
    product: NDArray = X.T @ (mask * (X @ u)) / len(X)
    return product


def _directions(name: str, W: NDArray) -> NDArray:
    norms = np.linalg.norm(W, axis=0)
    if not norms.all():
        raise ValueError(f"A column of {name} is zero and has no direction; the kernels need vectors other than zero.")
    unit: NDArray = W / norms
    return unit
