"""The rows as a gated program sees them: sums and products at fixed gates, formed or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anmin.rows.arrays import ArrayRows
from anmin.rows.gated import through
from anmin.rows.patterns import Pattern
from anmin.rows.products import seconds_of_products
from anmin.rows.sums import gates_of, seconds_by_pairs, seconds_by_product

#: Most unknowns of a system that is formed.
MOST_FORMED = 8000
_WIDEST_BLOCKS = 64  # inputs with which the blocks of the gates are formed, or else their diagonals
_BLOCK_ROWS = 1024
_ENTRY = 4e-10  # seconds for an entry of a matrix in a product with a vector


@dataclass(frozen=True, eq=False)
class GatedDesign:
    """Rows and gates g_j: the design has the columns 1[x̃_iᵀg_j > 0] x̃_i of gate after gate, p each.

    Attributes
    ----------
    rows : ArrayRows
    gates : ndarray of shape (p, P)
    intercept : bool
        Whether there is an output bias b0, with a ridge penalty, which is always solved out.
    """

    rows: ArrayRows
    gates: NDArray
    intercept: bool = True
    _formed: dict[str, tuple[NDArray, NDArray]] = field(default_factory=dict, repr=False)

    @cached_property
    def pattern(self) -> Pattern:
        """Which gates are open on which rows."""
        return self.rows.pattern(self.gates)

    @cached_property
    def Y(self) -> NDArray:
        """Targets (N, c)."""
        return self.rows.Y.astype(np.float64, copy=False)

    @cached_property
    def y_sum(self) -> NDArray:
        """Σ_i w_i y_i, (c,)."""
        w = self.rows.w
        return (self.Y if w is None else self.Y * w[:, None]).sum(axis=0)

    @cached_property
    def sums(self) -> NDArray:
        """Σ_i w_i 1[x̃_iᵀg_j > 0] x̃_i, (P, p)."""
        return self.against(np.ones((self.rows.n_rows, 1)))[:, :, 0]

    @cached_property
    def cross(self) -> NDArray:
        """Σ_i w_i 1[x̃_iᵀg_j > 0] x̃_i y_iᵀ, (P, p, c)."""
        return self.against(self.Y)

    @cached_property
    def blocks(self) -> NDArray:
        """Σ_i w_i 1[x̃_iᵀg_j > 0] x̃_i x̃_iᵀ, (P, p, p); of many inputs their diagonals alone, (P, p)."""
        rows, (p, P) = self.rows, self.gates.shape
        wide = p > _WIDEST_BLOCKS
        first, second = (np.arange(p),) * 2 if wide else np.triu_indices(p)
        found = np.zeros((P, len(first)))
        for start in range(0, rows.n_rows, _BLOCK_ROWS):
            block = slice(start, min(start + _BLOCK_ROWS, rows.n_rows))
            Xt = np.column_stack([np.ones(block.stop - start), rows.X[block]])
            Q = Xt[:, first] * Xt[:, second]
            found += gates_of(self.pattern.bits, block, P, 0.0).T @ (Q if rows.w is None else Q * rows.w[block, None])
        if wide:
            return found
        blocks = np.empty((P, p, p))
        blocks[:, first, second] = blocks[:, second, first] = found
        return blocks

    def shrink(self, alpha: float) -> float:
        """Return 1/(n(1 + alpha)), by which b0 is the sum of what it has to make up for; 0 without b0."""
        return 1 / (self.rows.n * (1 + alpha)) if self.intercept else 0.0

    def against(self, T: NDArray) -> NDArray:
        """Return Σ_i w_i 1[x̃_iᵀg_j > 0] x̃_i T_iᵀ, (P, p, c) for T (N, c)."""
        found = through(self.rows.X, self.pattern, self.rows.w, None, T, 0.0)
        return np.ascontiguousarray(found.transpose(0, 2, 1))

    def along(self, V: NDArray) -> NDArray:
        """Return Σ_j 1[x̃_iᵀg_j > 0] x̃_iᵀV_j, (N, c) for V (P, p, c)."""
        used = np.flatnonzero(np.any(V, axis=(1, 2)))
        T = np.zeros((self.rows.n_rows, V.shape[2]))
        if used.size:
            turned = np.ascontiguousarray(V[used].transpose(0, 2, 1))
            through(self.rows.X, self.pattern.of_neurons(used), None, turned, T, 0.0)
        return T

    def linear(self, index: NDArray, alpha: float) -> NDArray:
        """Return C (m, p, c) of the gates of these numbers: −½ times the gradient of the squared error at zero."""
        return (self.cross[index] - self.shrink(alpha) * self.sums[index][:, :, None] * self.y_sum) / self.rows.n

    def formed(self, index: NDArray, alpha: float) -> NDArray:
        """Return H (m·p, m·p) of the gates of these numbers; sums of a set that has them are used again."""
        known, U = self._formed.get("sums", (np.empty(0, dtype=int), np.empty((0, 0))))
        p, m = len(self.gates), len(index)
        if not np.isin(index, known).all():
            known, U = index, self.rows.statistics(self.gates[:, index]).U.reshape(m * p, m * p)
            self._formed["sums"] = (known, U)
        if len(known) > m:
            at = (np.searchsorted(known, index)[:, None] * p + np.arange(p)).ravel()
            U = U[np.ix_(at, at)]
        s = self.sums[index].ravel()
        return (U - self.shrink(alpha) * np.outer(s, s)) / self.rows.n if self.intercept else U / self.rows.n

    def knows(self, index: NDArray) -> bool:
        """Whether :meth:`formed` has the sums of these gates already."""
        return "sums" in self._formed and bool(np.isin(index, self._formed["sums"][0]).all())

    def seconds_to_form(self, n_gates: int) -> float:
        """Return about how long :meth:`formed` takes, infinity where it takes too much memory."""
        n, p = self.rows.n_rows, len(self.gates)
        if n_gates * p > MOST_FORMED:
            return np.inf
        return min(seconds_by_pairs(n, p, n_gates), seconds_by_product(n, p, n_gates))

    def seconds_of_product(self, n_gates: int) -> float:
        """Return about how long a product by the rows takes."""
        return seconds_of_products(self.rows.n_features, n_gates, self.rows.n_outputs, self.rows.n_rows)

    def rows_are_quicker(self, n_gates: int) -> bool:
        """Whether products by the rows are quicker than with H."""
        return self.seconds_of_product(n_gates) < _ENTRY * (n_gates * len(self.gates)) ** 2


@dataclass(frozen=True, eq=False)
class RowQuadratic:
    """H and C of the gates of these numbers, b0 solved out, by way of the rows."""

    design: GatedDesign
    index: NDArray
    alpha: float

    @cached_property
    def pattern(self) -> Pattern:
        """Which of the gates are open on which rows."""
        return self.design.pattern.of_neurons(self.index)

    @cached_property
    def C(self) -> NDArray:
        """C (m, p, c)."""
        return self.design.linear(self.index, self.alpha)

    @cached_property
    def blocks(self) -> NDArray:
        """The diagonal blocks of H, (m, p, p), or their diagonals (m, p)."""
        s, blocks = self.design.sums[self.index], self.design.blocks[self.index]
        outer = s * s if blocks.ndim == 2 else s[:, :, None] * s[:, None, :]
        return (blocks - self.design.shrink(self.alpha) * outer) / self.design.rows.n

    def product(self, V: NDArray) -> NDArray:
        """Return HV (m, p, c)."""
        rows, s = self.design.rows, self.design.sums[self.index]
        T = np.zeros((rows.n_rows, V.shape[2]))
        found = through(rows.X, self.pattern, rows.w, np.ascontiguousarray(V.transpose(0, 2, 1)), T, 0.0)
        mean = self.design.shrink(self.alpha) * np.einsum("jp,jpc->c", s, V)
        return (found.transpose(0, 2, 1) - s[:, :, None] * mean) / rows.n
