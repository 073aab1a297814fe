"""How far predictions are from targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Scores:
    """Errors of predictions, weighted over the rows and averaged over the outputs.

    Attributes
    ----------
    n_rows : int
    mse, rmse, mae : float
        Mean squared error, its square root, and mean absolute error, in (squared) units of y.
    r2 : float
        1 − MSE / variance of the target, averaged over the outputs that vary; NaN if none does.
    """

    n_rows: int
    mse: float
    rmse: float
    mae: float
    r2: float

    @classmethod
    def of(cls, y: ArrayLike, predictions: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Return the scores of predictions of y, both of shape (N,) or (N, c)."""
        Y, P = _columns(y), _columns(predictions)
        if Y.shape != P.shape:
            raise ValueError(f"y and predictions must have the same shape; got {Y.shape} and {P.shape}.")
        if len(Y) == 0:
            raise ValueError("Scores need at least one row; got none.")
        w = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        residuals = P - Y
        mse = np.average(residuals**2, axis=0, weights=w)
        variance = np.average((Y - np.average(Y, axis=0, weights=w)) ** 2, axis=0, weights=w)
        varies = variance > 0
        r2 = float(np.mean(1 - mse[varies] / variance[varies])) if varies.any() else np.nan
        return cls(
            n_rows=len(Y),
            mse=float(mse.mean()),
            rmse=float(np.sqrt(mse.mean())),
            mae=float(np.average(np.abs(residuals), axis=0, weights=w).mean()),
            r2=r2,
        )


def _columns(values: ArrayLike) -> NDArray:
    array = np.asarray(values, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array
