"""What bytes buy: the error of networks against their size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from anmin.inspection.arguments import checked_inputs, checked_targets
from anmin.inspection.plotting import ACCENT, MUTED, new_axes, readable_ticks
from anmin.inspection.scores import Scores
from anmin.network import ReLUNetwork

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ErrorSizeDisplay:
    """Root mean squared error of networks on test rows against the bytes of their weights, both logarithmic.

    The numbers beside the points are those of the neurons; the step line is the least error of at most so many bytes.
    Use :meth:`from_estimators` or :meth:`from_networks`.

    Parameters
    ----------
    n_bytes, errors : arrays of shape (m,)
        Positive; errors in units of y.
    n_neurons : array of shape (m,), optional

    Attributes
    ----------
    n_bytes, errors, n_neurons : ndarrays of shape (m,)
        Ascending by bytes.
    ax_, figure_
        What :meth:`plot` drew on.

    Raises
    ------
    ValueError
        If there is no network, or the arrays differ in shape or are not positive.
    """

    ax_: Axes
    figure_: Any

    def __init__(self, n_bytes: ArrayLike, errors: ArrayLike, n_neurons: ArrayLike | None = None) -> None:
        size, error = np.asarray(n_bytes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
        if size.ndim != 1 or size.shape != error.shape or not len(size) or not ((size > 0) & (error > 0)).all():
            raise ValueError(f"n_bytes and errors must be positive, one for each network; got {size} and {error}.")
        order = np.lexsort((error, size))
        self.n_bytes, self.errors = size[order], error[order]
        self.n_neurons = None if n_neurons is None else np.asarray(n_neurons)[order]

    @classmethod
    def from_estimators(cls, estimators: Iterable[Any], X: ArrayLike, y: ArrayLike, **options: Any) -> Self:
        """Draw fitted estimators; see :meth:`from_networks`."""
        return cls.from_networks([estimator.network_ for estimator in estimators], X, y, **options)

    @classmethod
    def from_networks(
        cls,
        networks: Iterable[ReLUNetwork],
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw networks of the same inputs and outputs by their error on rows X (N, d) with targets y."""
        found = []
        for network in networks:
            inputs = checked_inputs(network, X)
            scores = Scores.of(checked_targets(network, y, len(inputs)), network.predict(inputs), sample_weight)
            found.append((network.n_bytes, scores.rmse, network.n_neurons))
        n_bytes, errors, neurons = zip(*found, strict=True) if found else ((), (), ())
        return cls(n_bytes, errors, neurons).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the networks on ``ax``, by default on new axes, and return the display."""
        ax = new_axes(width=5.2)[0] if ax is None else ax
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        least = np.minimum.accumulate(self.errors)
        ax.step(self.n_bytes, least, where="post", color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        ax.plot(self.n_bytes, self.errors, "o", color=ACCENT, markersize=5)
        if self.n_neurons is not None:
            for x, y, neurons in zip(self.n_bytes, self.errors, self.n_neurons, strict=True):
                ax.annotate(str(neurons), (x, y), (4, 4), textcoords="offset points", fontsize="small")
        ax.set(xscale="log", yscale="log", xlabel="bytes of the weights", ylabel="RMSE on the test rows")
        ax.margins(x=0.08, y=0.12)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        readable_ticks(ax, self.errors)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25, linewidth=0.6)
        self.ax_, self.figure_ = ax, ax.figure
        return self
