"""What a solver is given, what it passes on from step to step, and what it must offer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from anmin.history import Record
from anmin.losses import Loss
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.statistics import OutputStatistics

#: What is said where a start has no finite loss.
TOO_LARGE = (
    "The loss of the starting network is not finite: the values of X or y are too large to square. "
    "Standardise them, or start from a smaller network."
)


@dataclass(frozen=True, eq=False)
class Problem:
    """The loss to be minimised (see :mod:`anmin.objective`).

    Attributes
    ----------
    rows : ArrayRows
        The data, in the coordinates solved in.
    n_neurons : int
        Width of the network, h.
    alpha : float
        Penalty of the weights.
    negative_slope : float
        Slope of the activation for negative arguments.
    y_scale : ndarray of shape (c,), optional
        Units of y in one unit of the coordinates solved in; it affects only the mean squared errors reported.
    loss : Loss, optional
        Of a row, if not its squared error: only :class:`anmin.search.reweighted.Reweighted` and
        :class:`anmin.search.quasi_newton.QuasiNewton` lower others.
    """

    rows: ArrayRows
    n_neurons: int
    alpha: float
    negative_slope: float = 0.0
    y_scale: NDArray | None = None
    loss: Loss | None = None

    def mse(self, output: OutputStatistics, network: ReLUNetwork) -> float:
        """Return the mean squared error over rows and outputs, in units of y, of a network with these sums."""
        errors = output.sse(network.B, network.b0) / output.n
        return float(np.mean(errors if self.y_scale is None else errors * self.y_scale**2))

    def held_out_error(self, rows: ArrayRows, network: ReLUNetwork) -> float:
        """Return the mean squared error of a network on other rows, in units of y; or their mean loss, if not squared.

        Such a loss is in the coordinates solved in.
        """
        if self.loss is None:
            return self.mse(rows.output_statistics(network.A, network.negative_slope), network)
        return float(np.average(self.loss.values(network.predict(rows.X), rows.Y), weights=rows.w))


class PatternSums(Protocol):
    """What every solver's sums at a frozen pattern can tell, be they formed or not.

    They are :class:`anmin.statistics.PatternStatistics` or :class:`anmin.rows.products.PatternProducts`, which say what
    these are.
    """

    @property
    def active(self) -> NDArray:
        """Number of rows on which each neuron is active, (h,)."""
        ...

    @property
    def flips(self) -> int:
        """Number of entries of the pattern that differ from the one before."""
        ...

    def output(self, A: NDArray) -> OutputStatistics:
        """Return the output-layer sums of hidden weights A (p, h) of this pattern."""
        ...

    def of_neurons(self, index: NDArray) -> Self:
        """Return the sums of the neurons of these numbers alone."""
        ...


@dataclass(frozen=True, eq=False)
class State:
    """Where a solver stands: a network, the sums at its pattern, its loss, and what the iteration reports.

    ``settled`` says whether the solver itself has converged; None leaves that to the loop, which compares losses.
    """

    network: ReLUNetwork
    statistics: PatternSums
    loss: float
    record: Record
    settled: bool | None = field(default=None, kw_only=True)

    @classmethod
    def at(
        cls,
        problem: Problem,
        network: ReLUNetwork,
        statistics: PatternSums,
        output: OutputStatistics,
        record: Record,
        **rest: Any,
    ) -> Self:
        """Return the state at a network, with the sums at its own pattern; ``record`` is completed from them."""
        loss = output.loss(network.A, network.B, network.b0, problem.alpha)
        record = replace(
            record,
            loss=loss,
            mse=problem.mse(output, network),
            pattern_changes=statistics.flips,
            dead_neurons=int(np.count_nonzero(statistics.active == 0)),
            n_rows=problem.rows.n_rows,
        )
        return cls(network, statistics, loss, record, **rest)


class Solver(Protocol):
    """A method: a frozen dataclass of settings that can start and step. It never owns the loop."""

    @property
    def default_max_iter(self) -> int | None:
        """Number of iterations that the method prescribes; None if it runs until it settles."""
        ...

    def check(self, problem: Problem) -> None:
        """Raise ValueError, before any work, if the method cannot solve this kind of problem."""
        ...

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return an estimate of the memory that a fit takes beyond the rows."""
        ...

    def init(self, problem: Problem, network: ReLUNetwork | None, rng: np.random.Generator) -> State:
        """Return the first state, at ``network`` or where the method itself would start."""
        ...

    def step(self, problem: Problem, state: State) -> State:
        """Return the next state, with one pass over the rows."""
        ...
