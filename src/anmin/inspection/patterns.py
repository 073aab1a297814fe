"""Which neurons are active on which rows, as a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from anmin.inspection.arguments import checked_inputs
from anmin.inspection.plotting import new_axes
from anmin.network import ReLUNetwork, check_relu

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LINES = 500


class PatternDisplay:
    """The activation pattern: rows downwards, neurons to the right, dark where a neuron is active on a row.

    Both are ordered by correspondence analysis (reciprocal averaging; Hill 1973), so that rows of like patterns, and
    neurons that are active on like rows, are neighbours. Neurons that are always or never active stand at the left and
    the right. Where there are more rows than lines in a picture, a line is the mean of consecutive rows.

    Use :meth:`from_estimator` or :meth:`from_network`.

    Parameters
    ----------
    pattern : array of bool of shape (N, h)

    Attributes
    ----------
    row_order, neuron_order : ndarrays of shapes (N,) and (h,)
        Numbers of the rows and neurons in the order drawn.
    activity : ndarray of shape (lines, h)
        What is drawn: from 0 (active on none of the rows of the line) to 1.
    n_cells : int
        Number of different patterns among the rows.
    axes_, figure_
        What :meth:`plot` drew on.

    Raises
    ------
    ValueError
        If there is no row or no neuron.
    """

    axes_: list[Axes]
    figure_: Any

    def __init__(self, pattern: ArrayLike) -> None:
        on = np.asarray(pattern, dtype=bool)
        if on.ndim != 2 or on.size == 0:
            raise ValueError(f"pattern must have shape (rows, neurons), with at least one of each; got {on.shape}.")
        self.row_order, self.neuron_order = _orders(on)
        self.n_cells = len(np.unique(np.packbits(on, axis=1), axis=0))
        # Evenly sized groups of consecutive rows.
        lines = np.array_split(self.row_order, min(len(on), _MOST_LINES))
        self.activity = np.array([on[line].mean(axis=0) for line in lines])[:, self.neuron_order]
        self.n_rows = len(on)
        share = on.mean(axis=0)
        self.n_always, self.n_never = int((share == 1).sum()), int((share == 0).sum())

    @classmethod
    def from_estimator(cls, estimator: Any, X: ArrayLike, *, ax: Axes | None = None) -> Self:
        """Draw the pattern of a fitted estimator on rows X (N, d); see :meth:`plot`."""
        check_relu(estimator.network_, "A picture of patterns")
        return cls.from_network(estimator.network_, X, ax=ax)

    @classmethod
    def from_network(cls, network: ReLUNetwork, X: ArrayLike, *, ax: Axes | None = None) -> Self:
        """Draw the pattern of a network on rows X (N, d); see :meth:`plot`."""
        return cls(network.pattern(checked_inputs(network, X))).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the map on ``ax``, by default on new axes, and return the display."""
        ax = new_axes(width=5.6, height=4.2)[0] if ax is None else ax
        h = self.activity.shape[1]
        # One pixel of the image for one entry: a smoothed image would show activities that there are not.
        image = ax.imshow(
            self.activity,
            cmap="Blues",
            vmin=0,
            vmax=1,
            aspect="auto",
            interpolation="nearest",
            extent=(0.5, h + 0.5, self.n_rows, 0),
        )
        ax.set(xlabel="neurons, ordered", ylabel="rows, ordered")
        ax.locator_params(axis="x", integer=True)
        counts = [f"{self.n_cells:,} different pattern{'' if self.n_cells == 1 else 's'}"]
        counts += [f"{self.n_always} always on"] if self.n_always else []
        counts += [f"{self.n_never} never on"] if self.n_never else []
        ax.set_title(", ".join(counts), fontsize="medium")
        ax.figure.colorbar(image, ax=ax, label="share of rows on which it is active", shrink=0.9, pad=0.02)
        self.axes_, self.figure_ = [ax], ax.figure
        return self


def _orders(on: NDArray) -> tuple[NDArray, NDArray]:
    """Return orders of rows and neurons by correspondence analysis.

    The score of a row is the mean score of its active neurons and that of a neuron, but for a factor, the mean score of
    the rows it is active on; the solution of the largest factor below 1 is the leading eigenvector of a matrix of the
    neurons alone, small however many rows there are.
    """
    totals, counts = on.sum(axis=1), on.sum(axis=0)
    values = on.astype(np.float32) / np.sqrt(np.maximum(totals, 1))[:, None].astype(np.float32)
    size = np.sqrt(np.maximum(counts, 1))
    system = (values.T @ values).astype(np.float64) / np.outer(size, size)
    # The trivial solution, in which all scores are equal, has the factor 1 and is taken out.
    trivial = np.sqrt(counts / max(1, counts.sum()))
    h = len(counts)
    vector = eigh(system - np.outer(trivial, trivial), subset_by_index=(h - 1, h - 1))[1][:, 0] / size
    # Rows with many active neurons first: those with none have no score, and come last.
    scores = on @ vector / np.maximum(totals, 1)
    sign = -1.0 if (scores - scores.mean()) @ totals > 0 else 1.0
    vector, scores = sign * vector, np.where(totals > 0, sign * scores, np.inf)
    along = np.where(counts == len(on), -np.inf, np.where(counts == 0, np.inf, vector))
    neurons = np.lexsort((-counts, along))
    # Among rows of one score, to rounding, those of one pattern together.
    return np.lexsort((*np.packbits(on[:, neurons], axis=1).T[::-1], np.round(scores, 12))), neurons
