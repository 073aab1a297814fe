"""How the prediction depends on one input, averaged over the rows: an exact piecewise linear function."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.inspection.arguments import checked_inputs, checked_output, checked_weights
from anmin.network import ReLUNetwork

_SUMMED = 1024  # numbers in a block of a cumulative sum
_DRAWN_BINS = 4000  # across the picture: less than a pixel each


class PartialDependence:
    """The mean of f(x_1, ..., t, ..., x_d) over rows, as a function of the value t of input k.

    Along input k neuron j bends at t = −z_ij / a_kj, z_ij the rest of its preactivation on row i, and is linear
    elsewhere. So the mean

        g(t) = b⁰ + Σ_j b_j Σ_i w_i σ(a_kj t + z_ij) / Σ_i w_i

    is piecewise linear, and its kinks are at most N·h. They are found and sorted; the slope and the value at 0 of each
    piece are cumulative sums of what each kink adds. Nothing is sampled.

    Parameters
    ----------
    network : ReLUNetwork
        In raw units.
    X : array of shape (N, d)
        Rows to average over.
    feature : int
        The input k, from 0.
    output : int, default 0
        Which output.
    sample_weight : array of shape (N,), optional
        Weights w of the rows.
    interval : two floats, optional
        Where the function is wanted, in units of the input; by default the range of the rows, and half a unit to each
        side of it where they all have the same value.

    Attributes
    ----------
    kinks : ndarray of shape (m,)
        Where it bends within the interval, in ascending order; several neurons or rows may share one.
    low, high : float
        The interval.

    Raises
    ------
    ValueError
        If the arrays do not fit the network, there is no such input or output, or the interval is empty.

    Notes
    -----
    Time N·h·log(N·h) and memory for the kinks within the interval.
    """

    kinks: NDArray

    def __init__(
        self,
        network: ReLUNetwork,
        X: ArrayLike,
        feature: int,
        *,
        output: int = 0,
        sample_weight: ArrayLike | None = None,
        interval: tuple[float, float] | None = None,
    ) -> None:
        X = checked_inputs(network, X)
        if not 0 <= feature < network.n_features:
            raise ValueError(f"feature must be at least 0 and below {network.n_features}; got {feature!r}.")
        self.feature, self.output = feature, checked_output(network, output)
        w = checked_weights(sample_weight, len(X))
        w = w / w.sum()
        values = X[:, feature]
        low, high = (float(values.min()), float(values.max())) if interval is None else interval
        if interval is None and low == high:
            low, high = low - 0.5, high + 0.5
        if not low < high:
            raise ValueError(f"interval must be two numbers, the first below the second; got {interval!r}.")
        self.low, self.high = float(low), float(high)
        self._add_pieces(network, X, w)

    def _add_pieces(self, network: ReLUNetwork, X: NDArray, w: NDArray) -> None:
        """Find the kinks, and the slope and the intercept at ``low`` of each piece between them."""
        k, s = self.feature + 1, network.negative_slope
        others = X.copy()
        others[:, self.feature] = self.low
        slope, intercept = 0.0, float(network.b0[self.output])
        kinks, bends, shifts = [], [], []
        for a, b in zip(network.A.T, network.B[:, self.output], strict=True):
            # Preactivations at t = low: with t counted from there no piece is extended far beyond where it holds.
            z = others @ a[1:] + a[0]
            weights = b * w
            gates = np.where((z > 0) | ((z == 0) & (a[k] > 0)), 1.0, s)
            slope += float(a[k] * np.sum(weights * gates))
            intercept += float(np.sum(weights * gates * z))
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                places = -z / a[k]
            inside = (places > 0) & (places < self.high - self.low)
            kinks.append(places[inside])
            # Past its kink the gate goes from s to 1 or back: the slope gains (1 − s)|a_kj| b_j w_i.
            jump = (1 - s) * np.sign(a[k]) * weights[inside]
            bends.append(jump * a[k])
            shifts.append(jump * z[inside])
        places = np.concatenate([*kinks, np.empty(0)])
        order = np.argsort(places, kind="stable")
        self._offsets = places[order]
        self.kinks = self.low + self._offsets
        self._slopes = _cumulative(np.concatenate([[slope], np.concatenate([*bends, np.empty(0)])[order]]))
        self._intercepts = _cumulative(np.concatenate([[intercept], np.concatenate([*shifts, np.empty(0)])[order]]))

    def __call__(self, t: ArrayLike) -> NDArray:
        """Return g(t), in units of y, for values t of the input within the interval, of any shape."""
        offsets = np.asarray(t, dtype=np.float64) - self.low
        piece = np.searchsorted(self._offsets, offsets, side="right")
        return self._slopes[piece] * offsets + self._intercepts[piece]

    def polyline(self) -> tuple[NDArray, NDArray]:
        """Return the points to draw: the ends and the kinks, where there are many the outermost in each pixel."""
        t = self.kinks
        if len(t) > 2 * _DRAWN_BINS:
            column = ((t - self.low) / (self.high - self.low) * _DRAWN_BINS).astype(np.int64)
            edge = np.flatnonzero(np.diff(column))
            t = t[np.unique(np.concatenate([[0], edge, edge + 1, [len(t) - 1]]))]
        t = np.concatenate([[self.low], t, [self.high]])
        return t, self(t)


def _cumulative(values: NDArray) -> NDArray:
    """Return the cumulative sums of values (m,), with an error of about 1e-13 of the largest for millions of them.

    The kinks of a neuron all change the slope by the same amount, whose rounding errors in one long sum would all have
    the same sign. Sums of blocks, added to the sums of the blocks before, make them few.
    """
    blocks = -(-len(values) // _SUMMED)
    padded = np.zeros((blocks, _SUMMED))
    padded.ravel()[: len(values)] = values
    before = np.concatenate([[0.0], np.cumsum(padded.sum(axis=1))[:-1]])
    return (np.cumsum(padded, axis=1) + before[:, None]).ravel()[: len(values)]
