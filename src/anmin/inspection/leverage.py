"""How far each row pulls its own prediction, beside how far it is from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.influence import Influence, influence
from anmin.inspection.arguments import checked_output, output_name
from anmin.inspection.plotting import ACCENT, MUTED, label, new_axes
from anmin.network import check_relu

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED_ROWS = 3


class LeverageDisplay:
    """Leave-one-out residuals against leverages, with the numbers of the rows that changed the fit the most.

    A row of leverage near 1 makes its own prediction; its residual says nothing about it, but what is left without it
    (y − f where f was fitted to the other rows) does. Both are of :mod:`anmin.influence`, which says what they leave
    out. The vertical line is twice the mean leverage, γ/N. Named are the rows whose predictions were moved most by
    themselves. Use :meth:`from_estimator`.

    Parameters
    ----------
    influence : Influence
    output : int, default 0
    name : str, default "y"
        Of the output.

    Attributes
    ----------
    leverage, residuals : ndarrays of shape (N,)
        What is drawn; residuals are leave-one-out, in units of y.
    named : ndarray of integers
        Rows that have their numbers beside them.
    ax_, figure_
        What :meth:`plot` drew on.
    """

    ax_: Axes
    figure_: Any
    named: NDArray

    def __init__(self, influence: Influence, *, output: int = 0, name: str = "y") -> None:
        if not 0 <= output < influence.leverage.shape[1]:
            raise ValueError(f"output must be at least 0 and below {influence.leverage.shape[1]}; got {output!r}.")
        self.leverage = influence.leverage[:, output]
        self.residuals = influence.leave_one_out_residuals[:, output]
        self.name = name
        # NaN where a row alone determines its fit: it has no leave-one-out residual to draw.
        moved = np.nan_to_num(np.abs(self.residuals - influence.residuals[:, output]))
        self.named = np.argsort(-moved, kind="stable")[:_NAMED_ROWS]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        output: int = 0,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the rows that an estimator was fitted to, as :func:`anmin.influence.influence` takes them."""
        check_relu(estimator.network_, "The leverage of rows")
        network = estimator.network_
        checked_output(network, output)
        found = influence(estimator, X, y, sample_weight)
        return cls(found, output=output, name=output_name(network, output)).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the rows on ``ax``, by default on new axes, and return the display."""
        ax = new_axes(width=5.2)[0] if ax is None else ax
        size = float(np.clip(8000 / len(self.leverage), 4.0, 16.0))
        ax.scatter(self.leverage, self.residuals, s=size, alpha=0.7, color=ACCENT, linewidths=0, rasterized=True)
        ax.axhline(0, color=MUTED, linewidth=0.8)
        ax.axvline(2 * float(self.leverage.mean()), color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        for row in self._apart():
            near = self.leverage[row] > 0.7 * self.leverage.max()
            ax.annotate(
                str(row),
                (self.leverage[row], self.residuals[row]),
                (-5 if near else 5, 4),
                textcoords="offset points",
                ha="right" if near else "left",
                fontsize="small",
            )
        free = int(np.isnan(self.residuals).sum())
        if free:
            ax.set_title(f"{free:,} row{'' if free == 1 else 's'} of leverage 1 not shown", fontsize="medium")
        ax.set(xlabel="leverage", ylabel=f"residual of {label(self.name)} without the row", xlim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _apart(self) -> list[int]:
        """Return the named rows but those so near to one before that their numbers would overlap."""
        places = np.column_stack([self.leverage, self.residuals])
        spans = np.nanmax(places, axis=0) - np.nanmin(places, axis=0)
        places = places / np.where(spans > 0, spans, 1.0)
        kept: list[int] = []
        for row in self.named:
            gaps = [np.abs(places[row] - places[other]) for other in kept]
            if np.isfinite(places[row]).all() and all(gap[0] > 0.12 or gap[1] > 0.07 for gap in gaps):
                kept.append(int(row))
        return kept
