"""Rows that come and go: their sums are added or taken away, and the output layer is solved for again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from anmin.history import Record
from anmin.network import ReLUNetwork
from anmin.objective import alpha_from_sum, sum_from_alpha
from anmin.rows.arrays import ArrayRows
from anmin.solvers.systems import output_layer
from anmin.statistics import OutputStatistics

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Updated:
    """A network with its output layer solved for again.

    Attributes
    ----------
    network : ReLUNetwork
    sums : OutputStatistics
        Of the rows that there are now.
    alpha, loss : float
    record : Record
        Its "validation_mse" is the error of the former network on the rows that came or went.
    """

    network: ReLUNetwork
    sums: OutputStatistics
    alpha: float
    loss: float
    record: Record


def updated(
    network: ReLUNetwork, sums: OutputStatistics, alpha: float, rows: ArrayRows, y_scale: np.ndarray, *, add: bool
) -> Updated:
    """Return the network whose output layer is the best one with rows added to, or taken from, those summed so far.

    The hidden layer A stays, so SᵀWS, SᵀWY and the like of all rows are the former ones plus or minus those of these
    rows, and [B; b0] solves (S₁ᵀWS₁/n + alpha·I) [B; b0] = S₁ᵀWY/n exactly. alpha·n stays, too.

    Parameters
    ----------
    network : ReLUNetwork
        In the coordinates of the rows.
    sums : OutputStatistics
        At its hidden layer.
    alpha : float
    rows : ArrayRows
    y_scale : ndarray of shape (c,)
        Units of y in one unit of these coordinates.
    add : bool
        Whether the rows are added, or taken away.

    Raises
    ------
    ValueError
        If rows are to be taken away that cannot have been among those summed.
    """
    change = rows.output_statistics(network.A, network.negative_slope)
    together = replace(sums.merge(change) if add else sums.subtract(change), pattern=None)
    if not add:
        _check_left(sums, together)
    alpha = alpha_from_sum(sum_from_alpha(alpha, sums.n), together.n)
    B, b0 = output_layer(together, alpha)
    after = replace(network, B=B, b0=b0)
    loss = together.loss(network.A, B, b0, alpha)
    record = Record(
        loss=loss,
        mse=_mse(together, after, y_scale),
        validation_mse=_mse(change, network, y_scale),
        branch="added" if add else "forgotten",
    )
    return Updated(after, together, alpha, loss, record)


def _mse(sums: OutputStatistics, network: ReLUNetwork, y_scale: np.ndarray) -> float:
    return float(np.mean(sums.sse(network.B, network.b0) / sums.n * y_scale**2))


def _check_left(before: OutputStatistics, after: OutputStatistics) -> None:
    if not after.n > _ROUNDING * before.n:
        raise ValueError(
            f"Rows of a total weight of {before.n - after.n:g} cannot be forgotten: those fitted weigh {before.n:g}, "
            f"and some must be left."
        )
    for left, there in (
        (np.diagonal(after.gram), np.diagonal(before.gram)),
        (after.y_square, before.y_square),
    ):
        if np.any(left < -_ROUNDING * np.maximum(there, 1e-300)):
            raise ValueError("Rows can be forgotten only if they were fitted or added; these were not.")
