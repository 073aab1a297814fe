"""Pictures of the exact partial dependence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.inspection.arguments import checked_inputs, input_names, output_name
from anmin.inspection.partial_dependence import PartialDependence
from anmin.inspection.plotting import ACCENT, MUTED, label, new_axes
from anmin.network import ReLUNetwork, check_relu

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        check_relu(estimator.network_, "Partial dependence")
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
