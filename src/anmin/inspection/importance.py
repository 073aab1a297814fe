"""How much each neuron counts for the predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.inspection.arguments import checked_inputs
from anmin.inspection.plotting import ACCENT, new_axes
from anmin.network import ReLUNetwork, check_relu
from anmin.rows.arrays import ArrayRows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EPS = np.finfo(np.float64).eps
_MOST_BARS = 80


def bends(network: ReLUNetwork) -> NDArray:
    """Return how far each neuron bends the network, shape (h,): (1 − negative_slope)·‖a_j without bias‖·‖b_j‖.

    The gradient jumps by this across its crease, in units of y for one of x; it takes no rows, and depends on the
    units of the inputs.
    """
    with np.errstate(over="ignore"):
        lengths = np.hypot.reduce(network.A[1:], axis=0, initial=0.0) * np.hypot.reduce(network.B, axis=1)
    return (1 - network.negative_slope) * lengths


def removal_costs(network: ReLUNetwork, X: ArrayLike, sample_weight: ArrayLike | None = None) -> NDArray:
    """Return how far the predictions move without each neuron, the output layer solved for again; shape (h,).

    The root of the least mean square of f(x_i) − f'(x_i), summed over the outputs, where f' has the neurons of f but
    neuron j, and any output weights: with S₁ = [σ(X̃A), 1],

        min_{B'} ‖f − f'‖² / n = Σ_k B_jk² / (K⁻¹)_jj,   K = S₁ᵀ W S₁ / n.

    It is 0 for a neuron that is active on no row, and for one that the others can replace.

    Parameters
    ----------
    network : ReLUNetwork
        In raw units.
    X : array of shape (N, d)
    sample_weight : array of shape (N,), optional

    Returns
    -------
    costs : ndarray of shape (h,)
        In units of y.

    Raises
    ------
    ValueError
        If the arrays do not fit the network.
    """
    X = checked_inputs(network, X)
    rows = ArrayRows(X, np.zeros((len(X), 1)), sample_weight)
    sums = rows.output_statistics(network.A, network.negative_slope)
    K = np.block([[sums.gram, sums.sums[:, None]], [sums.sums, np.array([sums.n])]]) / sums.n
    # In units in which the diagonal is 1, so that rounding is judged for each neuron by its own size.
    size = np.sqrt(np.diagonal(K))
    size[size == 0] = 1.0
    K = K / size / size[:, None]
    floor = len(K) * _EPS
    inverse = np.linalg.inv(K + floor * np.eye(len(K)))
    left = 1 / np.diagonal(inverse)[:-1] - floor
    # What is left of a neuron that the others replace is rounding.
    left[left < 10 * floor] = 0.0
    return np.hypot.reduce(network.B, axis=1) * size[:-1] * np.sqrt(left)


class ImportanceDisplay:
    """The neurons by what they count: a bar for each, the largest first.

    With rows, how far the predictions move without the neuron (:func:`removal_costs`); without, how far it bends the
    network (:func:`bends`). Use :meth:`from_estimator` or :meth:`from_network`.

    Parameters
    ----------
    importance : array of shape (h,)
        Not negative.
    meaning : str, default "importance"
        For the axis, with the unit.

    Attributes
    ----------
    order : ndarray of shape (h,)
        Numbers of the neurons from the most important to the least.
    ax_, figure_
        What :meth:`plot` drew on.

    Raises
    ------
    ValueError
        If an importance is negative or not finite.
    """

    ax_: Axes
    figure_: Any

    def __init__(self, importance: ArrayLike, *, meaning: str = "importance") -> None:
        self.importance = np.asarray(importance, dtype=np.float64)
        if self.importance.ndim != 1 or not ((self.importance >= 0) & np.isfinite(self.importance)).all():
            raise ValueError(
                f"importance must be finite numbers of at least 0, one for each neuron; got {importance!r}."
            )
        self.meaning = meaning
        self.order = np.argsort(-self.importance, kind="stable")

    @classmethod
    def from_estimator(cls, estimator: Any, X: ArrayLike | None = None, **options: Any) -> Self:
        """Draw the neurons of a fitted estimator; see :meth:`from_network`."""
        check_relu(estimator.network_, "The importance of neurons")
        return cls.from_network(estimator.network_, X, **options)

    @classmethod
    def from_network(
        cls,
        network: ReLUNetwork,
        X: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the neurons of a network, on rows X (N, d) where there are any; see :meth:`plot`."""
        return cls.of(network, X, sample_weight).plot(ax)

    @classmethod
    def of(cls, network: ReLUNetwork, X: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Return the display of a network, on rows X (N, d) where there are any, not yet drawn."""
        if X is None:
            return cls(bends(network), meaning="jump of the gradient at the crease")
        costs = removal_costs(network, X, sample_weight)
        return cls(costs, meaning="change of the predictions without it\n(root mean square)")

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the bars on ``ax``, by default on new axes, and return the display."""
        ax = new_axes(width=5.6, height=3.4)[0] if ax is None else ax
        shown = self.order[:_MOST_BARS]
        ax.bar(np.arange(len(shown)), self.importance[shown], color=ACCENT, width=0.8)
        few = len(shown) <= 20
        if few:
            ax.set_xticks(np.arange(len(shown)), [str(j) for j in shown])
        else:
            ax.set_xticks([])
        left_out = f", first {_MOST_BARS} of {len(self.order):,}" if len(self.order) > len(shown) else ""
        ax.set(xlabel=("number of the neuron" if few else "neurons, ordered") + left_out, ylabel=self.meaning)
        ax.margins(x=0.01)
        ax.set_ylim(bottom=0)
        idle = int((self.importance == 0).sum())
        if idle:
            # Not all of them at once: each may be what the others are replaced by.
            ax.set_title(f"{'any one of ' if idle > 1 else ''}{idle} could go at no cost", fontsize="medium")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", alpha=0.25, linewidth=0.6)
        ax.set_axisbelow(True)
        self.ax_, self.figure_ = ax, ax.figure
        return self
