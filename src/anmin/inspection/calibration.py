"""Whether predictions are right on average, wherever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.inspection.arguments import checked_inputs, checked_output, checked_targets, checked_weights, output_name
from anmin.inspection.plotting import ACCENT, MUTED, label, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class CalibrationDisplay:
    """Mean actual values against mean predictions, over groups of rows of equal size by their prediction.

    Calibrated predictions lie on the diagonal: of the rows that are predicted t, the mean is t. Bars are two standard
    errors of the mean to each side. Use :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    y, predictions : arrays of shape (N,)
        In units of y.
    sample_weight : array of shape (N,), optional
    n_bins : int, default 10
        Groups; fewer where rows are, or predictions differ, too few. Rows of equal prediction stay together.
    name : str, default "y"
        Of the target.

    Attributes
    ----------
    predicted, actual, error : ndarrays of shape (groups,)
        Weighted means, and the standard error of the second (NaN for a group of one row).
    counts : ndarray of shape (groups,)
        Rows of each.
    ax_, figure_
        What :meth:`plot` drew on.

    Raises
    ------
    ValueError
        If the arrays have other shapes, no rows, or numbers that are not finite, or ``n_bins`` is below 1.
    """

    ax_: Axes
    figure_: Any

    def __init__(
        self,
        y: ArrayLike,
        predictions: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_bins: int = 10,
        name: str = "y",
    ) -> None:
        Y, P = (np.asarray(values, dtype=np.float64) for values in (y, predictions))
        if Y.ndim != 1 or Y.shape != P.shape or len(Y) == 0 or not (np.isfinite(Y).all() and np.isfinite(P).all()):
            raise ValueError(
                f"y and predictions must be finite and have the same shape (rows,), with at least one row; "
                f"got {Y.shape} and {P.shape}."
            )
        if n_bins < 1:
            raise ValueError(f"n_bins must be at least 1; got {n_bins!r}.")
        w = checked_weights(sample_weight, len(Y))
        self.name = name
        groups = [group for group in _groups(P, n_bins) if w[group].any()]
        self.counts = np.array([len(group) for group in groups])
        self.predicted = np.array([np.average(P[group], weights=w[group]) for group in groups])
        self.actual = np.array([np.average(Y[group], weights=w[group]) for group in groups])
        self.error = np.array([_standard_error(Y[group], w[group]) for group in groups])

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        output: int = 0,
        n_bins: int = 10,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the calibration of a fitted estimator on rows X (N, d) with targets y; see :meth:`plot`."""
        network = estimator.network_
        X, k = checked_inputs(network, X), checked_output(network, output)
        Y, P = checked_targets(network, y, len(X))[:, k], network.predict(X)[:, k]
        options: dict[str, Any] = {"sample_weight": sample_weight, "n_bins": n_bins, "name": output_name(network, k)}
        return cls(Y, P, **options).plot(ax)

    @classmethod
    def from_predictions(cls, y: ArrayLike, predictions: ArrayLike, *, ax: Axes | None = None, **options: Any) -> Self:
        """Draw the calibration of given predictions; options are those of the class."""
        return cls(y, predictions, **options).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the groups on ``ax``, by default on new axes, and return the display."""
        ax = new_axes()[0] if ax is None else ax
        bars = 2 * np.nan_to_num(self.error)
        values = np.concatenate([self.predicted, self.actual - bars, self.actual + bars])
        margin = 0.05 * float(np.ptp(values)) or 0.5
        ends = (float(values.min()) - margin, float(values.max()) + margin)
        ax.plot(ends, ends, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        ax.errorbar(self.predicted, self.actual, bars, color=ACCENT, marker="o", markersize=4, linewidth=1.2)
        ax.set(xlim=ends, ylim=ends, xlabel=f"mean predicted {label(self.name)}")
        ax.set_ylabel(f"mean actual {label(self.name)}")
        least, most = int(self.counts.min()), int(self.counts.max())
        rows = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        ax.set_title(
            f"{len(self.counts)} group{'' if len(self.counts) == 1 else 's'} of {rows} rows", fontsize="medium"
        )
        ax.set_aspect("equal")
        ax.spines[["top", "right"]].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _groups(predictions: NDArray, n_bins: int) -> list[NDArray]:
    """Return the numbers of the rows of each group, ascending by prediction."""
    order = np.argsort(predictions, kind="stable")
    ordered = predictions[order]
    ends = np.linspace(0, len(order), min(n_bins, len(order)) + 1).round().astype(np.int64)[1:-1]
    # An end moves to where the prediction changes, before or after, whichever is nearer.
    before, after = (np.searchsorted(ordered, ordered[ends], side=side) for side in ("left", "right"))
    ends = np.unique(np.where(ends - before <= after - ends, before, after))
    return [group for group in np.split(order, ends) if len(group)]


def _standard_error(y: NDArray, w: NDArray) -> float:
    """Return the standard error of a weighted mean, for an effective number of rows (Σw)²/Σw²; NaN for one row."""
    effective = w.sum() ** 2 / np.sum(w**2)
    if effective <= 1 + 1e-9:
        return np.nan
    variance = np.average((y - np.average(y, weights=w)) ** 2, weights=w)
    return float(np.sqrt(variance / (effective - 1)))
