"""Random Fourier features, complex and in real pairs, with output weights of least norm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anmin.lab.double_descent import least_norm


@dataclass(frozen=True)
class FourierFit:
    """h(x) = Re Σ_k a_k e^{i⟨v_k, x⟩}, or Σ_k a_k cos⟨v_k, x⟩ + b_k sin⟨v_k, x⟩.

    Attributes
    ----------
    frequencies : ndarray of shape (d, N)
        v_k, a column each, in inverse units of x.
    coefficients : ndarray of shape (N, c), complex, or (2N, c), real
        a; of real pairs a above b. In units of y.
    """

    frequencies: NDArray
    coefficients: NDArray

    @property
    def norm(self) -> float:
        """The norm of all coefficients."""
        return float(np.linalg.norm(self.coefficients))

    def predict(self, X: NDArray) -> NDArray:
        """Return h, of shape (n, c), for inputs (n, d)."""
        paired = not np.iscomplexobj(self.coefficients)
        return (fourier_features(X, self.frequencies, paired) @ self.coefficients).real


def fourier_features(X: NDArray, frequencies: NDArray, paired: bool = False) -> NDArray:
    """Return e^{i⟨v_k, x⟩} of shape (n, N), or cos and sin of ⟨v_k, x⟩ side by side, (n, 2N).

    Raises
    ------
    ValueError
        If inputs and frequencies differ in their dimension.
    """
    if X.ndim != 2 or frequencies.ndim != 2 or X.shape[1] != len(frequencies):
        raise ValueError(f"X must be (n, d) and frequencies (d, N); got {X.shape} and {frequencies.shape}.")
    phases = X @ frequencies
    return np.hstack([np.cos(phases), np.sin(phases)]) if paired else np.exp(1j * phases)


def fit_fourier(
    X: NDArray, Y: NDArray, N: int, width: float, rng: np.random.Generator, paired: bool = False
) -> FourierFit:
    """Fit the coefficients of random features: least squares, of least norm where many fit.

    Complex features interpolate from N = n frequencies on, real pairs from N = n/2.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    Y : ndarray of shape (n, c)
    N : int >= 1
        Number of frequencies, v ~ N(0, I/width²).
    width : float > 0
        Of the kernel e^{−‖x − x'‖²/(2·width²)} that many features come to, in units of x.
    rng : numpy.random.Generator
    paired : bool, default False
        Whether the features are real pairs.

    Raises
    ------
    ValueError
        If the shapes, N or width are not as described.
    """
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
        raise ValueError(f"X must be (n, d) and Y (n, c); got {X.shape} and {Y.shape}.")
    if N < 1 or not width > 0:
        raise ValueError(f"There must be at least one frequency and a positive width; got {N} and {width}.")
    frequencies = rng.standard_normal((X.shape[1], N)) / width
    return FourierFit(frequencies, least_norm(fourier_features(X, frequencies, paired), Y))
