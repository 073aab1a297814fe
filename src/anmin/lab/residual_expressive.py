"""A residual block that sends any distinct points to any targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ResidualBlock:
    """x + V·relu(U x + s).

    Attributes
    ----------
    U : ndarray of shape (m, d)
    s : ndarray of shape (m,)
    V : ndarray of shape (d, m)
    """

    U: NDArray
    s: NDArray
    V: NDArray

    def __call__(self, X: NDArray) -> NDArray:
        """Return the block's outputs (n, d) for inputs (n, d)."""
        return X + np.maximum(X @ self.U.T + self.s, 0) @ self.V.T


def interpolating_block(
    X: NDArray, targets: NDArray, rng: np.random.Generator, n_directions: int = 32
) -> ResidualBlock:
    """Return a block of three units a point that sends point i to target i and leaves far points where they are.

    Along a direction u all points have their own place t_i = uᵀx_i. Three units make a hat of height 1 at t_i,

        (relu(t − t_i + δ) − 2 relu(t − t_i) + relu(t − t_i − δ))/δ,   t = uᵀx,

    which is 0 from a distance δ on; V carries it with target_i − x_i. δ is half of the smallest gap, so that no point
    lies under another's hat.

    Parameters
    ----------
    X, targets : ndarrays of shape (n, d)
        The points must differ.
    rng : numpy.random.Generator
    n_directions : int >= 1
        Random unit vectors, of which that with the largest smallest gap is u: rounding errors go as 1/δ.

    Raises
    ------
    ValueError
        If the shapes differ, points coincide, or no direction tells them apart in double precision.
    """
    if X.ndim != 2 or X.shape != targets.shape or not len(X):
        raise ValueError(f"X and targets must be (n, d), n at least 1; got {X.shape} and {targets.shape}.")
    if n_directions < 1:
        raise ValueError(f"n_directions must be at least 1; got {n_directions}.")
    if len(np.unique(X, axis=0)) < len(X):
        raise ValueError("The points must differ; at least two are the same.")
    directions = rng.standard_normal((n_directions, X.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    places = X @ directions.T
    gaps = np.diff(np.sort(places, axis=0), axis=0).min(axis=0) if len(X) > 1 else np.ones(n_directions)
    best = int(np.argmax(gaps))
    t, delta = places[:, best], float(gaps[best]) / 2
    if not delta > 64 * np.finfo(float).eps * np.abs(t).max():
        raise ValueError(f"No direction tells the points apart: the smallest gap is {2 * delta:.1g}.")
    U = np.repeat(directions[best][None], 3 * len(X), axis=0)
    s = np.concatenate([delta - t, -t, -delta - t])
    moves = (targets - X).T / delta
    return ResidualBlock(U, s, np.hstack([moves, -2 * moves, moves]))
