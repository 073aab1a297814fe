"""Drawing functions of two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from anmin.inspection.plotting import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Plane:
    """A rectangle of the plane of two inputs, and how it lies on paper.

    Inputs named "row" and "column" are pixels of a picture: the column goes to the right and the row downwards.
    Otherwise the first input goes to the right and the second upwards.

    Attributes
    ----------
    low, high : tuple of two floats
        Corners, in units of the inputs.
    names : tuple of two str
    """

    low: tuple[float, float]
    high: tuple[float, float]
    names: tuple[str, str]

    @classmethod
    def around(cls, X: NDArray, names: Sequence[str] | None) -> Self:
        """Return the rectangle that holds all rows of X (N, 2); where an input is constant, 1 wide or a few digits."""
        low, high = X.min(axis=0), X.max(axis=0)
        # Half the differences, because whole ones may overflow.
        size = np.maximum(np.abs(low), np.abs(high))
        flat = high / 2 - low / 2 <= 1e-13 * size
        margin, largest = np.maximum(0.5, 1e-6 * size), np.finfo(np.float64).max
        low = np.where(flat, np.maximum(low, margin - largest) - margin, low)
        high = np.where(flat, np.minimum(high, largest - margin) + margin, high)
        first, second = names or ("input 0", "input 1")
        return cls((float(low[0]), float(low[1])), (float(high[0]), float(high[1])), (first, second))

    @property
    def is_picture(self) -> bool:
        """Whether the inputs are row and column of a picture."""
        return self.names == ("row", "column")

    def grid(self, size: int) -> NDArray:
        """Return ``size`` × ``size`` points over the rectangle as (size², 2), the second input changing fastest."""
        axes = [np.linspace(a, b, size) for a, b in zip(self.low, self.high, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)

    def draw_field(self, ax: Axes, values: NDArray, size: int, **style: Any) -> Any:
        """Draw values at the points of :meth:`grid`, with the contour of 0 if they have both signs."""
        field = values.reshape(size, size)
        first, second = (np.linspace(a, b, size) for a, b in zip(self.low, self.high, strict=True))
        x, y, field = (second, first, field) if self.is_picture else (first, second, field.T)
        image = ax.pcolormesh(x, y, field, shading="nearest", rasterized=True, **style)
        if field.min() < 0 < field.max():
            ax.contour(x, y, field, levels=[0.0], colors="black", linewidths=1.1)
        self.frame(ax)
        return image

    def draw_rows(self, ax: Axes, X: NDArray, values: NDArray, *, outline: bool = True, **style: Any) -> Any:
        """Draw values at the rows of X (N, 2): as a picture if the rows fill a grid, else as points."""
        first, place0 = np.unique(X[:, 0], return_inverse=True)
        second, place1 = np.unique(X[:, 1], return_inverse=True)
        if len(first) * len(second) == len(X) and min(len(first), len(second)) > 1:
            field = np.full((len(first), len(second)), np.nan)
            field[place0, place1] = values
            if np.isfinite(field).all():
                x, y, field = (second, first, field) if self.is_picture else (first, second, field.T)
                image = ax.pcolormesh(x, y, field, shading="nearest", rasterized=True, **style)
                if outline and field.min() < 0 < field.max():
                    ax.contour(x, y, field, levels=[0.0], colors="black", linewidths=1.1)
                self.frame(ax)
                return image
        x, y = X.T[::-1] if self.is_picture else X.T
        size = float(np.clip(6000 / len(X), 2.0, 24.0))
        points = ax.scatter(x, y, c=values, s=size, linewidths=0, rasterized=True, **style)
        self.frame(ax)
        return points

    def draw_lines(self, ax: Axes, segments: NDArray, **style: Any) -> Any:
        """Draw segments of shape (k, 2, 2): k pairs of points, each in the order of the inputs."""
        from matplotlib.collections import LineCollection

        lines = LineCollection(list(segments[:, :, ::-1] if self.is_picture else segments), **style)
        ax.add_collection(lines)
        return lines

    def frame(self, ax: Axes) -> None:
        """Set limits, proportions and labels of axes that show the rectangle."""
        order = (1, 0) if self.is_picture else (0, 1)
        (x0, y0), (x1, y1) = ([corner[i] for i in order] for corner in (self.low, self.high))
        ax.set_xlim(x0, x1)
        ax.set_ylim((y1, y0) if self.is_picture else (y0, y1))
        # True proportions where the inputs are lengths in the same units, as far as their ranges can tell.
        if 0.25 < (x1 - x0) / (y1 - y0) < 4:
            ax.set_aspect("equal")
        else:
            ax.set_aspect("auto")
        ax.set_xlabel(label(self.names[order[0]]))
        ax.set_ylabel(label(self.names[order[1]]))


def crease_segments(A: NDArray, low: Sequence[float], high: Sequence[float]) -> tuple[NDArray, NDArray]:
    """Return where the lines a_0 + a_1 x_1 + a_2 x_2 = 0 cross a rectangle.

    Parameters
    ----------
    A : ndarray of shape (3, h)
        Hidden weights, bias first, one column per neuron.
    low, high : two floats each
        Corners of the rectangle, in units of the inputs.

    Returns
    -------
    segments : ndarray of shape (k, 2, 2)
        The two ends of each line within the rectangle.
    neurons : ndarray of shape (k,), integer
        The neurons they belong to: those whose line passes through the rectangle.
    """
    segments, neurons = [], []
    # By powers of two, which change no digit, to where no square overflows.
    exponents = np.frexp(np.abs(A).max(axis=0))[1]
    for j, (bias, *weights) in enumerate(np.ldexp(A, -exponents).T):
        direction = np.array([-weights[1], weights[0]])
        square = float(np.dot(weights, weights))
        if square == 0 or not np.isfinite(bias / square):
            continue
        # Points start + t·direction of the line, and the interval of t for which they are inside (Liang & Barsky).
        start = -bias / square * np.asarray(weights)
        inside = [-np.inf, np.inf]
        for k in range(2):
            if direction[k] == 0:
                if not low[k] <= start[k] <= high[k]:
                    inside = [np.inf, -np.inf]
                continue
            ends = sorted(((low[k] - start[k]) / direction[k], (high[k] - start[k]) / direction[k]))
            inside = [max(inside[0], ends[0]), min(inside[1], ends[1])]
        if inside[0] < inside[1]:
            segments.append([start + t * direction for t in inside])
            neurons.append(j)
    return np.array(segments).reshape(-1, 2, 2), np.array(neurons, dtype=np.int64)
