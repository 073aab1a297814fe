"""Least squares on either side of the interpolation threshold: exact risks, least norms, early ends of descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

SOURCE = "review of deep double descent"


@dataclass(frozen=True)
class Risk:
    """Expected squared error of an estimate in excess of the noise, E‖β̂ − β‖², in its two parts.

    Attributes
    ----------
    bias : float
        ‖E β̂ − β‖², over inputs and noise; in squared units of y for inputs of variance 1.
    variance : float
        E‖β̂ − E β̂‖²; infinite where the mean is.
    """

    bias: float
    variance: float

    @property
    def total(self) -> float:
        """The sum of both."""
        return self.bias + self.variance


def exact_risk(n: int, d: int, norm: float, noise: float) -> Risk:
    """Return the exact risk of β̂ = X⁺y for x ~ N(0, I_d), y = xᵀβ + noise·ε, n rows.

    For n < d the row space is a random one of n of the d directions, so that E X⁺X = (n/d)·I:

        bias (1 − n/d)²‖β‖²,   variance (n/d)(1 − n/d)‖β‖² + noise²·n/(d − n − 1)

    and for n > d bias 0, variance noise²·d/(n − d − 1), from the mean of an inverse Wishart matrix, which is infinite
    for |n − d| <= 1.

    Parameters
    ----------
    n, d : int >= 1
    norm : float >= 0
        ‖β‖.
    noise : float >= 0
        Deviation of the noise, in units of y.

    Raises
    ------
    ValueError
        If one of them is out of its range.
    """
    _check_sizes(n, d, norm, noise)
    share = min(n / d, 1.0)
    gap = abs(n - d) - 1
    inverse = min(n, d) / gap if n < d and gap > 0 else d / gap if gap > 0 else math.inf
    return Risk((1 - share) ** 2 * norm**2, share * (1 - share) * norm**2 + (noise**2 * inverse if noise > 0 else 0.0))


def limiting_risk(n: int, d: int, norm: float, noise: float) -> Risk:
    """Return the risk as the source prints it, for n and d that grow together, γ = n/d.

    γ < 1: bias (1 − γ)²‖β‖², variance γ(1 − γ)‖β‖² + noise²·γ/(1 − γ); γ > 1: bias 0, variance noise²/(γ − 1).
    Parameters and errors are those of :func:`exact_risk`.
    """
    _check_sizes(n, d, norm, noise)
    ratio = n / d
    if ratio == 1:
        return Risk(0.0, math.inf if noise > 0 else 0.0)
    if ratio > 1:
        return Risk(0.0, noise**2 / (ratio - 1))
    return Risk((1 - ratio) ** 2 * norm**2, ratio * (1 - ratio) * norm**2 + noise**2 * ratio / (1 - ratio))


def descended(X: NDArray, y: NDArray, budgets: Sequence[int | None], rate: float = 1.0) -> NDArray:
    """Return β after each of several numbers of steps of gradient descent from 0 on ‖Xβ − y‖²/2, in closed form.

    With X = U S Vᵀ it is V diag((1 − (1 − η s²)^t)/s) Uᵀ y, where η = rate/(largest s)²; for t → ∞ it is X⁺y.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    budgets : sequence of int >= 0 or None
        Values of t; None for the limit.
    rate : float in (0, 2)
        In units of 1/(largest s)², where descent is stable.

    Returns
    -------
    ndarray of shape (len(budgets), d)

    Raises
    ------
    ValueError
        If shapes, steps or rate are not as described.
    """
    if X.ndim != 2 or y.shape != (len(X),):
        raise ValueError(f"X must be a matrix and y have a number for each row; got shapes {X.shape} and {y.shape}.")
    if not 0 < rate < 2:
        raise ValueError(f"rate must lie between 0 and 2; got {rate}.")
    if any(steps is not None and steps < 0 for steps in budgets):
        raise ValueError(f"Numbers of steps must be at least 0; got {list(budgets)}.")
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    there = s > s[0] * max(X.shape) * np.finfo(float).eps
    U, s, Vt = U[:, there], s[there], Vt[there]
    left = 1 - rate * (s / s[0]) ** 2
    shares = [np.ones_like(s) if steps is None else 1 - left**steps for steps in budgets]
    return np.array(shares) * (U.T @ y / s) @ Vt


def least_norm(features: NDArray, targets: NDArray) -> NDArray:
    """Return the solution of least norm among those of least squared error.

    Parameters
    ----------
    features : ndarray of shape (n, N), real or complex
    targets : ndarray of shape (n,) or (n, c)

    Returns
    -------
    ndarray of shape (N,) or (N, c)

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if features.ndim != 2 or len(targets) != len(features):
        raise ValueError(f"Features and targets must have the same rows; got {features.shape} and {targets.shape}.")
    # Complete orthogonal factorisation with pivots: as exact as singular values here, at a fraction of their time.
    return scipy.linalg.lstsq(features, targets, lapack_driver="gelsy", check_finite=False)[0]


def effective_complexity(train_error: Callable[[int], float], sizes: Sequence[int], tolerance: float) -> int:
    """Return the effective model complexity, the most rows that a procedure fits: max{n : mean train error <= ε}.

    Parameters
    ----------
    train_error : callable
        Takes a number of rows and returns the mean training error over draws of so many rows.
    sizes : sequence of int
        The numbers tried, in any order.
    tolerance : float >= 0
        ε, in units of the error.

    Returns
    -------
    int
        0 if it fits none of them.

    Raises
    ------
    ValueError
        If there are no sizes, or the tolerance is negative.
    """
    if not sizes or tolerance < 0:
        raise ValueError(f"There must be sizes, and a tolerance of at least 0; got {list(sizes)} and {tolerance}.")
    return max((n for n in sizes if train_error(n) <= tolerance), default=0)


def _check_sizes(n: int, d: int, norm: float, noise: float) -> None:
    if n < 1 or d < 1:
        raise ValueError(f"There must be at least one row and one input; got {n} and {d}.")
    if norm < 0 or noise < 0:
        raise ValueError(f"norm and noise must not be negative; got {norm} and {noise}.")
