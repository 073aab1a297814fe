"""Small random problems of every shape that the solvers must handle, and slow, obvious oracles for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anmin.rows import ArrayRows


@dataclass(frozen=True)
class Case:
    """A problem by its properties; ``data()`` draws it, always the same."""

    name: str
    n_rows: int = 200
    n_features: int = 3
    n_neurons: int = 5
    n_outputs: int = 1
    weighted: bool = False
    negative_slope: float = 0.0
    singular: bool = False
    scales: tuple[float, ...] = ()

    def data(self) -> tuple[NDArray, NDArray, NDArray | None, NDArray]:
        """Return X (N, d), Y (N, c), row weights or None, and hidden weights A (p, h)."""
        rng = np.random.default_rng(sum(map(ord, self.name)))
        X = rng.standard_normal((self.n_rows, self.n_features))
        if self.singular:
            X[:, -1] = X[:, 0]
        if self.scales:
            X *= np.array(self.scales)
        Y = np.sin(X @ rng.standard_normal((self.n_features, self.n_outputs))) + 0.1 * rng.standard_normal(
            (self.n_rows, self.n_outputs)
        )
        w = rng.uniform(0.1, 3.0, self.n_rows) if self.weighted else None
        return X, Y, w, rng.standard_normal((self.n_features + 1, self.n_neurons))

    def rows(self, **options: int) -> ArrayRows:
        """Return the rows of ``data()``."""
        X, Y, w, _ = self.data()
        return ArrayRows(X, Y, w, **options)


CASES = [
    Case("long"),
    Case("wide", n_rows=15, n_features=8, n_neurons=6),
    Case("several outputs", n_outputs=3),
    Case("weighted", weighted=True),
    Case("leaky", negative_slope=0.1),
    Case("leaky, weighted, several outputs", negative_slope=0.1, weighted=True, n_outputs=3),
    Case("wide, weighted, leaky, several outputs", 12, 7, 6, 3, True, 0.1),
    Case("singular", singular=True),
    Case("badly scaled", scales=(1e-3, 1.0, 1e3)),
    Case("one input", n_features=1),
    Case("one neuron", n_neurons=1),
]


def gates(X: NDArray, A: NDArray, negative_slope: float) -> NDArray:
    """Return G, entry by entry from its definition."""
    return np.array([[1.0 if np.dot(np.r_[1.0, x], a) > 0 else negative_slope for a in A.T] for x in X]).reshape(
        len(X), A.shape[1]
    )


def design(X: NDArray, G: NDArray, B: NDArray) -> NDArray:
    """Return Φ of shape (N·c, h·p): row (i, k), block j = b_jk G_ij x̃_i (the paper's frozen-pattern design)."""
    Xt = np.column_stack([np.ones(len(X)), X])
    return np.einsum("jk,ij,ip->ikjp", B, G, Xt).reshape(len(X) * B.shape[1], -1)


def dense_loss(
    X: NDArray, Y: NDArray, w: NDArray | None, A: NDArray, B: NDArray, b0: NDArray, negative_slope: float, alpha: float
) -> float:
    """Return the loss from its definition, row by row."""
    w = np.ones(len(X)) if w is None else w
    Z = np.column_stack([np.ones(len(X)), X]) @ A
    predictions = np.where(Z > 0, Z, negative_slope * Z) @ B + b0
    errors = np.sum((predictions - Y) ** 2, axis=1)
    return float(w @ errors / w.sum() + alpha * (np.sum(A**2) + np.sum(B**2) + np.sum(b0**2)))
