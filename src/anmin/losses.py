"""What a network may be fitted by besides the squared error: losses of rows, and quadratics that stand for them.

The loss of a fit is (1/n) Σ_i w_i ℓ(y_i, f(x_i)) + alpha·‖θ‖². Near the predictions F of a network each ℓ is stood for
by

    ℓ(y_i, F_i) + g_iᵀ(f − F_i) + ½ h_i ‖f − F_i‖²

with one curvature h_i for all outputs of a row, so that the sums of a weighted least-squares fit, to the targets
F − g/h with the weights w·h, are all that a step needs (:mod:`anmin.search.reweighted`). For the Huber loss and the
quantile losses the quadratic lies above the loss, so that lowering one lowers the other; the others have the loss's own
curvature, but never less than moves a prediction by 4. These others are likelihoods, which have slopes
besides for a method that needs no quadratics (:mod:`anmin.search.quasi_newton`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, softmax

_FURTHEST = 4.0  # a prediction of a logarithm of odds, or of a rate, that a quadratic may ask for
_EFFICIENT, _MEDIAN_OF_NORMAL = 1.345, 0.6745  # as efficient as 95 % of least squares where the noise is normal
_LEAST_CURVATURE = 1e-8  # of a row, of the largest


class Loss(Protocol):
    """A loss of predictions F (n, c) at targets Y (n, c)."""

    @property
    def kinked(self) -> bool:
        """Whether it has kinks, which are rounded by a width that shrinks as the fit goes on."""
        ...

    @property
    def in_units(self) -> bool:
        """Whether predictions are in the units of the targets, which may then be shifted and scaled."""
        ...

    @property
    def dispersion(self) -> float | None:
        """Factor of the mean loss that estimates φ where ℓ/φ is minus a logarithm of a likelihood; None if φ is 1."""
        ...

    def values(self, F: NDArray, Y: NDArray) -> NDArray:
        """Return the loss of each row, shape (n,), summed over the outputs."""
        ...

    def quadratic(self, F: NDArray, Y: NDArray, width: float) -> tuple[NDArray, NDArray]:
        """Return the gradient g (n, c) and the curvature h (n,), with kinks rounded by ``width``, in units of Y."""
        ...

    def information(self, F: NDArray, Y: NDArray, width: float) -> NDArray:
        """Return the mean of the eigenvalues of each row's curvature (c, c), shape (n,): what the rows tell."""
        ...

    def mean(self, F: NDArray) -> NDArray:
        """Return what the predictions mean in units of the targets, shape (n, c)."""
        ...

    def constant(self, Y: NDArray, w: NDArray) -> NDArray:
        """Return the best constant prediction (c,), for weights w (n,)."""
        ...


class Likelihood(Loss, Protocol):
    """Minus the logarithm of a probability whose natural parameter is predicted, so that ∂ℓ/∂f = mean(f) − y."""

    def slopes(self, F: NDArray, Y: NDArray) -> tuple[NDArray, NDArray]:
        """Return the loss (n,) and the gradient (n, c) of each row; both may overflow to infinity."""
        ...


@dataclass(frozen=True)
class Quantile:
    """The pinball loss Σ_k max(q·r_k, (q − 1)·r_k), r = y − f, which the q-quantile minimises; times ``scale``.

    Its quadratic is that of Hunter & Lange (Quantile regression via an MM algorithm, 2000), h = 1/(2(ε + |r|)), with
    the ``width`` for ε; that of a row is the largest of its outputs.
    """

    quantile: float = 0.5
    scale: float = 1.0

    kinked: ClassVar[bool] = True
    in_units: ClassVar[bool] = True
    dispersion: ClassVar[float | None] = 1.0

    def values(self, F: NDArray, Y: NDArray) -> NDArray:
        """Return the loss of each row, shape (n,)."""
        r = Y - F
        return self.scale * np.maximum(self.quantile * r, (self.quantile - 1) * r).sum(axis=1)

    def quadratic(self, F: NDArray, Y: NDArray, width: float) -> tuple[NDArray, NDArray]:
        """Return the gradient (n, c) and the curvature (n,)."""
        r = Y - F
        size = np.abs(r) + max(width, np.finfo(np.float64).tiny)
        g = -self.scale * (r / size + 2 * self.quantile - 1) / 2
        return g, self.scale / (2 * size.min(axis=1))

    def information(self, F: NDArray, Y: NDArray, width: float) -> NDArray:
        """Return the mean over the outputs of the curvature of the quadratics, shape (n,)."""
        size = np.abs(Y - F) + max(width, np.finfo(np.float64).tiny)
        return (self.scale / (2 * size)).mean(axis=1)

    def mean(self, F: NDArray) -> NDArray:
        """Return the predictions themselves."""
        return F

    def constant(self, Y: NDArray, w: NDArray) -> NDArray:
        """Return the quantile of each column."""
        return np.array([_weighted_quantile(y, w, self.quantile) for y in Y.T])


