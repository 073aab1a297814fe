"""Standardisation: solving in coordinates of mean 0 and deviation 1, and giving back a network of the raw ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from anmin.gated_network import GatedNetwork
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows, Moments

Network = TypeVar("Network", bound=ReLUNetwork | GatedNetwork)


@dataclass(frozen=True, eq=False)
class Scaling:
    """The affine maps x -> (x − x_mean)/x_scale and y -> (y − y_mean)/y_scale, column by column.

    Attributes
    ----------
    x_mean, x_scale : ndarray of shape (d,)
    y_mean, y_scale : ndarray of shape (c,)
        In the units of the columns; scales are positive. A constant column has scale 1.
    """

    x_mean: NDArray
    x_scale: NDArray
    y_mean: NDArray
    y_scale: NDArray

    @classmethod
    def standard(cls, rows: ArrayRows) -> Self:
        """Return the scaling to weighted mean 0 and standard deviation 1 (divisor Σ w)."""
        x, y = rows.moments()
        return cls(x.mean, _scale(x), y.mean, _scale(y))

    @classmethod
    def identity(cls, n_features: int, n_outputs: int) -> Self:
        """Return the scaling that changes nothing."""
        return cls(np.zeros(n_features), np.ones(n_features), np.zeros(n_outputs), np.ones(n_outputs))

    def emphasised(self, relevance: NDArray) -> Self:
        """Return the scaling after which input k is ``relevance[k]`` (d,) times as large."""
        return replace(self, x_scale=self.x_scale / relevance)

    def apply(self, rows: ArrayRows, dtype: str = "float64") -> ArrayRows:
        """Return the rows in scaled coordinates, kept as ``dtype``."""
        return rows.standardized(self.x_mean, self.x_scale, self.y_mean, self.y_scale, dtype)

    def fold(self, network: Network) -> Network:
        """Return the network of raw coordinates, gates too, that equals ``network`` in scaled ones."""
        gates: dict[str, Any] = {}
        if isinstance(network, GatedNetwork):
            gates["gates"] = self.fold_hidden(network.gates)
        return replace(
            network,
            A=self.fold_hidden(network.A),
            B=network.B * self.y_scale,
            b0=network.b0 * self.y_scale + self.y_mean,
            **gates,
        )

    def unfold(self, network: Network) -> Network:
        """Return the network of scaled coordinates that equals ``network`` in raw ones: the inverse of :meth:`fold`."""
        gates: dict[str, Any] = {}
        if isinstance(network, GatedNetwork):
            gates["gates"] = self.unfold_hidden(network.gates)
        return replace(
            network,
            A=self.unfold_hidden(network.A),
            B=network.B / self.y_scale,
            b0=(network.b0 - self.y_mean) / self.y_scale,
            **gates,
        )

    def fold_hidden(self, A: NDArray) -> NDArray:
        """Return the columns (p, k), biases first, that have with raw inputs the products of A with scaled ones."""
        A = A.copy()
        A[1:] /= self.x_scale[:, None]
        A[0] -= self.x_mean @ A[1:]
        return A

    def unfold_hidden(self, A: NDArray) -> NDArray:
        """Return the inverse of :meth:`fold_hidden`."""
        A = A.copy()
        A[0] += self.x_mean @ A[1:]
        A[1:] *= self.x_scale[:, None]
        return A


def _scale(moments: Moments) -> NDArray:
    # A constant column has a deviation of a few roundings of its value; scaling it to 1 would blow those up.
    constant = moments.deviation <= 32 * np.finfo(np.float64).eps * moments.largest
    # Below this, dividing the weights by the scale could overflow.
    negligible = moments.deviation < 1e-290
    return np.where(constant | negligible, 1.0, moments.deviation)
