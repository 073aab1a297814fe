"""Products with the Jacobian of a frozen activation pattern, straight from the rows, for systems too large to form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin.blas import product
from anmin.network import activation
from anmin.rows.arrays import ArrayRows
from anmin.rows.patterns import Pattern, n_words, packed
from anmin.statistics import OutputStatistics

#: Entries of a block of rows × neurons: what a core's cache holds.
BLOCK_ENTRIES = 2**18
#: Most bytes of the activations of all rows that are kept between products; more are computed afresh in each.
KEPT_BYTES = 2**28


class _Block(NamedTuple):
    """Some rows: their place among all, inputs (n, d) in float64, activations (n, h), gates (n, h), weights or None."""

    place: slice
    X: NDArray
    S: NDArray
    G: NDArray
    w: NDArray | None


@dataclass(frozen=True, eq=False)
class PatternProducts:
    """Rows at a frozen pattern, as an operator: what :class:`anmin.statistics.PatternStatistics` holds, not formed.

    With the gates G_ij = 1 where x̃_iᵀ a_j > 0 and ``negative_slope`` elsewhere, S = G ∘ (X̃A) and S₁ = [S, 1], the
    Jacobian of the outputs along hidden weights D (p, h) and output weights E (h + 1, c) is

        J(D, E) = (G ∘ (X̃D)) B + S₁ E        (N, c)

    and :meth:`forward` and :meth:`backward` are products with it and with its transpose. Rows are visited in blocks:
    2·N·h·(p + c) multiplications for each pair of the two, where the activations S are kept, else twice as many.

    Attributes
    ----------
    rows : ArrayRows
    A : ndarray of shape (p, h)
        Hidden weights at which the pattern was taken.
    negative_slope : float
    sums : OutputStatistics
        The output-layer sums at A.
    active : ndarray of shape (h,), integer
        Number of rows on which each neuron is active.
    flips : int
        Number of (row, neuron) entries whose activity differs from that of the earlier pattern, 0 where none was given.
    pattern : Pattern
        The pattern, as bits.
    kept : ndarray of shape (N, h), optional
        S, if it takes at most ``KEPT_BYTES``.
    """

    rows: ArrayRows
    A: NDArray
    negative_slope: float
    sums: OutputStatistics
    active: NDArray
    flips: int
    pattern: Pattern = field(repr=False)
    kept: NDArray | None = field(repr=False)

    @classmethod
    def at(
        cls,
        rows: ArrayRows,
        A: NDArray,
        negative_slope: float = 0.0,
        since: PatternProducts | None = None,
        tried: OutputStatistics | None = None,
    ) -> PatternProducts:
        """Return the products at the pattern of hidden weights A (p, h).

        The entries that differ from those of ``since``, earlier products of the same rows, are counted in ``flips``.
        ``tried`` may be the output-layer sums at A, if a light pass has found them already.
        """
        N, h = rows.n_rows, A.shape[1]
        kept = np.empty((N, h)) if kept_bytes(N, h) else None
        bits = np.empty((N, n_words(h)), dtype=np.uint64)
        for place in _places(rows, h):
            S = activation(_along(_inputs(rows, place), A), negative_slope)
            bits[place] = packed(S > 0)
            if kept is not None:
                kept[place] = S
        pattern = Pattern(bits, h)
        comparable = since is not None and since.pattern.bits.shape == bits.shape
        flips = pattern.flips(since.pattern) if since is not None and comparable else 0
        sums = rows.output_statistics(A, negative_slope) if tried is None else tried
        return cls(rows, A, negative_slope, sums, pattern.active(), flips, pattern, kept)

    def output(self, A: NDArray) -> OutputStatistics:
        """Return the output-layer sums at weights whose columns are those of ``self.A`` times positive factors."""
        t = self._factors(A)
        sums = self.sums
        return replace(sums, gram=sums.gram * t[:, None] * t, sums=sums.sums * t, cross=sums.cross * t[:, None])

    def of_neurons(self, index: NDArray) -> PatternProducts:
        """Return the products of the neurons of these numbers alone."""
        sums = replace(
            self.sums,
            gram=self.sums.gram[np.ix_(index, index)],
            sums=self.sums.sums[index],
            cross=self.sums.cross[index],
        )
        return replace(
            self,
            A=self.A[:, index],
            sums=sums,
            active=self.active[index],
            flips=0,
            pattern=self.pattern.of_neurons(index),
            kept=None if self.kept is None else self.kept[:, index],
        )

    def forward(self, D: NDArray, B: NDArray, A: NDArray) -> tuple[NDArray, NDArray]:
        """Return T = (G ∘ (X̃D)) B (N, c), and S₁ᵀ W T (h + 1, c) with the activations of A.

        D is (p, h), B (h, c), and A is as for :meth:`output`.
        """
        c = B.shape[1]
        T, overlap = np.empty((self.rows.n_rows, c)), np.zeros((len(B) + 1, c))
        for block in self._blocks():
            Z = _along(block.X, D)
            Z *= block.G
            T[block.place] = product(Z, B)
            weighted = T[block.place] if block.w is None else T[block.place] * block.w[:, None]
            overlap[:-1] += product(block.S.T, weighted)
            overlap[-1] += weighted.sum(axis=0)
        overlap[:-1] *= self._factors(A)[:, None]
        return T, overlap

    def backward(self, T: NDArray, B: NDArray, E: NDArray, A: NDArray) -> NDArray:
        """Return X̃ᵀ W (G ∘ ((T + S₁E) Bᵀ)) (p, h), the transpose of the hidden layer's Jacobian applied to T + S₁E.

        T is (N, c), B (h, c), E (h + 1, c), with the activations of A, which is as for :meth:`output`.
        """
        E_neurons = E[:-1] * self._factors(A)[:, None]
        total = np.zeros_like(self.A)
        for block in self._blocks():
            R = T[block.place] + product(block.S, E_neurons)
            R += E[-1]
            if block.w is not None:
                R *= block.w[:, None]
            R = product(R, B.T)
            R *= block.G
            total[0] += R.sum(axis=0)
            total[1:] += product(block.X.T, R)
        return total

    @cached_property
    def squares(self) -> NDArray:
        """Σ_i w_i G_ij² x̃_ip², shape (p, h): the diagonals of the blocks U_jj."""
        total = np.zeros_like(self.A)
        for block in self._blocks():
            G = block.G**2
            if block.w is not None:
                G *= block.w[:, None]
            total[0] += G.sum(axis=0)
            total[1:] += product((block.X**2).T, G)
        return total

    @cached_property
    def gates(self) -> NDArray:
        """Σ_i w_i G_ij G_il / n, shape (h, h)."""
        total = np.zeros((self.A.shape[1],) * 2)
        for block in self._blocks():
            total += product(block.G.T, block.G if block.w is None else block.G * block.w[:, None])
        return total / self.rows.n

    def neuron_blocks(self, sample_rows: int) -> Iterator[NDArray]:
        """Yield U_jj (p, p) of one neuron after the other, on a sample of the rows."""
        sample = self.rows.sample(sample_rows, np.random.default_rng(0))
        Xt = np.column_stack([np.ones(sample.n_rows), sample.X])
        G = np.where(product(Xt, self.A) > 0, 1.0, self.negative_slope)
        if sample.w is not None:
            G *= np.sqrt(sample.w)[:, None]
        for g in G.T:
            Phi = Xt[g != 0] * g[g != 0, None]
            yield product(Phi.T, Phi)

    def _factors(self, A: NDArray) -> NDArray:
        """Return t (h,) with A = self.A·diag(t)."""
        if A is self.A:
            return np.ones(A.shape[1])
        largest = np.abs(self.A).argmax(axis=0)[None]
        own = np.take_along_axis(self.A, largest, axis=0)[0]
        return np.take_along_axis(A, largest, axis=0)[0] / np.where(own == 0, 1.0, own)

    def _blocks(self) -> Iterator[_Block]:
        for place in _places(self.rows, self.A.shape[1]):
            X = _inputs(self.rows, place)
            S = activation(_along(X, self.A), self.negative_slope) if self.kept is None else self.kept[place]
            G = (S > 0).astype(np.float64) if not self.negative_slope else np.where(S > 0, 1.0, self.negative_slope)
            yield _Block(place, X, S, G, None if self.rows.w is None else self.rows.w[place])


def kept_bytes(n_rows: int, n_neurons: int) -> int:
    """Return the bytes of the activations that are kept, 0 if they are too many."""
    size = 8 * n_rows * n_neurons
    return size if size <= KEPT_BYTES else 0


def _places(rows: ArrayRows, width: int) -> Iterator[slice]:
    step = rows.block_rows or max(256, BLOCK_ENTRIES // width)
    for start in range(0, rows.n_rows, step):
        yield slice(start, min(start + step, rows.n_rows))


def _inputs(rows: ArrayRows, place: slice) -> NDArray:
    return rows.X[place].astype(np.float64, copy=False)


def _along(X: NDArray, A: NDArray) -> NDArray:
    """Return X̃A without a copy of the rows for their constant."""
    Z = product(X, A[1:])
    Z += A[0]
    return Z
