"""Predictions beside targets, and what is left between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from anmin.inspection.plotting import ACCENT, MUTED, label, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS = 2000  # above this many, points hide each other, and counts are drawn instead


class ResidualsDisplay:
    """Predicted against actual values, and a histogram of the residuals (predicted − actual).

    Use :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    y, predictions : arrays of shape (N,)
        In units of y; several outputs are drawn one at a time.
    name : str, default "y"
        Name of the target, for the axes.

    Attributes
    ----------
    axes_, figure_
        What :meth:`plot` drew on.
    """

    axes_: list[Axes]
    figure_: Any

    def __init__(self, y: ArrayLike, predictions: ArrayLike, *, name: str = "y") -> None:
        self.y, self.predictions = (np.asarray(values, dtype=np.float64) for values in (y, predictions))
        if self.y.ndim != 1 or self.y.shape != self.predictions.shape or len(self.y) == 0:
            raise ValueError(
                f"y and predictions must have the same shape (rows,), with at least one row; "
                f"got {self.y.shape} and {self.predictions.shape}."
            )
        self.name = name
        self._label = label(name)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, y: ArrayLike, *, output: int = 0, ax: Sequence[Axes] | None = None
    ) -> Self:
        """Draw the predictions of a fitted estimator for rows X (N, d) with targets y; see :meth:`plot`."""
        names = estimator.network_.output_names
        y = np.asarray(y, dtype=np.float64)
        targets, predictions = (
            values.reshape(len(y), -1)[:, output] for values in (y, np.asarray(estimator.predict(X)))
        )
        return cls(targets, predictions, name="y" if names is None else names[output]).plot(ax)

    @classmethod
    def from_predictions(
        cls, y: ArrayLike, predictions: ArrayLike, *, name: str = "y", ax: Sequence[Axes] | None = None
    ) -> Self:
        """Draw given predictions; see :meth:`plot`."""
        return cls(y, predictions, name=name).plot(ax)

    def plot(self, ax: Sequence[Axes] | None = None) -> Self:
        """Draw both panels.

        Parameters
        ----------
        ax : sequence of two matplotlib axes, optional
            By default new ones.

        Returns
        -------
        self
        """
        axes = new_axes(2) if ax is None else list(ax)
        if len(axes) != 2:
            raise ValueError(f"ax must hold two axes; got {len(axes)}.")
        self._draw_predictions(axes[0])
        self._draw_histogram(axes[1])
        for each in axes:
            each.spines[["top", "right"]].set_visible(False)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def _draw_predictions(self, ax: Axes) -> None:
        low = float(min(self.y.min(), self.predictions.min()))
        high = float(max(self.y.max(), self.predictions.max()))
        margin = 0.03 * (high - low) or 0.5
        low, high = low - margin, high + margin
        if len(self.y) <= _MOST_POINTS:
            ax.scatter(self.y, self.predictions, s=14, alpha=0.55, color=ACCENT, linewidths=0, rasterized=True)
        else:
            counts = ax.hexbin(
                self.y,
                self.predictions,
                gridsize=55,
                extent=(low, high, low, high),
                bins="log",
                mincnt=1,
                cmap="viridis",
                linewidths=0.1,
                rasterized=True,
            )
            ax.figure.colorbar(counts, ax=ax, label="rows in a hexagon", shrink=0.9)
        ax.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=3)
        ax.set(xlim=(low, high), ylim=(low, high), xlabel=f"actual {self._label}", ylabel=f"predicted {self._label}")
        ax.set_aspect("equal")

    def _draw_histogram(self, ax: Axes) -> None:
        residuals = self.predictions - self.y
        # The middle 99 % and a little more: a few far-off rows would leave one bar for all the others.
        reach = 1.5 * float(np.quantile(np.abs(residuals), 0.99)) or 0.5
        inside = residuals[np.abs(residuals) <= reach]
        ax.hist(inside, bins=int(np.clip(np.sqrt(len(residuals)), 10, 60)), range=(-reach, reach), color=ACCENT)
        ax.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        beyond = len(residuals) - len(inside)
        ax.set(xlabel=f"residual of {self._label} (predicted − actual)", ylabel="rows", xlim=(-reach, reach))
        ax.locator_params(axis="x", nbins=5)  # small residuals have long labels
        if beyond:
            ax.set_title(
                f"{beyond:,} row{'s' if beyond > 1 else ''} beyond ±{reach:.3g}", fontsize="small", color=MUTED
            )
