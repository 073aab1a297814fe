"""Pictures of networks of one input: their output, the points of the data, and a triangle for each neuron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anmin.lab.colours import BLUE, GREEN, VERMILION
from anmin.lab.descent import activation_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def output(W: NDArray, a: NDArray, x: NDArray) -> NDArray:
    """Return max(x w₁ + w₂, 0) a at inputs x (k,) for W (2, m) and a (m,), of shape (k,)."""
    return np.maximum(np.multiply.outer(x, W[0]) + W[1], 0.0) @ a


def draw_fit(ax: Axes, x: NDArray, y: NDArray, W: NDArray, a: NDArray, limits: tuple[float, float]) -> None:
    """Draw the points (x, y) as crosses and the network's output as a line, exact at every crease within limits."""
    creases = activation_points(W)
    inside = creases[(creases > limits[0]) & (creases < limits[1])]
    at = np.sort(np.concatenate([inside, np.linspace(*limits, 50)]))
    ax.plot(at, output(W, a, at), color=BLUE, linewidth=1.6, label="output of the network")
    ax.plot(x, y, "x", color=VERMILION, markersize=8, markeredgewidth=2, label="points to be fitted", zorder=4)
    ax.set_xlim(*limits)


def draw_neurons(ax: Axes, W: NDArray, heights: NDArray, **style: Any) -> None:
    """Draw each neuron of W (2, m) as a triangle above its activation point that shows to its active side."""
    creases = activation_points(W)
    style = {"color": GREEN, "s": 18, "linewidths": 0, "zorder": 3, **style}
    for marker, chosen, side in ((">", W[0] > 0, "right"), ("<", W[0] < 0, "left")):
        if chosen.any():
            label = f"neurons, active to the {side}"
            ax.scatter(creases[chosen], heights[chosen], marker=marker, label=label, **style)
