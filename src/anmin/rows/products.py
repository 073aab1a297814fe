"""Products with the Jacobian of a frozen activation pattern, straight from the rows, for systems too large to form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from anmin.blas import product
from anmin.rows.gated import MOST_COLUMNS, through
from anmin.rows.patterns import Pattern, n_words
from anmin.rows.sums import ADDITION, MULTIPLICATION, gated, gates_of
from anmin.statistics import OutputStatistics
from anmin.threads import in_threads, n_threads

if TYPE_CHECKING:
    from anmin.rows.arrays import ArrayRows

#: Entries of a block of rows × neurons: what a core's cache holds.
BLOCK_ENTRIES = 2**18
#: Most bytes of the activations of all rows that are kept between products; more are computed afresh in each.
KEPT_BYTES = 2**28
#: Least rows, if there are so many, from which it is seen how often two neurons are active together.
GATE_ROWS = 4096
#: Sums of shape (p, h) that are made side by side, so that they do not depend on the number of threads.
STRANDS = 8


class _Block(NamedTuple):
    """Some rows: their place among all, inputs (n, d) in float64, activations (n, h)."""

    place: slice
    X: NDArray
    S: NDArray


@dataclass(frozen=True, eq=False)
class PatternProducts:
    """Rows at a frozen pattern, as an operator: what :class:`anmin.statistics.PatternStatistics` holds, not formed.

    With the gates G_ij = 1 where x̃_iᵀ a_j > 0 and ``negative_slope`` elsewhere, S = G ∘ (X̃A) and S₁ = [S, 1], the
    Jacobian of the outputs along hidden weights D (p, h) and output weights E (h + 1, c) is

        J(D, E) = (G ∘ (X̃D)) B + S₁ E        (N, c)

    and :meth:`forward` and :meth:`backward` are products with it and with its transpose. With few inputs and outputs
    they are made by way of the codes of eight neurons (:mod:`anmin.rows.gated`), N·h·p·c/2 additions for each pair of
    the two; else rows are visited in blocks: 2·N·h·(p + c) multiplications, where the activations S are kept, or twice
    as many.

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
        S, where it is of use and takes at most ``KEPT_BYTES``.
    """

    rows: ArrayRows
    A: NDArray
    negative_slope: float
    sums: OutputStatistics
    active: NDArray
    flips: int
    pattern: Pattern = field(repr=False)
    kept: NDArray | None = field(default=None, repr=False)

    @classmethod
    def at(
        cls,
        rows: ArrayRows,
        A: NDArray,
        negative_slope: float = 0.0,
        since: PatternProducts | None = None,
        tried: OutputStatistics | None = None,
    ) -> Self:
        """Return the products at the pattern of hidden weights A (p, h).

        The entries that differ from those of ``since``, earlier products of the same rows, are counted in ``flips``.
        ``tried`` may be the output-layer sums at A, if a light pass has found them already.
        """
        sums = rows.output_statistics(A, negative_slope) if tried is None else tried
        pattern = rows.pattern(A, sums)
        comparable = since is not None and since.pattern.bits.shape == pattern.bits.shape
        flips = pattern.flips(since.pattern) if since is not None and comparable else 0
        products = cls(rows, A, negative_slope, sums, pattern.active(), flips, pattern)
        return replace(products, kept=products._activations()) if products._keeps_activations else products

    def output(self, A: NDArray) -> OutputStatistics:
        """Return the output-layer sums at weights whose columns are those of ``self.A`` times positive factors."""
        t = self._factors(A)
        sums = self.sums
        return replace(sums, gram=sums.gram * t[:, None] * t, sums=sums.sums * t, cross=sums.cross * t[:, None])

    def of_neurons(self, index: NDArray) -> Self:
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
        rows, (h, c) = self.rows, B.shape
        if self._by_codes:
            T = np.zeros((rows.n_rows, c))
            sums = through(rows.X, self.pattern, rows.w, D.T[:, None, :] * B[:, :, None], T, self.negative_slope)
            return T, np.vstack([np.einsum("jkp,pj->jk", sums, A), self._weighted(T).sum(axis=0)])
        T = np.empty((rows.n_rows, c))

        def visit(block: _Block) -> NDArray:
            T[block.place] = product(self._gated(_along(block.X, D), block), B)
            weighted = self._weighted(T[block.place], block.place)
            return np.vstack([product(block.S.T, weighted), weighted.sum(axis=0)])

        overlap = self._over_blocks(visit)
        overlap[:h] *= self._factors(A)[:, None]
        return T, overlap

    def backward(self, T: NDArray, B: NDArray, E: NDArray, A: NDArray) -> NDArray:
        """Return X̃ᵀ W (G ∘ ((T + S₁E) Bᵀ)) (p, h), the transpose of the hidden layer's Jacobian applied to T + S₁E.

        T is (N, c), B (h, c), E (h + 1, c), with the activations of A, which is as for :meth:`output`.
        """
        rows = self.rows
        if self._by_codes:
            V = A.T[:, None, :] * E[:-1, :, None]
            sums = through(rows.X, self.pattern, rows.w, V, T + E[-1], self.negative_slope)
            return np.einsum("jkp,jk->pj", sums, B)
        E_neurons = E[:-1] * self._factors(A)[:, None]

        def visit(block: _Block) -> NDArray:
            R = T[block.place] + product(block.S, E_neurons)
            R += E[-1]
            return _against(block.X, self._gated(product(self._weighted(R, block.place), B.T), block))

        return self._over_blocks(visit)

    @cached_property
    def squares(self) -> NDArray:
        """Σ_i w_i G_ij² x̃_ip², shape (p, h): the diagonals of the blocks U_jj."""
        rows, ones = self.rows, np.ones((self.rows.n_rows, 1))
        if self._by_codes:
            X = rows.X.astype(np.float64) ** 2
            return through(X, self.pattern, rows.w, None, ones, self.negative_slope**2)[:, 0].T
        weights = self._weighted(ones)

        def visit(block: _Block) -> NDArray:
            G = np.repeat(weights[block.place], len(self.active), axis=1)
            return _against(block.X**2, gated(G, self.pattern.bits, block.place, self.negative_slope**2))

        return self._over_blocks(visit, activations=False)

    @cached_property
    def gates(self) -> NDArray:
        """Σ_i w_i G_ij G_il over Σ_i w_i, shape (h, h), of some thousand rows evenly spaced."""
        spaced = slice(None, None, max(1, self.rows.n_rows // GATE_ROWS))
        bits = self.pattern.bits[spaced]
        G = gates_of(bits, slice(0, len(bits)), len(self.active), self.negative_slope)
        if self.rows.w is None:
            return product(G.T, G) / len(G)
        w = self.rows.w[spaced]
        return product((G * w[:, None]).T, G) / w.sum()

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

    @property
    def _by_codes(self) -> bool:
        return by_codes(self.rows.n_features, self.rows.n_outputs)

    @property
    def _keeps_activations(self) -> bool:
        rows = self.rows
        return _kept_bytes(rows.n_features, self.A.shape[1], rows.n_outputs, rows.n_rows) > 0

    def _gated(self, Z: NDArray, block: _Block) -> NDArray:
        return gated(Z, self.pattern.bits, block.place, self.negative_slope)

    def _weighted(self, R: NDArray, place: slice = slice(None)) -> NDArray:
        return R if self.rows.w is None else R * self.rows.w[place, None]

    def _activations(self) -> NDArray:
        S = np.empty((self.rows.n_rows, self.A.shape[1]))

        def visit(block: _Block) -> NDArray:
            S[block.place] = block.S
            return np.zeros(0)

        self._over_blocks(visit)
        return S

    def _over_blocks(self, visit: Callable[[_Block], NDArray], *, activations: bool = True) -> NDArray:
        """Return the sum of what ``visit`` returns for blocks of rows, in an order that their number alone decides."""
        rows, h = self.rows, self.A.shape[1]
        step = rows.block_rows or max(256, BLOCK_ENTRIES // h)
        places = [slice(start, min(start + step, rows.n_rows)) for start in range(0, rows.n_rows, step)]
        strands = min(STRANDS, len(places))
        totals = [np.zeros(0)] * strands

        def task(part: int, parts: int) -> None:
            for strand in range(part, strands, parts):
                for number, place in enumerate(places[strand::strands]):
                    X = rows.X[place].astype(np.float64, copy=False)
                    S = np.empty((0, h)) if self.kept is None else self.kept[place]
                    if self.kept is None and activations:
                        S = gated(_along(X, self.A), self.pattern.bits, place, self.negative_slope)
                    found = visit(_Block(place, X, S))
                    totals[strand] = totals[strand] + found if number else found

        in_threads(task, operations=float(rows.n_rows) * h * (rows.n_features + 1))
        return sum(totals[1:], start=totals[0])


def by_codes(n_features: int, n_outputs: int) -> bool:
    """Return whether products are best made by way of the codes of eight neurons (:mod:`anmin.rows.gated`)."""
    return (n_features + 1) * n_outputs <= MOST_COLUMNS


def seconds_of_products(n_features: int, n_neurons: int, n_outputs: int, n_rows: int) -> float:
    """Return about how long :meth:`PatternProducts.forward` or :meth:`PatternProducts.backward` takes on one core."""
    p, h, c = n_features + 1, n_neurons, n_outputs
    if by_codes(n_features, c):
        return 2 * n_rows * -(-h // 8) * c * p * 2 * ADDITION
    return n_rows * h * (2 * (p + c) * MULTIPLICATION + 3 * ADDITION)


def products_bytes(n_features: int, n_neurons: int, n_outputs: int, n_rows: int) -> int:
    """Return the bytes of what a :class:`PatternProducts` holds: the pattern, the output-layer sums, activations."""
    pattern = 8 * n_rows * n_words(n_neurons)
    return pattern + 8 * n_neurons**2 + _kept_bytes(n_features, n_neurons, n_outputs, n_rows)


def working_bytes(n_features: int, n_neurons: int, n_outputs: int, n_rows: int) -> int:
    """Return the bytes that its products take while they are made."""
    p, h, c = n_features + 1, n_neurons, n_outputs
    if by_codes(n_features, c):
        return 8 * (n_rows * (p + 2 * c) + 2 * 32 * h * c * p)
    block = n_threads() * min(n_rows, max(256, BLOCK_ENTRIES // h)) * (3 * p + 4 * h)
    return 8 * (block + 2 * STRANDS * p * h + n_rows * c)


def _kept_bytes(n_features: int, n_neurons: int, n_outputs: int, n_rows: int) -> int:
    size = 8 * n_rows * n_neurons
    return size if size <= KEPT_BYTES and not by_codes(n_features, n_outputs) else 0


def _along(X: NDArray, A: NDArray) -> NDArray:
    """Return X̃A without a copy of the rows for their constant."""
    Z = product(X, A[1:])
    Z += A[0]
    return Z


def _against(X: NDArray, R: NDArray) -> NDArray:
    """Return X̃ᵀR."""
    return np.vstack([R.sum(axis=0), product(X.T, R)])
