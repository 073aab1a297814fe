"""Linear residual networks (I + A_l)…(I + A_1): gradients, a bound on them, descent, and a construction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

SOURCE = "review of residual networks, after Hardt and Ma"


@dataclass(frozen=True)
class LinearFit:
    """Losses of a descent on a product of matrices, and where it ended.

    Attributes
    ----------
    factors : ndarray of shape (l, d, d)
        A_1, …, A_l, that of the inputs first.
    losses : ndarray of shape (steps + 1,)
        Before each step and after the last; fewer where the loss was no longer finite.
    """

    factors: NDArray
    losses: NDArray

    def steps_to(self, share: float) -> float:
        """Return the steps after which the loss is at most this share of the first one; infinity if it never is."""
        there = np.flatnonzero(self.losses <= share * self.losses[0])
        return float(there[0]) if len(there) else np.inf


def product(factors: NDArray) -> NDArray:
    """Return (I + A_l)…(I + A_1) of shape (d, d) for factors A of shape (l, d, d)."""
    outcome = np.eye(factors.shape[1])
    for A in factors:
        outcome = outcome + A @ outcome
    return outcome


def excess(factors: NDArray, R: NDArray, covariance: NDArray) -> float:
    """Return f − C_opt = tr(E Σ Eᵀ) with E = (I + A_l)…(I + A_1) − R: the mean of ‖E x‖² over x ~ N(0, Σ)."""
    E = product(factors) - R
    return float(np.sum((E @ covariance) * E))


def gradient(factors: NDArray, R: NDArray, covariance: NDArray) -> NDArray:
    """Return ∂f/∂A_i = 2 [(I + A_l)…(I + A_{i+1})]ᵀ E Σ [(I + A_{i−1})…(I + A_1)]ᵀ for all i.

    Parameters
    ----------
    factors : ndarray of shape (l, d, d)
    R, covariance : ndarrays of shape (d, d)
        The target, and Σ of the inputs.

    Returns
    -------
    ndarray of shape (l, d, d)

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    _check(factors, R, covariance)
    eye = np.eye(len(R))
    before, after = [eye], [eye]
    for A in factors:
        before.append(before[-1] + A @ before[-1])
    for A in factors[:0:-1]:
        after.append(after[-1] + after[-1] @ A)
    slope = 2 * (before[-1] - R) @ covariance
    return np.array([late.T @ slope @ early.T for late, early in zip(after[::-1], before[:-1], strict=True)])


