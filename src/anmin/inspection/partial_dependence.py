"""How the prediction depends on one input, averaged over the rows: an exact piecewise linear function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.inspection.arguments import checked_inputs, checked_output, checked_weights, input_names, output_name
from anmin.inspection.plotting import ACCENT, MUTED, label, new_axes
from anmin.network import ReLUNetwork

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
        self._slopes = np.cumsum(np.concatenate([[slope], np.concatenate([*bends, np.empty(0)])[order]]))
        self._intercepts = np.cumsum(np.concatenate([[intercept], np.concatenate([*shifts, np.empty(0)])[order]]))

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


class PartialDependenceDisplay:
    """The exact partial dependence of an output on inputs, one panel for each, with one scale for all.

    Strokes at the foot mark the tenths of the rows (their deciles), and small dots the kinks where there are few. Use
    :meth:`from_estimator` or :meth:`from_network`.

    Parameters
    ----------
    curves : sequence of PartialDependence
    deciles : sequence of arrays of shape (9,)
        Of the rows, for each curve, in units of its input.
    names : sequence of str
        Names of the inputs, and last that of the output.

    Attributes
    ----------
    axes_, figure_, lines_
        What :meth:`plot` drew on, and the curves.
    """

    axes_: list[Axes]
    figure_: Any
    lines_: list[Any]

    def __init__(self, curves: list[PartialDependence], deciles: list[NDArray], names: list[str]) -> None:
        if not curves:
            raise ValueError("A partial dependence plot needs at least one input; got none.")
        self.curves, self.deciles, self.names = curves, deciles, names

    @classmethod
    def from_estimator(cls, estimator: Any, X: ArrayLike, features: Any = None, **options: Any) -> Self:
        """Draw the network of a fitted estimator; see :meth:`from_network`."""
        return cls.from_network(estimator.network_, X, features, **options)

    @classmethod
    def from_network(
        cls,
        network: ReLUNetwork,
        X: ArrayLike,
        features: Any = None,
        *,
        output: int = 0,
        sample_weight: ArrayLike | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the partial dependence on ``features``, a sequence of numbers of inputs; by default on all."""
        X = checked_inputs(network, X)
        chosen = range(network.n_features) if features is None else features
        curves = [PartialDependence(network, X, k, output=output, sample_weight=sample_weight) for k in chosen]
        deciles = [np.quantile(X[:, curve.feature], np.arange(1, 10) / 10) for curve in curves]
        inputs = input_names(network)
        names = [inputs[curve.feature] for curve in curves] + [output_name(network, output)]
        return cls(curves, deciles, names).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib axes or a sequence of one for each curve, optional
            By default new ones.

        Returns
        -------
        self
        """
        if ax is None:
            axes = new_axes(len(self.curves), width=3.6, height=3.2)
        else:
            axes = list(np.atleast_1d(np.asarray(ax, dtype=object)).ravel())
        if len(axes) != len(self.curves):
            raise ValueError(f"ax must hold one axes for each of the {len(self.curves)} inputs; got {len(axes)}.")
        drawn = [curve.polyline() for curve in self.curves]
        least, most = min(y.min() for _, y in drawn), max(y.max() for _, y in drawn)
        margin = 0.06 * (most - least) or 0.5
        self.lines_ = []
        for each, curve, (t, y), deciles, name in zip(axes, self.curves, drawn, self.deciles, self.names, strict=False):
            marker: dict[str, Any] = (
                {"marker": "o", "markersize": 2.6, "markevery": slice(1, -1)} if len(curve.kinks) <= 40 else {}
            )
            self.lines_ += each.plot(t, y, color=ACCENT, linewidth=1.6, **marker)
            each.plot(deciles, np.zeros(9), "|", color=MUTED, transform=each.get_xaxis_transform(), clip_on=False)
            each.set(xlabel=label(name), ylim=(least - margin, most + margin), xlim=(curve.low, curve.high))
            each.spines[["top", "right"]].set_visible(False)
            each.grid(axis="y", alpha=0.25, linewidth=0.6)
            each.locator_params(axis="x", nbins=5)
        axes[0].set_ylabel(f"mean predicted {label(self.names[-1])}")
        self.axes_, self.figure_ = axes, axes[0].figure
        return self
