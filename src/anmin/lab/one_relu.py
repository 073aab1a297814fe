"""One ReLU with structured weights, by projected gradient descent (Soltanolkotabi, arXiv 1705.04591).

y = relu(w*ᵀ x) with R(w*) known for a regulariser R; each step descends on the squared error and projects on
{w : R(w) <= R(w*)}, which lets far fewer rows than inputs be enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.lab.arguments import checked_array, checked_count, checked_level, checked_positive

_DIVERGED = 1e100  # size of an entry at which an iterate stays where it is, before numbers overflow


def project_on_l1_ball(w: ArrayLike, radius: float) -> NDArray:
    """Return the nearest vector to w (d,) with ‖·‖₁ at most ``radius``: soft thresholding (Duchi et al.).

    Raises
    ------
    ValueError
        If w is no vector or ``radius`` is negative.
    """
    w = checked_array("w", w, "d")
    radius = checked_level("radius", radius)
    sizes = np.abs(w)
    if sizes.sum() <= radius:
        return w.copy()
    falling = np.sort(sizes)[::-1]
    excess = (np.cumsum(falling) - radius) / np.arange(1, len(w) + 1)
    # The last entry that its own threshold leaves above zero; with a radius of 0 there is none.
    above = np.flatnonzero(falling > excess)
    threshold = excess[above[-1]] if len(above) else falling[0]
    projected: NDArray = np.sign(w) * np.maximum(sizes - threshold, 0.0)
    return projected


def keep_largest(w: ArrayLike, n_kept: int) -> NDArray:
    """Return w (d,) with all but its ``n_kept`` entries of largest size set to zero: the nearest sparse vector.

    Raises
    ------
    ValueError
        If w is no vector or ``n_kept`` is above d.
    """
    w = checked_array("w", w, "d")
    kept = np.argsort(-np.abs(w), kind="stable")[: checked_count("n_kept", n_kept, most=len(w), why="the length of w")]
    sparse = np.zeros_like(w)
    sparse[kept] = w[kept]
    return sparse


def projected_descent(
    X: ArrayLike, y: ArrayLike, project: Callable[[NDArray], NDArray], n_steps: int, *, rate: float = 1.0
) -> NDArray:
    """Return the iterates w₀ = 0, w₁, ..., as the rows of (n_steps + 1, d).

    The loss is (1/N) Σ (relu(wᵀx_i) − y_i)², its gradient (1/N) Σ (relu(wᵀx_i) − y_i)(1 + sgn(wᵀx_i)) x_i with
    sgn 0 = 0, so that the first step from zero goes somewhere. (The review's Definition 2.11 averages the predictions
    before it squares, which is another loss: see :mod:`anmin.lab.study_one_relu`.)

    Parameters
    ----------
    X : array of shape (N, d)
        Rows near N(0, I), for which the rate 1 is right.
    y : array of shape (N,)
    project : callable
        Returns the nearest point of the set to w (d,).
    n_steps : int
    rate : float, default 1.0

    Raises
    ------
    ValueError
        If the shapes disagree, ``n_steps`` is not a count or ``rate`` not above 0.
    """
    X = checked_array("X", X, "N", "d")
    y = checked_array("y", y, len(X))
    rate = checked_positive("rate", rate)
    steps = checked_count("n_steps", n_steps)
    return np.array(list(islice(_iterates(X, y, project, rate), steps + 1)))


def _iterates(X: NDArray, y: NDArray, project: Callable[[NDArray], NDArray], rate: float) -> Iterator[NDArray]:
    w = np.zeros(X.shape[1])
    while True:
        yield w
        if np.abs(w).max() > _DIVERGED:
            continue
        z = X @ w
        gradient = X.T @ ((np.maximum(z, 0) - y) * (1 + np.sign(z))) / len(X)
        w = project(w - rate * gradient)
