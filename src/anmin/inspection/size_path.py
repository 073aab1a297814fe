"""Errors against the number of neurons, and how few are enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anmin.inspection.plotting import ACCENT, MUTED, new_axes, readable_ticks
from anmin.sizes import SizePath

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class SizePathDisplay:
    """Errors of the models of a path against their numbers of neurons, the held-out ones with their standard errors.

    A ring marks the least error on held-out rows, a dot the fewest neurons whose error exceeds it by at most its
    standard error, which the dashed line shows. Use :meth:`from_path`.

    Parameters
    ----------
    path : SizePath
        From :func:`anmin.size_path`.

    Attributes
    ----------
    ax_, figure_
        What :meth:`plot` drew on.
    lines_ : dict of str to Line2D
        The curves, by the names of the path's attributes.

    Raises
    ------
    ValueError
        If no fold of the path is done.
    """

    ax_: Axes
    figure_: Any
    lines_: dict[str, Any]

    def __init__(self, path: SizePath) -> None:
        self.path = path
        self.best, self.chosen = path.best, path.smallest_within_one_standard_error

    @classmethod
    def from_path(cls, path: SizePath, *, ax: Axes | None = None) -> Self:
        """Draw a path; see :meth:`plot`."""
        return cls(path).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the errors on ``ax``, by default on new axes, and return the display."""
        ax = new_axes(width=5.6)[0] if ax is None else ax
        path, best, chosen = self.path, self.best, self.chosen
        x, errors, deviations = path.n_neurons, path.held_out_errors, path.standard_errors
        (train,) = ax.plot(x, path.train_errors, color=MUTED, linewidth=1.4, linestyle=(0, (4, 2)), label="fitted rows")
        held_out = ax.errorbar(
            x, errors, deviations, color=ACCENT, linewidth=2.0, marker="o", markersize=3.6, capsize=2.5,
            elinewidth=1.0, label=f"held-out rows (least: {errors[best]:.4g})",
        )  # fmt: skip
        self.lines_ = {"train_errors": train, "held_out_errors": held_out.lines[0]}
        ax.axhline(errors[best] + deviations[best], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        ax.plot(x[best], errors[best], "o", markersize=9, markerfacecolor="none", markeredgecolor=ACCENT)
        ax.plot(x[chosen], errors[chosen], "o", markersize=7, color=ACCENT, label=f"within one s.e.: {x[chosen]}")
        ax.set_xscale("log", base=2)
        ax.set_xticks(x, [str(n) for n in x])
        ax.minorticks_off()
        shown = np.concatenate([path.train_errors, errors - deviations, errors + deviations])
        shown = shown[np.isfinite(shown)]
        if shown.size and (shown > 0).all():
            ax.set_yscale("log")
            readable_ticks(ax, shown)
        ax.set(xlabel="neurons", ylabel="error")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize="small")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", alpha=0.25, linewidth=0.6)
        self.ax_, self.figure_ = ax, ax.figure
        return self
