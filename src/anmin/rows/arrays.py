"""Rows in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import comb
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.blas import product
from anmin.rows.cells import SECONDS_TO_GROUP, grouped
from anmin.rows.increments import MOST_UPDATES, seconds_by_updates, updated
from anmin.rows.patterns import Pattern, n_words
from anmin.rows.products import PatternProducts, seconds_of_products
from anmin.rows.sums import (
    Sums,
    seconds_by_pairs,
    seconds_by_product,
    seconds_of_light_pass,
    sums_by_product,
    sums_of_cells,
    sums_of_rows,
)
from anmin.statistics import OutputStatistics, PatternStatistics
from anmin.threads import in_threads

_BLOCK_BYTES = 2**20  # of a block of rows × neurons, which a core's cache holds
_STRANDS = 16
_FLIPS_EXPECTED = 0.01  # of the entries of the pattern, in a step
Passes = Literal["auto", "product", "pairs", "cells", "updates"]


class Block(NamedTuple):
    """Some rows in float64: x̃ with its constant (n, p), targets (n, c), square roots of weights (n,) or None."""

    Xt: NDArray
    Y: NDArray
    root_w: NDArray | None


class Found(NamedTuple):
    """What a light pass leaves for a heavy one at the same hidden weights: the pattern, and with cells all the sums."""

    pattern: Pattern
    statistics: PatternStatistics | None = None


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted means and standard deviations (divisor Σ w) of the columns, and the largest absolute value of each."""

    mean: NDArray
    deviation: NDArray
    largest: NDArray


