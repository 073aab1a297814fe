"""The field of a network of two inputs, and the lines along which it bends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.inspection.plane import Plane, crease_segments
from anmin.inspection.plotting import colour_range, label, new_axes
from anmin.network import ReLUNetwork, check_relu

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GRID = 200


class CreaseDisplay:
    """What a network of two inputs computes, with the crease of each neuron: the line x̃ᵀ a_j = 0 where it switches.

    Between creases the field is linear; a crease is drawn the stronger, the more the field bends there. Use
    :meth:`from_estimator` or :meth:`from_network`.

    Parameters
    ----------
    network : ReLUNetwork
        A network of two inputs, in raw units.
    X : array of shape (N, 2)
        Rows; the picture spans their range.
    y : array of shape (N,) or (N, c), optional
        Targets to show beside the field.
    output : int, default 0
        Which output to show.

    Attributes
    ----------
    axes_, figure_
        What :meth:`plot` drew on.
    segments : ndarray of shape (k, 2, 2)
        Ends of the creases that cross the picture.
    """

    axes_: list[Axes]
    figure_: Any

    def __init__(self, network: ReLUNetwork, X: ArrayLike, y: ArrayLike | None = None, *, output: int = 0) -> None:
        if network.n_features != 2:
            raise ValueError(f"Creases can be drawn for networks of 2 inputs; this one has {network.n_features}.")
        if not 0 <= output < network.n_outputs:
            raise ValueError(f"output must be at least 0 and below {network.n_outputs}; got {output!r}.")
        self.network, self.output = network, output
        self.X = np.asarray(X, dtype=np.float64)
        if self.X.ndim != 2 or self.X.shape[1] != 2 or len(self.X) == 0:
            raise ValueError(f"X must have shape (rows, 2), with at least one row; got {self.X.shape}.")
        self.y: NDArray | None = None
        if y is not None:
            y = np.asarray(y, dtype=np.float64).reshape(len(self.X), -1)
            if y.shape[1] != network.n_outputs:
                raise ValueError(f"y must have {network.n_outputs} columns, as the network; got {y.shape[1]}.")
            self.y = y[:, output]
        self.plane = Plane.around(self.X, network.feature_names)
        self.segments, neurons = crease_segments(network.A, self.plane.low, self.plane.high)
        # Across the crease of neuron j the gradient jumps by (1 − slope)·‖(a_1j, a_2j)‖·|b_j|.
        jumps = np.linalg.norm(network.A[1:], axis=0) * np.abs(network.B[:, output]) * (1 - network.negative_slope)
        self.jumps = jumps[neurons]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        output: int = 0,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> Self:
        """Draw the network of a fitted estimator; see :meth:`plot`."""
        check_relu(estimator.network_, "A picture of creases")
        return cls(estimator.network_, X, y, output=output).plot(ax)

    @classmethod
    def from_network(
        cls,
        network: ReLUNetwork,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        output: int = 0,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> Self:
        """Draw a network; see :meth:`plot`."""
        return cls(network, X, y, output=output).plot(ax)

    def plot(self, ax: Axes | Sequence[Axes] | None = None, *, creases: bool = True) -> Self:
        """Draw the field, and the targets on its left where there are any.

        Parameters
        ----------
        ax : matplotlib axes or a sequence of two, optional
            One: for the field alone. Two: for the targets and the field. By default new ones.
        creases : bool, default True
            Whether to draw the creases.

        Returns
        -------
        self
        """
        if ax is None:
            axes = new_axes(1 if self.y is None else 2)
        else:
            axes = list(ax) if isinstance(ax, (Sequence, np.ndarray)) else [ax]
        if len(axes) > 2 or (len(axes) == 2 and self.y is None):
            raise ValueError(f"ax must be one axes, or two where y was given; got {len(axes)}.")
        points = self.plane.grid(_GRID)
        field = self.network.predict(points)[:, self.output]
        colours = colour_range(field if self.y is None else self.y)
        if len(axes) == 2 and self.y is not None:
            self.plane.draw_rows(axes[0], self.X, self.y, **colours)
            axes[0].set_title("target")
        image = self.plane.draw_field(axes[-1], field, _GRID, **colours)
        if creases:
            self._draw_creases(axes[-1])
        axes[-1].set_title(f"network of {self.network.n_neurons} neurons")
        names = self.network.output_names
        axes[-1].figure.colorbar(
            image, ax=axes, label=None if names is None else label(names[self.output]), shrink=0.9, pad=0.02
        )
        self.axes_, self.figure_ = axes, axes[-1].figure
        return self

    def _draw_creases(self, ax: Axes) -> None:
        if len(self.segments) == 0:
            return
        strongest = self.jumps.max()
        strength = np.sqrt(self.jumps / strongest) if strongest > 0 else np.zeros(len(self.jumps))
        colours = np.zeros((len(self.segments), 4))
        colours[:, 3] = 0.12 + 0.6 * strength
        self.plane.draw_lines(ax, self.segments, colors=colours, linewidths=0.8)
