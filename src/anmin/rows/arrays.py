"""Rows in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg.blas import dsyrk

from anmin.blas import product
from anmin.network import activation
from anmin.rows.increments import MOST_UPDATES, UPDATES_PAY_BELOW, Block, Pattern, updated
from anmin.statistics import OutputStatistics, PatternStatistics

_BLOCK_BYTES = 2**21  # of the N-block × h·p matrix that BLAS multiplies with itself: what a core's cache holds


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted means and standard deviations (divisor Σ w) of the columns, and the largest absolute value of each."""

    mean: NDArray
    deviation: NDArray
    largest: NDArray


class ArrayRows:
    """Rows held in NumPy arrays.

    Parameters
    ----------
    X : array of shape (N, d)
        Inputs, float32 or float64 (anything else becomes float64). They are not copied if they are such an array.
    y : array of shape (N,) or (N, c)
        Targets.
    sample_weight : array of shape (N,), optional
        Non-negative row weights; a row of weight 0 counts as absent.
    block_rows : int, optional
        Rows visited at a time; by default as many as the cache holds. The sums do not depend on it beyond rounding.

    All sums are float64, in a fixed order, whatever the type of the rows.

    Raises
    ------
    ValueError
        If the shapes disagree, there is no row of positive weight, or a value is NaN or infinite.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        block_rows: int | None = None,
    ) -> None:
        X, Y = _floats("X", X), _floats("y", y)
        if Y.ndim == 1:
            Y = Y[:, None]
        if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
            raise ValueError(
                f"X must have shape (rows, inputs) and y (rows,) or (rows, outputs) with as many rows; "
                f"got {X.shape} and {np.shape(y)}."
            )
        if block_rows is not None and block_rows < 1:
            raise ValueError(f"block_rows must be at least 1; got {block_rows}.")
        w = None if sample_weight is None else check_weights(sample_weight, len(X))
        if w is not None and not w.all():
            X, Y, w = X[w > 0], Y[w > 0], w[w > 0]
        if len(X) == 0:
            raise ValueError("There must be at least one row; got none.")
        self.X, self.Y, self.w = X, Y, w
        self.block_rows = block_rows
        self.n = float(len(X)) if w is None else float(w.sum())

    @property
    def n_rows(self) -> int:
        """Number of rows of positive weight."""
        return self.X.shape[0]

    @property
    def n_features(self) -> int:
        """Number of inputs, d."""
        return self.X.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of outputs, c."""
        return self.Y.shape[1]

    def statistics(
        self, A: NDArray, negative_slope: float = 0.0, since: PatternStatistics | None = None
    ) -> PatternStatistics:
        """Return the frozen-pattern sums at hidden weights A (p, h): the heavy pass, N·(h·p)² multiplications.

        Given statistics of the same rows and slope ``since`` then, only the entries of the pattern that differ from
        theirs are visited where that is cheaper, with h·p² multiplications each, and their number is in ``flips``.
        The sums are then equal to rounding: they are made afresh after some tens of updates.
        """
        earlier = None if since is None else since.pattern
        if not isinstance(earlier, Pattern) or earlier.on.shape != (self.n_rows, A.shape[1]):
            return self._fresh_statistics(A, negative_slope)
        assert since is not None
        on = self._pattern(A)
        differs = on != earlier.on
        flips = int(np.count_nonzero(differs))
        if earlier.updates >= MOST_UPDATES or flips > UPDATES_PAY_BELOW * on.size:
            return replace(self._fresh_statistics(A, negative_slope, on), flips=flips)
        return updated(since, self._flipped, on, differs, negative_slope)

    def _flipped(self, index: NDArray) -> Block:
        """Return the rows of these indices as a block."""
        Xt = np.empty((len(index), self.n_features + 1))
        Xt[:, 0] = 1.0
        Xt[:, 1:] = self.X[index]
        root_w = None if self.w is None else np.sqrt(self.w[index])
        return Block(Xt, self.Y[index].astype(np.float64, copy=False), root_w)

    def _pattern(self, A: NDArray) -> NDArray:
        """Return which neurons are active on which rows, booleans (N, h)."""
        on = np.empty((self.n_rows, A.shape[1]), dtype=bool)
        start = 0
        for Xt, _, _ in self._blocks(max(256, _BLOCK_BYTES // (8 * max(1, A.shape[1])))):
            np.greater(product(Xt, A), 0, out=on[start : start + len(Xt)])
            start += len(Xt)
        return on

    def _fresh_statistics(self, A: NDArray, negative_slope: float, known: NDArray | None = None) -> PatternStatistics:
        """Return the sums from all rows; their pattern (N, h) may be known."""
        p, h = A.shape
        k, c = h * p, self.n_outputs
        step = self.block_rows or max(256, _BLOCK_BYTES // (8 * k), k // 8)
        step = min(step, self.n_rows)
        # BLAS fills the upper triangle of a Fortran-ordered matrix, which is the lower one of its transpose, U.
        U = np.zeros((k, k), order="F")
        VsT = np.zeros((c + 1, k))
        on = np.empty((self.n_rows, h), dtype=bool) if known is None else known
        buffer = np.empty((step, h, p))
        start = 0
        for Xt, Y, root_w in self._blocks(step):
            block = on[start : start + len(Xt)]
            if known is None:
                np.greater(product(Xt, A), 0, out=block)
            start += len(Xt)
            G = np.where(block, 1.0, negative_slope)
            Y1 = np.column_stack([Y, np.ones(len(Y))])
            if root_w is not None:
                G *= root_w[:, None]
                Y1 *= root_w[:, None]
            Phi = buffer[: len(Xt)]
            np.multiply(G[:, :, None], Xt[:, None, :], out=Phi)
            Phi = Phi.reshape(len(Xt), k)
            U = dsyrk(1.0, Phi.T, beta=1.0, c=U, overwrite_c=True)
            VsT += product(Y1.T, Phi)
        return PatternStatistics(
            U=_mirrored(U).reshape(h, p, h, p),
            V=np.ascontiguousarray(VsT[:c].T).reshape(h, p, c),
            s=VsT[c].reshape(h, p),
            active=np.count_nonzero(on, axis=0),
            flips=0,
            pattern=Pattern(on),
            **self._totals(),
        )

    def output_statistics(self, A: NDArray, negative_slope: float = 0.0) -> OutputStatistics:
        """Return the output-layer sums at hidden weights A (p, h): the light pass, N·h·(p + h + c) multiplications."""
        h, c = A.shape[1], self.n_outputs
        gram, rest = np.zeros((h, h)), np.zeros((h, c + 1))
        step = self.block_rows or max(256, _BLOCK_BYTES // (8 * max(1, h)))
        for Xt, Y, root_w in self._blocks(step):
            S = activation(product(Xt, A), negative_slope)
            Y1 = np.column_stack([Y, np.ones(len(Y))])
            if root_w is not None:
                S *= root_w[:, None]
                Y1 *= root_w[:, None]
            gram += product(S.T, S)
            rest += product(S.T, Y1)
        return OutputStatistics(gram=gram, sums=rest[:, c].copy(), cross=rest[:, :c].copy(), **self._totals())

    def minimum(self, A: NDArray) -> NDArray:
        """Return min_i x̃_iᵀ a_j for each column of A (p, k), shape (k,)."""
        lowest = np.full(A.shape[1], np.inf)
        for Xt, _, _ in self._blocks(max(256, _BLOCK_BYTES // (8 * max(1, A.shape[1])))):
            lowest = np.minimum(lowest, product(Xt, A).min(axis=0))
        return lowest

    def sample(self, count: int, rng: np.random.Generator) -> ArrayRows:
        """Return ``count`` of the rows, drawn without replacement, or these rows if there are no more."""
        if count >= self.n_rows:
            return self
        return self.subset(np.sort(rng.choice(self.n_rows, count, replace=False)))

    def moments(self) -> tuple[Moments, Moments]:
        """Return the column moments of X and of y."""
        return _moments(self.X, self.w), _moments(self.Y, self.w)

    def subset(self, index: NDArray) -> ArrayRows:
        """Return the rows of these indices, with their weights."""
        return ArrayRows(
            self.X[index], self.Y[index], None if self.w is None else self.w[index], block_rows=self.block_rows
        )

    def standardized(
        self,
        x_mean: NDArray,
        x_scale: NDArray,
        y_mean: NDArray,
        y_scale: NDArray,
        dtype: str | np.dtype | type = np.float64,
    ) -> ArrayRows:
        """Return new rows ((X − x_mean)/x_scale, (y − y_mean)/y_scale), computed in float64 and kept as ``dtype``."""
        X = ((self.X - x_mean) / x_scale).astype(dtype, copy=False)
        Y = ((self.Y - y_mean) / y_scale).astype(dtype, copy=False)
        return ArrayRows(X, Y, self.w, block_rows=self.block_rows)

    def _totals(self) -> dict:
        Y = self.Y.astype(np.float64, copy=False)
        wY = Y if self.w is None else Y * self.w[:, None]
        return {"n": self.n, "y_sum": wY.sum(axis=0), "y_square": np.einsum("ic,ic->c", wY, Y)}

    def _blocks(self, step: int) -> Iterator[Block]:
        Xt = np.empty((min(step, self.n_rows), self.n_features + 1))
        Xt[:, 0] = 1.0
        for start in range(0, self.n_rows, step):
            stop = min(start + step, self.n_rows)
            Xt[: stop - start, 1:] = self.X[start:stop]
            root_w = None if self.w is None else np.sqrt(self.w[start:stop])
            yield Block(Xt[: stop - start], self.Y[start:stop].astype(np.float64, copy=False), root_w)


def check_weights(sample_weight: ArrayLike, n_rows: int) -> NDArray:
    """Return row weights as float64 (N,), or raise ValueError if one is negative or not finite, or all are zero."""
    w = _floats("sample_weight", sample_weight).astype(np.float64, copy=False)
    if w.shape != (n_rows,):
        raise ValueError(f"sample_weight must have one weight for each of the {n_rows} rows; got shape {w.shape}.")
    if (w < 0).any():
        raise ValueError(f"sample_weight must not be negative; {np.count_nonzero(w < 0)} weights are.")
    if not w.any():
        raise ValueError("sample_weight must have at least one positive weight; all are zero.")
    return w


def _floats(name: str, values: ArrayLike) -> NDArray:
    array = np.asarray(values)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    bad = np.count_nonzero(~np.isfinite(array))
    if bad:
        raise ValueError(f"{name} must be finite; {bad} of its {array.size} values are NaN or infinite.")
    return array


def _moments(values: NDArray, w: NDArray | None) -> Moments:
    # Columns are divided by their largest entry first, so that squares of very large or small values stay in range.
    largest = np.abs(values).max(axis=0).astype(np.float64)
    unit = np.where(largest > 0, largest, 1.0)
    scaled = values / unit
    mean = np.average(scaled, axis=0, weights=w)
    deviation = np.sqrt(np.average((scaled - mean) ** 2, axis=0, weights=w))
    return Moments(mean * unit, deviation * unit, largest)


def _mirrored(U: NDArray) -> NDArray:
    """Complete the symmetric matrix of which BLAS filled the upper triangle, in place and in C order."""
    lower = U.T  # C-ordered view, its lower triangle filled
    step = 512
    for start in range(0, len(lower), step):
        rows = slice(start, start + step)
        lower[:start, rows] = lower[rows, :start].T
        corner = lower[rows, rows]
        corner[...] = np.tril(corner) + np.tril(corner, -1).T
    return lower
