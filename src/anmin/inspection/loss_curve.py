"""The loss over a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from anmin.history import History
from anmin.inspection.plotting import ACCENT, MUTED, new_axes, readable_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Quantity = Literal["loss", "mse", "validation_mse"]
_MOST_MARKED = 60  # iterations; more would run into one thick line
Against = Literal["iteration", "seconds"]

_LABELS = {
    "loss": "loss",
    "mse": "mean squared error",
    "validation_mse": "mean squared error on held-out rows",
    "iteration": "iteration",
    "seconds": "seconds",
}


class LossCurveDisplay:
    """The loss, or a mean squared error, after each iteration, on a logarithmic scale.

    Use :meth:`from_estimator` or :meth:`from_history`.

    Parameters
    ----------
    history : History
        Records of a fit.

    Attributes
    ----------
    ax_, figure_, line_
        What :meth:`plot` drew on, and the curve.
    """

    ax_: Axes
    figure_: Any
    line_: Any

    def __init__(self, history: History) -> None:
        if len(history) == 0:
            raise ValueError("A loss curve needs a history of at least one record; got none.")
        self.history = history

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, quantity: Quantity = "loss", against: Against = "iteration", ax: Axes | None = None
    ) -> Self:
        """Draw the curve of a fitted estimator; see :meth:`plot`."""
        return cls(estimator.history_).plot(ax, quantity=quantity, against=against)

    @classmethod
    def from_history(
        cls, history: History, *, quantity: Quantity = "loss", against: Against = "iteration", ax: Axes | None = None
    ) -> Self:
        """Draw the curve of a history; see :meth:`plot`."""
        return cls(history).plot(ax, quantity=quantity, against=against)

    def plot(
        self, ax: Axes | None = None, *, quantity: Quantity = "loss", against: Against = "iteration", **line: Any
    ) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib axes, optional
            By default those of a new figure.
        quantity : {"loss", "mse", "validation_mse"}, default "loss"
            The mean squared errors are in squared units of y.
        against : {"iteration", "seconds"}, default "iteration"
        **line
            Passed on to ``ax.plot``.

        Returns
        -------
        self
        """
        for name, value in (("quantity", quantity), ("against", against)):
            allowed = ("iteration", "seconds") if name == "against" else ("loss", "mse", "validation_mse")
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")
        x, y = self.history[against], self._positive(quantity)
        if ax is None:
            ax = new_axes()[0]
        marker = "o" if len(self.history) <= _MOST_MARKED else ""
        style: dict[str, Any] = {"color": ACCENT, "linewidth": 1.8, "marker": marker, "markersize": 3.2} | line
        (self.line_,) = ax.plot(x, y, **style)
        if (y > 0).any():
            best = int(np.nanargmin(y))
            ax.axhline(y[best], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
            # At the upper right, where a falling curve leaves room.
            ax.text(
                1.0,
                1.0,
                f"least: {y[best]:.4g}",
                transform=ax.transAxes,
                ha="right",
                va="top",
                color=MUTED,
                fontsize="small",
            )
            ax.set_yscale("log")
            readable_ticks(ax, y)
        if against == "iteration":
            ax.locator_params(axis="x", integer=True)
        ax.set_xlabel(_LABELS[against])
        ax.set_ylabel(_LABELS[quantity])
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", alpha=0.25, linewidth=0.6)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _positive(self, quantity: str) -> NDArray:
        # A logarithmic scale has no place for a loss of 0 (a perfect fit without penalty) or for NaN; where there is
        # nothing else, the scale stays linear and shows it.
        y = self.history[quantity].astype(np.float64)
        return np.where(y > 0, y, np.nan) if (y > 0).any() else y
