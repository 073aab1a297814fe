"""Errors and effective parameters along a path of penalties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from anmin.inspection.plotting import ACCENT, MUTED, readable_ticks, stacked_axes
from anmin.path import AlphaPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CURVES: dict[str, tuple[str, dict[str, Any]]] = {
    "train_mse": ("training rows", {"color": MUTED, "linewidth": 1.4, "linestyle": (0, (4, 2))}),
    "gcv": ("generalised cross-validation", {"color": "#3a9a6f", "linewidth": 1.4, "linestyle": (0, (1, 1.2))}),
    "leave_one_out_mse": ("leave-one-out", {"color": "#d9822b", "linewidth": 1.4}),
    "held_out_mse": ("held-out rows", {"color": ACCENT, "linewidth": 2.0, "marker": "o", "markersize": 3.6}),
}


class AlphaPathDisplay:
    """Errors of the networks of a path against their penalty, with their effective parameters below.

    The least error on held-out rows has a ring; a vertical line marks the penalty of the largest evidence. Use
    :meth:`from_path`.

    Parameters
    ----------
    path : AlphaPath
        From :func:`anmin.path.alpha_path`. A penalty of 0 has no place on the logarithmic axis and is left out.

    Attributes
    ----------
    axes_, figure_
        What :meth:`plot` drew on.
    lines_ : dict of str to Line2D
        The curves of the errors, by the names of the path's attributes.
    evidence_alpha : float
        Where the vertical line is.
    """

    axes_: list[Axes]
    figure_: Any
    lines_: dict[str, Any]

    def __init__(self, path: AlphaPath) -> None:
        if not (path.alphas > 0).any():
            raise ValueError(f"A picture of a path needs a penalty above 0; got {path.alphas.tolist()}.")
        self.path = path
        self.evidence_alpha = float(path.alphas[path.choose("evidence")])

    @classmethod
    def from_path(cls, path: AlphaPath, *, ax: Axes | Sequence[Axes] | None = None) -> Self:
        """Draw a path; see :meth:`plot`."""
        return cls(path).plot(ax)

    def plot(self, ax: Axes | Sequence[Axes] | None = None) -> Self:
        """Draw the errors, in squared units of y, and the effective parameters.

        Parameters
        ----------
        ax : matplotlib axes or a sequence of two, optional
            One: for the errors alone. Two: for the errors and the effective parameters. By default new ones.

        Returns
        -------
        self
        """
        given = stacked_axes([3, 1]) if ax is None else ax
        axes = list(given) if isinstance(given, (Sequence, np.ndarray)) else [given]
        if not 1 <= len(axes) <= 2:
            raise ValueError(f"ax must be one axes, or two; got {len(axes)}.")
        self._draw_errors(axes[0])
        if len(axes) == 2:
            axes[1].plot(*self._shown("effective_parameters"), color=ACCENT, linewidth=1.4, marker="o", markersize=3.0)
            axes[1].set_ylabel("effective\nparameters")
            axes[1].set_ylim(bottom=0)
        for each in axes:
            each.axvline(self.evidence_alpha, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
            each.set_xscale("log")
            each.spines[["top", "right"]].set_visible(False)
            each.grid(axis="y", alpha=0.25, linewidth=0.6)
        axes[-1].set_xlabel("alpha")
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def _draw_errors(self, ax: Axes) -> None:
        self.lines_ = {}
        x, held_out = self._shown("held_out_mse")
        measured = np.isfinite(held_out).any()
        best = int(np.nanargmin(held_out)) if measured else 0
        for name, (text, style) in _CURVES.items():
            y = self._shown(name)[1]
            if np.isfinite(y).any():
                least = f" (least: {y[best]:.4g})" if name == "held_out_mse" else ""
                (self.lines_[name],) = ax.plot(x, y, label=text + least, **style)
        if measured:
            ax.plot(x[best], held_out[best], "o", markersize=9, markerfacecolor="none", markeredgecolor=ACCENT)
        ax.annotate(
            f"evidence: {self.evidence_alpha:.2g}",
            (self.evidence_alpha, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            color=MUTED,
            fontsize="small",
        )
        errors = np.concatenate([line.get_ydata() for line in self.lines_.values()] or [np.array([np.nan])])
        if np.isfinite(errors).any():
            ax.set_yscale("log")
            readable_ticks(ax, errors)
            # Above the curves, which leave no corner free for certain.
            ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize="small")
        ax.set_ylabel("mean squared error")

    def _shown(self, name: str) -> tuple[NDArray, NDArray]:
        shown = self.path.alphas > 0
        values = getattr(self.path, name)[shown].astype(np.float64)
        return self.path.alphas[shown], np.where(np.isfinite(values) & (values > 0), values, np.nan)