def gradient_bound(factors: NDArray, R: NDArray, covariance: NDArray) -> float:
    """Return 4l(1 − τ)^{2l−2} σ_min(Σ)(f − C_opt), a lower bound of ‖∇f‖_F² for τ = max ‖A_i‖₂ < 1.

    So no point with τ < 1 is a spurious optimum. For τ >= 1 the bound is 0.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    _check(factors, R, covariance)
    tau, n_factors = max(float(np.linalg.norm(A, 2)) for A in factors), len(factors)
    least = float(np.linalg.eigvalsh(covariance)[0])
    return 4 * n_factors * max(1 - tau, 0.0) ** (2 * n_factors - 2) * least * excess(factors, R, covariance)


def logarithmic_factors(R: NDArray, n_factors: int) -> NDArray:
    """Return A_i = exp(log(R)/l) − I, equal factors whose product is R; ‖A_i‖ falls as ‖log R‖/l.

    Parameters
    ----------
    R : ndarray of shape (d, d)
        With a real logarithm, as it has without eigenvalues in (−∞, 0].
    n_factors : int >= 1

    Returns
    -------
    ndarray of shape (l, d, d)

    Raises
    ------
    ValueError
        If R has no real principal logarithm, or there is not a factor at least.
    """
    if n_factors < 1:
        raise ValueError(f"n_factors must be at least 1; got {n_factors}.")
    values = np.linalg.eigvals(R)
    if np.any((np.abs(values.imag) <= 1e-12 * np.abs(values)) & (values.real <= 0)):
        raise ValueError("R must have no eigenvalue that is 0 or negative, since its logarithm would not be real.")
    root = scipy.linalg.expm(np.real(scipy.linalg.logm(R)) / n_factors)
    return np.repeat((root - np.eye(len(R)))[None], n_factors, axis=0)


def descend(factors: NDArray, R: NDArray, covariance: NDArray, rate: float, n_steps: int) -> LinearFit:
    """Descend f from ``factors`` by steps of −rate·∇f.

    Raises
    ------
    ValueError
        If the shapes do not fit, the rate is not positive or the steps negative.
    """
    _check(factors, R, covariance)
    _check_descent(rate, n_steps)
    factors, losses = factors.copy(), [excess(factors, R, covariance)]
    for _ in range(n_steps):
        factors -= rate * gradient(factors, R, covariance)
        losses.append(excess(factors, R, covariance))
        if not losses[-1] < 1e6 * max(losses[0], 1.0):
            break
    return LinearFit(factors, np.array(losses))


# Between fixed layers


@dataclass(frozen=True)
class Framed:
    """Data for f = ½‖B·P·A·X − Y‖_F², P a product of l square matrices between fixed layers A and B.

    Attributes
    ----------
    A : ndarray of shape (m, d)
    B : ndarray of shape (c, m)
    X : ndarray of shape (d, n)
    Y : ndarray of shape (c, n)
    """

    A: NDArray
    B: NDArray
    X: NDArray
    Y: NDArray

    def __post_init__(self) -> None:
        (m, d), (c, width) = self.A.shape, self.B.shape
        if width != m or len(self.X) != d or self.Y.shape != (c, self.X.shape[1]):
            shapes = ", ".join(str(part.shape) for part in (self.A, self.B, self.X, self.Y))
            raise ValueError(f"A (m, d), B (c, m), X (d, n) and Y (c, n) must fit; got {shapes}.")

    def least(self) -> float:
        """Return the least f of all products P, by least squares, where B has full row rank and A full column rank."""
        solution = np.linalg.lstsq(self.X.T, self.Y.T, rcond=None)[0].T
        return 0.5 * float(np.sum((solution @ self.X - self.Y) ** 2))

    def loss_and_gradient(self, factors: NDArray, residual: bool) -> tuple[float, NDArray]:
        """Return f and its gradient at factors W (l, m, m): P = Π(I + W_i) if residual, else Π W_i."""
        steps = factors + np.eye(factors.shape[1]) if residual else factors
        before, after = [self.A @ self.X], [self.B]
        for W in steps:
            before.append(W @ before[-1])
        for W in steps[:0:-1]:
            after.append(after[-1] @ W)
        error = self.B @ before[-1] - self.Y
        slopes = [late.T @ error @ early.T for late, early in zip(after[::-1], before[:-1], strict=True)]
        return 0.5 * float(np.sum(error**2)), np.array(slopes)

    def descend(self, factors: NDArray, rate: float, n_steps: int, residual: bool) -> LinearFit:
        """Descend f from these factors, whose losses are in excess of the least; ValueError as :func:`descend`."""
        _check_descent(rate, n_steps)
        factors, least, losses = factors.copy(), self.least(), []
        for step in range(n_steps + 1):
            loss, slopes = self.loss_and_gradient(factors, residual)
            losses.append(loss - least)
            if step == n_steps or not losses[-1] < 1e3 * max(losses[0], 1.0):
                break
            factors -= rate * slopes
        return LinearFit(factors, np.array(losses))


# Depth as acceleration


def end_to_end_step(w: NDArray, slope: NDArray, depth: int) -> NDArray:
    """Return the direction in which descent on N balanced factors moves their product w, one output.

    ‖w‖^{2−2/N} (∇ + (N − 1) Pr_w ∇), Pr_w the projection on w; for N = 1 it is ∇ (Arora, Cohen and Hazan 2018).

    Parameters
    ----------
    w, slope : ndarrays of shape (d,)
        The product, and ∇ of the loss by it.
    depth : int >= 1
        N.

    Raises
    ------
    ValueError
        If the depth is less than 1 or the shapes differ.
    """
    if depth < 1 or w.shape != slope.shape:
        raise ValueError(f"depth must be at least 1 and shapes equal; got {depth}, {w.shape} and {slope.shape}.")
    norm = float(np.linalg.norm(w))
    if norm == 0:
        return slope if depth == 1 else np.zeros_like(slope)
    along = (w @ slope) / norm**2 * w
    return norm ** (2 - 2 / depth) * (slope + (depth - 1) * along)


def power_regression(
    X: NDArray, y: NDArray, w: NDArray, depth: int, rate: float, n_steps: int, power: float = 4.0
) -> NDArray:
    """Descend (1/n) Σ |xᵀw − y|^p/p by the rule of N factors; return the losses before each step and after the last.

    Raises
    ------
    ValueError
        If rate, steps or depth are not as described.
    """
    _check_descent(rate, n_steps)
    losses: list[float] = []
    for step in range(n_steps + 1):
        error = X @ w - y
        losses.append(float(np.mean(np.abs(error) ** power) / power))
        if step == n_steps or not losses[-1] < 1e6 * max(losses[0], 1.0):
            break
        slope = X.T @ (np.sign(error) * np.abs(error) ** (power - 1)) / len(y)
        w = w - rate * end_to_end_step(w, slope, depth)
    return np.array(losses)


def _check(factors: NDArray, R: NDArray, covariance: NDArray) -> None:
    d = len(R)
    if factors.ndim != 3 or not len(factors) or {factors.shape[1:], R.shape, covariance.shape} != {(d, d)}:
        raise ValueError(
            f"Factors (l, d, d), R (d, d) and the covariance (d, d) must fit; got {factors.shape}, {R.shape} and "
            f"{covariance.shape}."
        )


def _check_descent(rate: float, n_steps: int) -> None:
    if not rate > 0 or n_steps < 0:
        raise ValueError(f"The rate must be positive and the steps not negative; got {rate} and {n_steps}.")


def random_orientation(rng: np.random.Generator, d: int, spread: float) -> NDArray:
    """Return a random R (d, d) of positive determinant, with singular values e^{±spread} at most."""
    left, right = (np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(2))
    values = np.exp(rng.uniform(-spread, spread, d))
    values[0] *= np.sign(np.linalg.det(left) * np.linalg.det(right))
    return (left * values) @ right
