"""How hard the systems of the hidden layer were to solve, iteration by iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anmin.history import History
from anmin.inspection.plotting import ACCENT, MUTED, readable_ticks, stacked_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_QUANTITIES = {
    "condition_number": "condition\nnumber",
    "log_determinant": "log-\ndeterminant",
    "damping": "damping",
    "pattern_changes": "pattern\nchanges",
}


class ConditioningDisplay:
    """Condition number and log-determinant of the hidden-layer system, damping, and pattern changes per iteration.

    A solver measures some of them, and the panels are those that the history has: ``solver="anmin"`` the condition
    number (logarithmic) and the log-determinant, the others the damping (logarithmic) that their systems are regular
    by. Iterations where an Anmin solve took the eigendecomposition, since the system was singular to rounding, have
    hollow points. Use :meth:`from_estimator` or :meth:`from_history`.

    Parameters
    ----------
    history : History

    Attributes
    ----------
    quantities : tuple of str
        What has a panel, from the top.
    axes_, figure_, lines_
        What :meth:`plot` drew on, and the curves by their quantities.

    Raises
    ------
    ValueError
        If the history has none of the quantities.
    """

    axes_: list[Axes]
    figure_: Any
    lines_: dict[str, Any]

    def __init__(self, history: History) -> None:
        measured = [name for name in _QUANTITIES if len(history) and np.isfinite(history[name].astype(float)).any()]
        if set(measured) <= {"pattern_changes"}:
            raise ValueError(
                "A picture of the conditioning needs a history with condition numbers, log-determinants or dampings; "
                "this one has none. The solvers 'anmin', 'varpro' and 'matrix_free' record them."
            )
        self.history, self.quantities = history, tuple(measured)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Sequence[Axes] | None = None) -> Self:
        """Draw the conditioning of the fit of an estimator; see :meth:`plot`."""
        return cls(estimator.history_).plot(ax)

    @classmethod
    def from_history(cls, history: History, *, ax: Sequence[Axes] | None = None) -> Self:
        """Draw the conditioning of a history; see :meth:`plot`."""
        return cls(history).plot(ax)

    def plot(self, ax: Sequence[Axes] | None = None) -> Self:
        """Draw the panels above one another.

        Parameters
        ----------
        ax : sequence of matplotlib axes, one for each of ``quantities``, optional
            By default new ones.

        Returns
        -------
        self
        """
        axes = stacked_axes([1] * len(self.quantities), height=1.7 * len(self.quantities)) if ax is None else list(ax)
        if len(axes) != len(self.quantities):
            raise ValueError(f"ax must hold {len(self.quantities)} axes, for {', '.join(self.quantities)}.")
        self.lines_ = {}
        x = self.history["iteration"]
        regular = self.history["branch"] != "degenerate"
        for each, name in zip(axes, self.quantities, strict=True):
            y = self.history[name].astype(np.float64)
            if name == "pattern_changes":
                y[x == 0] = np.nan  # the start has none before it to differ from
            logarithmic = name in ("condition_number", "damping")
            y = np.where((y > 0) & np.isfinite(y), y, np.nan) if logarithmic else np.where(np.isfinite(y), y, np.nan)
            (self.lines_[name],) = each.plot(x, y, color=ACCENT, linewidth=1.2, marker="o", markersize=2.6)
            if not regular.all():
                each.plot(x[~regular], y[~regular], "o", markersize=5, markerfacecolor="none", markeredgecolor=MUTED)
            if logarithmic and np.isfinite(y).any():
                each.set_yscale("log")
                readable_ticks(each, y)
            each.set_ylabel(_QUANTITIES[name])
            each.locator_params(axis="x", integer=True)
            each.spines[["top", "right"]].set_visible(False)
            each.grid(axis="y", alpha=0.25, linewidth=0.6)
        axes[-1].set_xlabel("iteration")
        axes[0].figure.align_ylabels(axes)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self
