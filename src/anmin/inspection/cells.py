"""The cells of a network of two inputs: the polygons on which it is linear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.inspection.arguments import checked_inputs
from anmin.inspection.plane import Plane
from anmin.inspection.plotting import new_axes
from anmin.network import ReLUNetwork, check_relu

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class CellsDisplay:
    """The polygons into which the creases cut the plane of two inputs, coloured by the number of rows in each.

    The network is one linear function on each. Cells without a row are white: what it does there, no row has told. Use
    :meth:`from_estimator` or :meth:`from_network`.

    Parameters
    ----------
    network : ReLUNetwork
        A network of two inputs, in raw units.
    X : array of shape (N, 2)
        Rows; the picture spans their range.

    Attributes
    ----------
    polygons : list of m ndarrays of shape (corners, 2)
        In units of the inputs.
    counts : ndarray of shape (m,)
        Rows in each; those on a crease belong to the side where the neuron is off.
    axes_, figure_
        What :meth:`plot` drew on.

    Raises
    ------
    ValueError
        If the network has not two inputs, or X does not fit it.
    """

    axes_: list[Axes]
    figure_: Any

    def __init__(self, network: ReLUNetwork, X: ArrayLike) -> None:
        if network.n_features != 2:
            raise ValueError(f"Cells can be drawn for networks of 2 inputs; this one has {network.n_features}.")
        self.X = checked_inputs(network, X)
        self.plane = Plane.around(self.X, network.feature_names)
        self.polygons = polygons_of(network.A, self.plane)
        centres = np.array([polygon.mean(axis=0) for polygon in self.polygons])
        self.counts = _rows_of_cells(network.pattern(centres), network.pattern(self.X))

    @classmethod
    def from_estimator(cls, estimator: Any, X: ArrayLike, *, ax: Axes | None = None) -> Self:
        """Draw the cells of a fitted estimator; see :meth:`plot`."""
        check_relu(estimator.network_, "A picture of cells")
        return cls(estimator.network_, X).plot(ax)

    @classmethod
    def from_network(cls, network: ReLUNetwork, X: ArrayLike, *, ax: Axes | None = None) -> Self:
        """Draw the cells of a network; see :meth:`plot`."""
        return cls(network, X).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the cells on ``ax``, by default on new axes, and return the display."""
        ax = new_axes(width=5.2, height=4.2)[0] if ax is None else ax
        from matplotlib import colormaps
        from matplotlib.collections import PolyCollection
        from matplotlib.colors import LogNorm

        shown = [polygon[:, ::-1] if self.plane.is_picture else polygon for polygon in self.polygons]
        counts = np.where(self.counts > 0, self.counts, np.nan)
        most = max(10, int(self.counts.max()))
        colours = colormaps["viridis"].with_extremes(bad="white")
        cells = PolyCollection(shown, array=counts, cmap=colours, norm=LogNorm(1, most), linewidths=0.5)
        cells.set_edgecolor("#6b7280")
        ax.add_collection(cells)
        self.plane.frame(ax)
        ax.figure.colorbar(cells, ax=ax, label="rows in the cell", shrink=0.9, pad=0.02)
        occupied = np.count_nonzero(self.counts)
        ax.set_title(f"{len(self.polygons):,} cells, {occupied:,} with rows")
        self.axes_, self.figure_ = [ax], ax.figure
        return self


def polygons_of(A: NDArray, plane: Plane) -> list[NDArray]:
    """Return the convex polygons into which the creases of hidden weights A (3, h) cut a rectangle.

    Each crease in turn cuts the polygons that it crosses in two. A side that is thinner than the rounding of the
    corners is no cell.
    """
    (x0, y0), (x1, y1) = plane.low, plane.high
    polygons = [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])]
    extent = np.array([1.0, max(abs(x0), abs(x1)), max(abs(y0), abs(y1))])
    for a in A.T:
        rounding = 1e-12 * float(np.abs(a) @ extent)
        cut: list[NDArray] = []
        for polygon in polygons:
            heights = polygon @ a[1:] + a[0]
            if heights.max() <= rounding or heights.min() >= -rounding:
                cut.append(polygon)
            else:
                cut += [_clipped(polygon, heights), _clipped(polygon, -heights)]
        polygons = cut
    return polygons


def _clipped(polygon: NDArray, heights: NDArray) -> NDArray:
    """Return the part of a convex polygon where the heights of its corners, extended linearly, are not negative."""
    corners = []
    for here, after, low, high in zip(
        polygon, np.roll(polygon, -1, axis=0), heights, np.roll(heights, -1), strict=True
    ):
        if low >= 0:
            corners.append(here)
        if low * high < 0:
            corners.append(here + (after - here) * (low / (low - high)))
    return np.array(corners)


def _rows_of_cells(cells: NDArray, rows: NDArray) -> NDArray:
    """Return how many of the patterns of rows (N, h) are that of each cell (m, h)."""
    found, counts = np.unique(np.packbits(rows, axis=1), axis=0, return_counts=True)
    of_pattern = {pattern.tobytes(): count for pattern, count in zip(found, counts, strict=True)}
    return np.array([of_pattern.get(pattern.tobytes(), 0) for pattern in np.packbits(cells, axis=1)], dtype=np.int64)