@dataclass(frozen=True)
class Huber:
    """Σ_k r_k²/2 where |r_k| <= delta, delta·(|r_k| − delta/2) beyond, r = y − f (Huber 1964).

    ``delta`` is in the coordinates solved in; None takes 1.345 deviations, these estimated by the median of the |r| of
    a network fitted by the absolute error. The curvature is min(1, delta/|r|).
    """

    delta: float | None = None

    kinked: ClassVar[bool] = False
    in_units: ClassVar[bool] = True
    dispersion: ClassVar[float | None] = 2.0

    def of_residuals(self, r: NDArray, w: NDArray | None) -> Huber:
        """Return the loss with its ``delta``, if it has none from residuals r (n, c) with weights w (n,)."""
        if self.delta is not None:
            return self
        weights = np.repeat(np.ones(len(r)) if w is None else w, r.shape[1])
        median = _weighted_quantile(np.abs(r).ravel(), weights, 0.5)
        return Huber(max(_EFFICIENT * median / _MEDIAN_OF_NORMAL, np.finfo(np.float64).tiny))

    def values(self, F: NDArray, Y: NDArray) -> NDArray:
        """Return the loss of each row, shape (n,)."""
        size, delta = np.abs(Y - F), self.delta or 0.0
        return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).sum(axis=1)

    def quadratic(self, F: NDArray, Y: NDArray, width: float) -> tuple[NDArray, NDArray]:
        """Return the gradient (n, c) and the curvature (n,)."""
        r, delta = Y - F, self.delta or 0.0
        h = delta / np.maximum(np.abs(r), delta)
        return -h * r, h.max(axis=1)

    def information(self, F: NDArray, Y: NDArray, width: float) -> NDArray:
        """Return the mean over the outputs of the curvature of the quadratics, shape (n,)."""
        delta = self.delta or 0.0
        return (delta / np.maximum(np.abs(Y - F), delta)).mean(axis=1)

    def mean(self, F: NDArray) -> NDArray:
        """Return the predictions themselves."""
        return F

    def constant(self, Y: NDArray, w: NDArray) -> NDArray:
        """Return the median of each column."""
        return np.array([_weighted_quantile(y, w, 0.5) for y in Y.T])


@dataclass(frozen=True)
class Poisson:
    """Σ_k exp(f_k) − y_k f_k: minus the logarithm of the Poisson probability of counts y with rates exp(f)."""

    kinked: ClassVar[bool] = False
    in_units: ClassVar[bool] = False
    dispersion: ClassVar[float | None] = None

    def values(self, F: NDArray, Y: NDArray) -> NDArray:
        """Return the loss of each row, shape (n,)."""
        with np.errstate(over="ignore"):
            return (np.exp(F) - Y * F).sum(axis=1)

    def quadratic(self, F: NDArray, Y: NDArray, width: float) -> tuple[NDArray, NDArray]:
        """Return the gradient (n, c) and the curvature (n,)."""
        rates = np.exp(np.minimum(F, 700.0))
        g = rates - Y
        return g, _curvature(rates.max(axis=1), g)

    def slopes(self, F: NDArray, Y: NDArray) -> tuple[NDArray, NDArray]:
        """Return the loss (n,) and the gradient (n, c)."""
        with np.errstate(over="ignore"):
            rates = np.exp(F)
        return (rates - Y * F).sum(axis=1), rates - Y

    def information(self, F: NDArray, Y: NDArray, width: float) -> NDArray:
        """Return the mean of the rates, shape (n,)."""
        return self.mean(F).mean(axis=1)

    def mean(self, F: NDArray) -> NDArray:
        """Return the rates."""
        return np.exp(np.minimum(F, 700.0))

    def constant(self, Y: NDArray, w: NDArray) -> NDArray:
        """Return the logarithm of the mean of each column."""
        return np.log(np.maximum(np.average(Y, axis=0, weights=w), 1e-6))


