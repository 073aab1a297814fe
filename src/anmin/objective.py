"""The one objective of the package, with all of its factors.

For rows ``x_i`` in R^d with ``x̃_i = (1, x_i)`` in R^p (p = d + 1), targets ``y_i`` in R^c and row weights ``w_i >= 0``
whose sum is ``n``, a network with hidden weights A (p, h), output weights B (h, c) and output bias b0 (c,) predicts

    f(x) = σ(x̃ᵀ A) B + b0,      σ(t) = max(t, 0) + s · min(t, 0),   s = negative_slope in [0, 1)

and is fitted by minimising

    L(A, B, b0) = (1/n) Σ_i w_i ‖f(x_i) − y_i‖² + alpha · (‖A‖_F² + ‖B‖_F² + ‖b0‖²)

(Barbu, arXiv 2304.02972, Eq. 1). Squared errors are summed over the outputs. Every part of the package means this
function, with these factors, by "the loss". Other conventions are converted here and nowhere else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def penalty(A: NDArray, B: NDArray, b0: NDArray) -> float:
    """Return ‖A‖_F² + ‖B‖_F² + ‖b0‖², the factor of ``alpha`` in the loss."""
    return float(np.vdot(A, A) + np.vdot(B, B) + np.vdot(b0, b0))


def loss(sse: float, n: float, alpha: float, A: NDArray, B: NDArray, b0: NDArray) -> float:
    """Return the loss of a network from its weighted sum of squared errors.

    Parameters
    ----------
    sse : float
        Σ_i w_i ‖f(x_i) − y_i‖², summed over rows and outputs, in squared units of y.
    n : float
        Sum of the row weights (the number of rows where there are none).
    alpha : float
        Penalty of the weights.
    A, B, b0 : ndarray of shape (p, h), (h, c) and (c,)
        The network's weights.
    """
    return sse / n + alpha * penalty(A, B, b0)


def alpha_from_sum(lambda_: float, n: float) -> float:
    """Convert a penalty of the unnormalised loss, Σ_i w_i ‖f(x_i) − y_i‖² + λ (‖A‖² + ‖B‖² + ‖b0‖²).

    The experiments of the paper use this form with λ = 0.001; dividing by ``n`` gives the loss above: alpha = λ / n.
    """
    return lambda_ / n


def sum_from_alpha(alpha: float, n: float) -> float:
    """Return the λ of the unnormalised loss that equals ``alpha``: λ = alpha · n (see :func:`alpha_from_sum`)."""
    return alpha * n


def alpha_from_scnn(lambda_: float, n_outputs: int = 1, column_length: float = 1.0) -> float:
    """Convert a penalty of scnn, (1/(2·n·c)) Σ_i ‖f(x_i) − y_i‖² + λ Σ_j ‖w_j‖ over the weights of all outputs.

    Times 2c that is the loss of the convex programs here, (1/n) Σ_i ‖f(x_i) − y_i‖² + 2·alpha Σ_j ‖v_j‖, without an
    output bias: alpha = c·λ. scnn makes the columns of the rows, that of ones among them, of length one unless told
    otherwise; where all have the length ``column_length`` before, √n when they are standardised, its weights are
    w_j = column_length·v_j, and alpha = c·λ·column_length. Half the gradient of the loss here, by v_j, is then
    c·column_length times the gradient of its loss.
    """
    return n_outputs * lambda_ * column_length