class ArrayRows:
    """Rows held in NumPy arrays.

    All sums are float64, in a fixed order, whatever the type of the rows.

    Parameters
    ----------
    X : array of shape (N, d)
        Inputs, float32 or float64 (anything else becomes float64). They are not copied if they are such an array in C
        order.
    y : array of shape (N,) or (N, c)
        Targets.
    sample_weight : array of shape (N,), optional
        Non-negative row weights; a row of weight 0 counts as absent.
    block_rows : int, optional
        Rows visited at a time; by default as many as the cache holds. The sums do not depend on it beyond rounding.
    passes : {"auto", "product", "pairs", "cells", "updates"}, default "auto"
        How the sums of the heavy pass are made: by products of matrices, which is plain and dear; by pairs of neurons;
        from the cells of equal pattern; by updates of earlier sums where there are any. "auto" takes the cheapest.

    Raises
    ------
    ValueError
        If the shapes disagree, there is no row of positive weight, or a value is NaN or infinite.
    """

    #: Whether passes are cheap, and single rows may be asked for.
    in_memory = True

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        block_rows: int | None = None,
        passes: Passes = "auto",
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
        if passes not in get_args(Passes):
            raise ValueError(f"passes must be one of {', '.join(map(repr, get_args(Passes)))}; got {passes!r}.")
        w = None if sample_weight is None else check_weights(sample_weight, len(X))
        if w is not None and not w.all():
            X, Y, w = X[w > 0], Y[w > 0], w[w > 0]
        if len(X) == 0:
            raise ValueError("There must be at least one row; got none.")
        self.X, self.Y, self.w = X, Y, w
        self.block_rows, self.passes = block_rows, passes
        self.n = float(len(X)) if w is None else float(w.sum())

    @property
    def device(self) -> str | None:
        """Where the passes are made, and dense systems factored; None for the processor."""
        return None

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
        self,
        A: NDArray,
        negative_slope: float = 0.0,
        since: PatternStatistics | None = None,
        tried: OutputStatistics | None = None,
    ) -> PatternStatistics:
        """Return the frozen-pattern sums at hidden weights A (p, h): the heavy pass.

        They are made in the way that is cheapest (see ``passes``); all ways agree to rounding. Given statistics of the
        same rows and slope ``since`` earlier, their number of differing entries is in ``flips``, and only those are
        visited where that is cheaper; after some tens of such updates the sums are made afresh. Given the output-layer
        sums ``tried`` at the same A, from a light pass over these rows, what that found out is not found out again.
        """
        pattern, statistics = self._found(A, tried)
        earlier = None if since is None else since.pattern
        if not isinstance(earlier, Pattern) or (earlier.n_neurons, len(earlier.bits)) != (A.shape[1], self.n_rows):
            earlier = None
        flips = 0 if earlier is None else pattern.flips(earlier)
        if statistics is not None:
            return replace(statistics, flips=flips)
        if since is not None and earlier is not None and self._updates_pay(earlier, flips, *A.shape):
            sums = updated(since, self.X, self.Y, self._weights, pattern, negative_slope)
            pattern = replace(pattern, updates=earlier.updates + 1, n_cells=earlier.n_cells)
            return self._of_sums(sums, pattern, flips=flips)
        return self._fresh_statistics(pattern, negative_slope, earlier, flips, *A.shape)

    def products(
        self,
        A: NDArray,
        negative_slope: float = 0.0,
        since: PatternProducts | None = None,
        tried: OutputStatistics | None = None,
    ) -> PatternProducts:
        """Return the products at the pattern of hidden weights A (p, h), which take no heavy pass.

        ``since`` and ``tried`` are as for :meth:`statistics`.
        """
        return PatternProducts.at(self, A, negative_slope, since, tried)

    def pattern(self, A: NDArray, tried: OutputStatistics | None = None) -> Pattern:
        """Return the pattern at hidden weights A (p, h); ``tried`` may be output-layer sums of these rows at A."""
        return self._found(A, tried).pattern

    def _found(self, A: NDArray, tried: OutputStatistics | None) -> Found:
        found = None if tried is None else tried.pattern
        if isinstance(found, Found) and found.pattern.bits.shape == (self.n_rows, n_words(A.shape[1])):
            return found
        return Found(self._pattern(A))

    def _pattern(self, A: NDArray) -> Pattern:
        from anmin.rows.kernels import set_pattern

        h = A.shape[1]
        bits = np.empty((self.n_rows, n_words(h)), dtype=np.uint64)
        weights = np.array(A)

        def task(part: int, parts: int) -> None:
            cuts = np.linspace(0, self.n_rows, parts + 1).astype(int)
            set_pattern(self.X, weights, cuts[part], cuts[part + 1], bits)

        in_threads(task, operations=float(self.n_rows) * A.size)
        return Pattern(bits, h)

    def _updates_pay(self, earlier: Pattern, flips: int, p: int, h: int) -> bool:
        if earlier.updates >= MOST_UPDATES:
            return False
        if self.passes != "auto":
            return self.passes == "updates"
        n_cells = self.n_rows if earlier.n_cells is None else earlier.n_cells
        return seconds_by_updates(self.n_rows, flips, p, h) < min(
            self._seconds_by_rows(p, h), self._seconds_by_cells(n_cells, p, h)
        )

    def seconds_of_statistics(self, n_neurons: int) -> float:
        """Return about how long a heavy pass takes on one core, with the most cells that there can be."""
        d, h = self.n_features, n_neurons
        most = sum(comb(h, k) for k in range(min(d, h, 4) + 1)) if d <= 4 else self.n_rows
        return min(self._seconds_by_rows(d + 1, h), self._seconds_by_cells(min(most, self.n_rows), d + 1, h))

    def seconds_of_products(self, n_neurons: int) -> float:
        """Return about how long one product with the Jacobian takes on one core."""
        return seconds_of_products(self.n_features, n_neurons, self.n_outputs, self.n_rows)

    def _seconds_by_rows(self, p: int, h: int) -> float:
        return min(seconds_by_pairs(self.n_rows, p, h), seconds_by_product(self.n_rows, p, h))

    def _seconds_by_cells(self, n_cells: int, p: int, h: int) -> float:
        return self.n_rows * SECONDS_TO_GROUP + seconds_by_pairs(n_cells, p, h)

    def _cells_pay(self, n_cells: int | None, p: int, h: int) -> bool:
        """Return whether the sums are best made from so many cells; None if the number is not known."""
        if self.passes != "auto":
            return self.passes == "cells"
        return n_cells is not None and self._seconds_by_cells(n_cells, p, h) < self._seconds_by_rows(p, h)

    def _cells_pay_at_once(self, n_cells: int | None, p: int, h: int) -> bool:
        """Return whether a heavy pass by way of cells is cheaper than a light one with an update after it."""
        if not self._cells_pay(n_cells, p, h):
            return False
        light = seconds_of_light_pass(self.n_rows, p, h)
        update = seconds_by_updates(self.n_rows, round(_FLIPS_EXPECTED * self.n_rows * h), p, h)
        return self.passes == "cells" or self._seconds_by_cells(n_cells or 0, p, h) < light + update

    def _fresh_statistics(
        self, pattern: Pattern, negative_slope: float, earlier: Pattern | None, flips: int, p: int, h: int
    ) -> PatternStatistics:
        """Return the sums made afresh; ``earlier`` tells about how many cells there will be."""
        known = None if earlier is None else earlier.n_cells
        if self._cells_pay(1 if known is None else known, p, h):
            most = self.n_rows // 2 if self.passes == "auto" else self.n_rows
            cells = grouped(self.X, self.Y, self._weights, pattern.bits, most)
            pattern = replace(pattern, n_cells=self.n_rows if cells is None else len(cells))
            if cells is not None and self._cells_pay(len(cells), p, h):
                return self._of_sums(sums_of_cells(cells, p, h, negative_slope), pattern, cells.active(h), flips)
        else:
            pattern = replace(pattern, n_cells=known)
        cheaper = "pairs" if seconds_by_pairs(self.n_rows, p, h) < seconds_by_product(self.n_rows, p, h) else "product"
        way = self.passes if self.passes in ("pairs", "product") else cheaper
        make = self._pair_sums if way == "pairs" else self._product_sums
        return self._of_sums(make(pattern, negative_slope), pattern, flips=flips)

    def _pair_sums(self, pattern: Pattern, negative_slope: float) -> Sums:
        X, Y, w, h = self.X, self.Y, self._weights, pattern.n_neurons
        return sums_of_rows(X, Y, w, pattern.bits, h, negative_slope, self.block_rows)

    def _product_sums(self, pattern: Pattern, negative_slope: float) -> Sums:
        X, Y, w, h = self.X, self.Y, self._weights, pattern.n_neurons
        return sums_by_product(X, Y, w, pattern.bits, h, negative_slope, self.block_rows)

    def _of_sums(
        self, sums: Sums, pattern: Pattern, active: NDArray | None = None, flips: int = 0
    ) -> PatternStatistics:
        active = pattern.active() if active is None else active
        return PatternStatistics(**sums._asdict(), active=active, flips=flips, pattern=pattern, **self._totals)

    def output_statistics(
        self, A: NDArray, negative_slope: float = 0.0, since: PatternStatistics | None = None
    ) -> OutputStatistics:
        """Return the output-layer sums at hidden weights A (p, h): the light pass, N·h·(p + h/2 + c) multiplications.

        Statistics of the same rows, ``since`` earlier, tell whether it is best made by way of cells.
        """
        earlier = None if since is None else since.pattern
        if isinstance(earlier, Pattern) and self._cells_pay_at_once(earlier.n_cells, *A.shape):
            statistics = self._fresh_statistics(self._pattern(A), negative_slope, earlier, 0, *A.shape)
            return replace(statistics.output(A), pattern=Found(statistics.pattern, statistics))
        gram, rest, bits = self._activation_sums(np.array(A), negative_slope)
        c = self.n_outputs
        pattern = Found(Pattern(bits, A.shape[1]))
        return OutputStatistics(gram, rest[:, c].copy(), rest[:, :c].copy(), **self._totals, pattern=pattern)

    def _activation_sums(self, A: NDArray, negative_slope: float) -> tuple[NDArray, NDArray, NDArray]:
        """Return Sᵀ W S (h, h), Sᵀ W [Y, 1] (h, c + 1), and the bits of the pattern."""
        from anmin.rows.kernels import set_activations

        h, w, Y1 = A.shape[1], self._weights, self._weighted_targets
        bits = np.empty((self.n_rows, n_words(h)), dtype=np.uint64)
        step = self.block_rows or max(256, _BLOCK_BYTES // (8 * max(1, h)))
        # Each strand of rows has sums of its own, so that they do not depend on the number of threads.
        strands = max(1, min(_STRANDS, self.n_rows // (2 * step)))
        cuts = np.linspace(0, self.n_rows, strands + 1).astype(int)
        gram, rest = np.zeros((strands, h, h)), np.zeros((strands, h, self.n_outputs + 1))

        def task(part: int, parts: int) -> None:
            S = np.empty((step, h))
            for strand in range(part, strands, parts):
                for start in range(cuts[strand], cuts[strand + 1], step):
                    stop = min(start + step, cuts[strand + 1])
                    block = S[: stop - start]
                    set_activations(self.X, w, A, negative_slope, start, stop, bits, block)
                    gram[strand] += block.T @ block
                    rest[strand] += block.T @ Y1[start:stop]

        in_threads(task, operations=float(self.n_rows) * h * (h / 2 + A.shape[0]))
        return gram.sum(axis=0), rest.sum(axis=0), bits

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
        return moments_of(self.X, self.w), moments_of(self.Y, self.w)

    def subset(self, index: NDArray) -> ArrayRows:
        """Return the rows of these indices, with their weights."""
        w = None if self.w is None else self.w[index]
        return type(self)(self.X[index], self.Y[index], w, **self._options)

    def reweighted(self, Y: NDArray, w: NDArray) -> ArrayRows:
        """Return rows of the same inputs with other targets (N, c) and weights (N,), finite and positive, in float64.

        Nothing is checked, and the inputs are shared.
        """
        other = object.__new__(type(self))
        kept = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        other.__dict__.update(kept | {"Y": Y, "w": w, "n": float(w.sum())})
        return other

    def on(self, device: Any) -> ArrayRows:
        """Return these rows as :class:`anmin.rows.TorchRows` on a device, or on several."""
        from anmin.rows.torch import TorchRows

        return TorchRows(self.X, self.Y, self.w, device=device, block_rows=self.block_rows)

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
        return type(self)(X, Y, self.w, **self._options)

    @cached_property
    def _totals(self) -> dict:
        Y = self.Y.astype(np.float64, copy=False)
        wY = Y if self.w is None else Y * self.w[:, None]
        return {"n": self.n, "y_sum": wY.sum(axis=0), "y_square": np.einsum("ic,ic->c", wY, Y)}

    @property
    def _options(self) -> dict[str, Any]:
        return {"block_rows": self.block_rows, "passes": self.passes}

    @cached_property
    def _weighted_targets(self) -> NDArray:
        """Square roots of the weights times [Y, 1], float64 (N, c + 1)."""
        Y1 = np.column_stack([self.Y, np.ones(self.n_rows)])
        return Y1 if self.w is None else Y1 * np.sqrt(self.w[:, None])

    @property
    def _weights(self) -> NDArray:
        """The row weights, or none, as the compiled loops take them."""
        return np.empty(0) if self.w is None else self.w

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
    array = np.asarray(values, order="C")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    bad = np.count_nonzero(~np.isfinite(array))
    if bad:
        raise ValueError(f"{name} must be finite; {bad} of its {array.size} values are NaN or infinite.")
    return array


def moments_of(values: NDArray, w: NDArray | None) -> Moments:
    """Return the moments of columns (n, k), with weights (n,) or none."""
    # Columns are divided by their largest entry first, so that squares of very large or small values stay in range.
    largest = np.abs(values).max(axis=0).astype(np.float64)
    unit = np.where(largest > 0, largest, 1.0)
    scaled = values / unit
    mean = np.average(scaled, axis=0, weights=w)
    deviation = np.sqrt(np.average((scaled - mean) ** 2, axis=0, weights=w))
    return Moments(mean * unit, deviation * unit, largest)
