"""Gradient descent on small two-layer ReLU networks without biases, with exact gradients, for studies of its path.

A network of m neurons has hidden weights W (p, m) and output weights a (m,); on rows X (n, p), with a constant column
where neurons are to have a bias, it gives max(XW, 0) a, and its loss is, in the notation of Mercklé, Iutzeler & Redko,
The Hidden Convex Optimization Landscape of Two-Layer ReLU Networks (their first equation),

    L(W, a) = Σ_i (max(x_iᵀ W, 0) a − y_i)² + λ Σ_j (‖w_j‖² + a_j²)

Leading dimensions of W (..., p, m) and a (..., m) number networks that are trained beside one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: The text whose experiments these are, as claims name it.
SOURCE = "Mercklé, Iutzeler & Redko"


class Point(NamedTuple):
    """Where a descent stands: weights W (..., p, m) and a (..., m), and the loss (...)."""

    W: NDArray
    a: NDArray
    loss: NDArray


def loss_and_gradient(
    X: NDArray, y: NDArray, W: NDArray, a: NDArray, decay: float = 0.0
) -> tuple[NDArray, NDArray, NDArray]:
    """Return the loss (...) with λ = ``decay``, and its derivatives by W (..., p, m) and a (..., m).

    A neuron counts as off on a row where its argument is 0, so that the derivative of max(z, 0) is 1[z > 0].
    """
    Z = X @ W
    H = np.maximum(Z, 0.0)
    residual = (H @ a[..., None])[..., 0] - y
    loss = np.sum(residual**2, axis=-1)
    dW = 2 * (X.T @ (residual[..., None] * (Z > 0) * a[..., None, :]))
    da = 2 * (residual[..., None, :] @ H)[..., 0, :]
    if decay:
        loss = loss + decay * (np.sum(W**2, axis=(-2, -1)) + np.sum(a**2, axis=-1))
        dW, da = dW + 2 * decay * W, da + 2 * decay * a
    return loss, dW, da


def descend(
    X: ArrayLike,
    y: ArrayLike,
    W: ArrayLike,
    a: ArrayLike,
    rate: float,
    n_steps: int,
    *,
    decay: float = 0.0,
    train_output: bool = True,
) -> Iterator[Point]:
    """Yield the start and then the point after each of ``n_steps`` steps of gradient descent on all rows.

    Parameters
    ----------
    X : array of shape (n, p)
        Rows, a constant column included where neurons are to have a bias.
    y : array of shape (n,)
    W, a : array of shape (..., p, m) and (..., m)
        The start, which is not changed.
    rate : float > 0
        Step size; with small ones the path is that of the gradient flow, dW/dt = −∂L/∂W, at t = rate · steps.
    n_steps : int
    decay : float >= 0, default 0
        λ of the loss.
    train_output : bool, default True
        Without it only W moves.

    Raises
    ------
    ValueError
        If the shapes do not fit, ``rate`` is not positive, ``decay`` is negative, or the loss is no longer finite.
    """
    X, y, W, a = (np.asarray(part, dtype=np.float64) for part in (X, y, W, a))
    if X.ndim != 2 or y.shape != X.shape[:1] or W.ndim < 2 or W.shape[-2] != X.shape[1]:
        raise ValueError(f"X (n, p), y (n,) and W (..., p, m) are needed; got {X.shape}, {y.shape} and {W.shape}.")
    if a.shape != (*W.shape[:-2], W.shape[-1]):
        raise ValueError(f"a must have one output weight for each neuron of W, {W.shape}; got shape {a.shape}.")
    if not rate > 0 or not decay >= 0:
        raise ValueError(f"rate must be positive and decay not negative; got {rate!r} and {decay!r}.")
    for step in range(n_steps + 1):
        with np.errstate(over="ignore", invalid="ignore"):
            loss, dW, da = loss_and_gradient(X, y, W, a, decay)
        if not np.all(np.isfinite(loss)):
            raise ValueError(f"The loss is not finite after {step} steps of size {rate:g}; take smaller ones.")
        yield Point(W, a, loss)
        W = W - rate * dW
        if train_output:
            a = a - rate * da


def activation_points(W: NDArray) -> NDArray:
    """Return where neurons of one input and a bias switch on or off, −w₂/w₁, for W (..., 2, m); infinite without slope.

    They are active to the right of it where w₁ > 0, to the left where w₁ < 0.
    """
    slope, bias = W[..., 0, :], W[..., 1, :]
    return np.divide(-bias, slope, out=np.full(slope.shape, np.inf), where=slope != 0)


def early_directions(X: NDArray, y: NDArray, W: NDArray, a: NDArray) -> NDArray:
    """Return the direction in which each neuron is drawn while the network's output is next to nothing, (p, m).

    It is sign(a_j) Σ_i y_i x_i over the rows on which neuron j is active: −∂L/∂w_j/(2|a_j|) where the residual is −y.
    A neuron that points in it keeps to it and only grows; so these are where neurons of tiny weights gather.
    """
    return np.sign(a) * (X.T @ ((X @ W > 0) * y[:, None]))


def cosines(U: NDArray, V: NDArray) -> NDArray:
    """Return the cosine of the angle between column j of U and of V, both (p, m); 0 where one of them is zero."""
    norms = np.linalg.norm(U, axis=0) * np.linalg.norm(V, axis=0)
    return np.divide(np.sum(U * V, axis=0), norms, out=np.zeros(norms.shape), where=norms > 0)