@dataclass(frozen=True)
class Logistic:
    """log(1 + exp(f)) − y·f of one output: minus the logarithm of the probability of y in {0, 1} with log odds f."""

    kinked: ClassVar[bool] = False
    in_units: ClassVar[bool] = False
    dispersion: ClassVar[float | None] = None

    def values(self, F: NDArray, Y: NDArray) -> NDArray:
        """Return the loss of each row, shape (n,)."""
        return (np.logaddexp(0.0, F) - Y * F).sum(axis=1)

    def quadratic(self, F: NDArray, Y: NDArray, width: float) -> tuple[NDArray, NDArray]:
        """Return the gradient (n, c) and the curvature (n,)."""
        p = expit(F)
        g = p - Y
        return g, _curvature((p * (1 - p)).max(axis=1), g)

    def slopes(self, F: NDArray, Y: NDArray) -> tuple[NDArray, NDArray]:
        """Return the loss (n,) and the gradient (n, c)."""
        return self.values(F, Y), expit(F) - Y

    def information(self, F: NDArray, Y: NDArray, width: float) -> NDArray:
        """Return p(1 − p), shape (n,)."""
        p = expit(F)
        return (p * (1 - p)).mean(axis=1)

    def mean(self, F: NDArray) -> NDArray:
        """Return the probabilities of 1."""
        return expit(F)

    def constant(self, Y: NDArray, w: NDArray) -> NDArray:
        """Return the log odds of the mean."""
        mean = np.clip(np.average(Y, axis=0, weights=w), 1e-6, 1 - 1e-6)
        return np.log(mean / (1 - mean))


@dataclass(frozen=True)
class Softmax:
    """log Σ_k exp(f_k) − Σ_k y_k f_k: minus the logarithm of the probability of a class, y its indicator.

    The curvature is a bound of the largest eigenvalue of diag(p) − ppᵀ: twice the largest p_k(1 − p_k), at most a half.
    """

    kinked: ClassVar[bool] = False
    in_units: ClassVar[bool] = False
    dispersion: ClassVar[float | None] = None

    def values(self, F: NDArray, Y: NDArray) -> NDArray:
        """Return the loss of each row, shape (n,)."""
        return logsumexp(F, axis=1) - (Y * F).sum(axis=1)

    def quadratic(self, F: NDArray, Y: NDArray, width: float) -> tuple[NDArray, NDArray]:
        """Return the gradient (n, c) and the curvature (n,)."""
        p = softmax(F, axis=1)
        g = p - Y
        return g, _curvature(np.minimum(0.5, 2 * (p * (1 - p)).max(axis=1)), g)

    def slopes(self, F: NDArray, Y: NDArray) -> tuple[NDArray, NDArray]:
        """Return the loss (n,) and the gradient (n, c)."""
        # Not by SciPy's functions: with one exponential for both, and few checks, it takes a third of the time.
        largest = F.max(axis=1, keepdims=True)
        p = np.exp(F - largest)
        total = np.einsum("ik->i", p)
        p /= total[:, None]
        p -= Y
        return np.log(total) + largest[:, 0] - np.einsum("ik,ik->i", Y, F), p

    def information(self, F: NDArray, Y: NDArray, width: float) -> NDArray:
        """Return the mean of p_k(1 − p_k), shape (n,): a tenth or so of the curvature that bounds all directions."""
        p = softmax(F, axis=1)
        return (p * (1 - p)).mean(axis=1)

    def mean(self, F: NDArray) -> NDArray:
        """Return the probabilities of the classes."""
        return softmax(F, axis=1)

    def constant(self, Y: NDArray, w: NDArray) -> NDArray:
        """Return the logarithms of the shares of the classes, of mean 0."""
        logarithms = np.log(np.maximum(np.average(Y, axis=0, weights=w), 1e-6))
        return logarithms - logarithms.mean()


def _curvature(own: NDArray, g: NDArray) -> NDArray:
    """Return the curvature of each row: its own, but enough that no prediction is to move by more than the furthest."""
    h = np.maximum(own, np.linalg.norm(g, axis=1) / _FURTHEST)
    return np.maximum(h, _LEAST_CURVATURE * h.max(initial=np.finfo(np.float64).tiny))


def _weighted_quantile(values: NDArray, w: NDArray, quantile: float) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(w[order])
    return float(values[order][min(np.searchsorted(cumulative, quantile * cumulative[-1]), len(values) - 1)])
