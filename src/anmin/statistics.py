"""Sums over rows that stand for the rows.

With the activation pattern frozen, G_ij = 1 where x̃_iᵀ a_j > 0 and ``negative_slope`` elsewhere, the loss is quadratic,
with the sums below as coefficients. Sums of disjoint sets of rows add, and a part can be taken away again, so rows in
memory, in files or on several machines differ only in how they add up the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from anmin import objective


@dataclass(frozen=True, eq=False)
class _Sums:
    """Every field but the pattern is a sum over rows, so merging is field-wise addition."""

    def merge(self, other: Self) -> Self:
        """Return the statistics of both sets of rows together."""
        return self._combine(other, 1)

    def subtract(self, other: Self) -> Self:
        """Return the statistics of these rows without those of ``other``, a part of them."""
        return self._combine(other, -1)

    def _combine(self, other: Self, sign: int) -> Self:
        if type(other) is not type(self):
            raise TypeError(f"Only {type(self).__name__} can be combined with it; got {type(other).__name__}.")
        combined: dict[str, Any] = {}
        for part in fields(self):
            if part.name == "pattern":
                continue  # belongs to the rows that made it
            mine, theirs = getattr(self, part.name), getattr(other, part.name)
            if np.shape(mine) != np.shape(theirs):
                raise ValueError(
                    f"Statistics can be combined only for equal numbers of neurons, inputs and outputs; "
                    f"got {part.name} of shape {np.shape(mine)} and {np.shape(theirs)}."
                )
            combined[part.name] = mine + sign * theirs
        return type(self)(**combined)


@dataclass(frozen=True, eq=False)
class OutputStatistics(_Sums):
    """What the output layer and the loss need of the rows at hidden weights A, with S = σ(X̃ A).

    Attributes
    ----------
    gram : ndarray of shape (h, h)
        Sᵀ W S.
    sums : ndarray of shape (h,)
        Sᵀ w.
    cross : ndarray of shape (h, c)
        Sᵀ W Y, in units of y.
    n : float
        Sum of the row weights.
    y_sum, y_square : ndarray of shape (c,)
        Σ w y and Σ w y² (element-wise), in units of y and their squares.
    pattern : object, optional
        What the rows found out of the pattern on the way, for a heavy pass at the same hidden weights; for them alone
        to read.
    """

    gram: NDArray
    sums: NDArray
    cross: NDArray
    n: float
    y_sum: NDArray
    y_square: NDArray
    pattern: Any = field(default=None, repr=False)

    def sse(self, B: NDArray, b0: NDArray) -> NDArray:
        """Return Σ_i w_i (f(x_i) − y_i)² for each output, shape (c,), for output weights B (h, c) and bias b0 (c,).

        The value is a difference of sums, so its absolute error is about 1e-16 of Σ w y²; it is never negative.
        """
        fitted_square = np.sum(B * (self.gram @ B), axis=0) + 2 * b0 * (self.sums @ B) + self.n * b0**2
        fitted_cross = np.sum(B * self.cross, axis=0) + b0 * self.y_sum
        return np.maximum(self.y_square - 2 * fitted_cross + fitted_square, 0.0)

    def loss(self, A: NDArray, B: NDArray, b0: NDArray, alpha: float) -> float:
        """Return the loss (see :mod:`anmin.objective`) of the network (A, B, b0) on these rows."""
        return objective.loss(float(self.sse(B, b0).sum()), self.n, alpha, A, B, b0)


@dataclass(frozen=True, eq=False)
class PatternStatistics(_Sums):
    """All that a solve at a frozen activation pattern needs of the rows (Barbu, arXiv 2304.02972, Eq. 9).

    Attributes
    ----------
    U : ndarray of shape (h, p, h, p)
        U[j, :, l, :] = Σ_i w_i G_ij G_il x̃_i x̃_iᵀ. As a matrix of shape (h·p, h·p) it is symmetric.
    V : ndarray of shape (h, p, c)
        V[j] = Σ_i w_i G_ij x̃_i y_iᵀ, in units of y.
    s : ndarray of shape (h, p)
        s[j] = Σ_i w_i G_ij x̃_i.
    n : float
        Sum of the row weights.
    y_sum, y_square : ndarray of shape (c,)
        Σ w y and Σ w y² (element-wise).
    active : ndarray of shape (h,), integer
        Number of rows on which each neuron is active, x̃_iᵀ a_j > 0.
    flips : int
        Number of (row, neuron) entries whose activity differs from that of the earlier statistics, 0 where none were
        given.
    pattern : object, optional
        What the rows need to know of the pattern to bring these sums up to date at other hidden weights; for them
        alone to read. Combined statistics have none.
    """

    U: NDArray
    V: NDArray
    s: NDArray
    n: float
    y_sum: NDArray
    y_square: NDArray
    active: NDArray
    flips: int
    pattern: Any = field(default=None, repr=False)

    def of_neurons(self, index: NDArray) -> PatternStatistics:
        """Return the sums of the neurons of these numbers alone."""
        everything = np.arange(self.U.shape[1])
        return replace(
            self,
            U=self.U[np.ix_(index, everything, index, everything)],
            V=self.V[index],
            s=self.s[index],
            active=self.active[index],
            flips=0,
            pattern=None if self.pattern is None else self.pattern.of_neurons(index),
        )

    def scaled(self, factors: NDArray) -> PatternStatistics:
        """Return the sums of the same rows with their inputs multiplied by ``factors`` (d,), at the same pattern.

        It is that of the hidden weights divided by these factors, which must be positive.
        """
        f = np.concatenate([[1.0], factors])
        return replace(self, U=self.U * f[:, None, None] * f, V=self.V * f[:, None], s=self.s * f)

    def output(self, A: NDArray) -> OutputStatistics:
        """Return the output-layer sums of hidden weights A (p, h) at this pattern, without visiting the rows.

        gram[j, l] = a_jᵀ U_jl a_l,   sums[j] = a_jᵀ s_j,   cross[j] = a_jᵀ V_j. They equal those of a pass over the
        rows if A has this pattern; otherwise they belong to the frozen-pattern model (G ∗ X̃A) B + b0.
        """
        UA = np.einsum("jplq,ql->jpl", self.U, A)
        return OutputStatistics(
            gram=np.einsum("pj,jpl->jl", A, UA),
            sums=np.einsum("pj,jp->j", A, self.s),
            cross=np.einsum("pj,jpc->jc", A, self.V),
            n=self.n,
            y_sum=self.y_sum,
            y_square=self.y_square,
        )
