"""Fits by other losses than the squared one: weighted least squares, again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anmin.history import Record
from anmin.losses import Loss
from anmin.network import ReLUNetwork
from anmin.objective import penalty
from anmin.search.initialisation import rows_are_few, starting_weights
from anmin.solvers.hybrid import Hybrid
from anmin.solvers.levenberg_marquardt import LevenbergMarquardt, VarProState
from anmin.solvers.matrix_free import MatrixFree
from anmin.solvers.problem import Problem, State
from anmin.solvers.varpro import VarPro
from anmin.statistics import OutputStatistics

_MOST_CURVATURE = 4.0**10
_LEAST_WIDTH = 1e-4
#: Where the rows are few, as many more would only amplify rounding.
FEW_STEPS = 12
_SLOW = 1e-3  # relative decrease of the loss below which kinks are rounded less


@dataclass(frozen=True, eq=False)
class Activity:
    """What is kept of the sums of a quadratic once a step is taken, as :class:`anmin.solvers.problem.PatternSums`.

    Attributes
    ----------
    active : ndarray of shape (h,), integer
    flips : int
        As in :class:`anmin.statistics.PatternStatistics`.
    sums : OutputStatistics
        Those of the quadratic at the hidden weights of the network.
    """

    active: NDArray
    flips: int
    sums: OutputStatistics

    def output(self, A: NDArray) -> OutputStatistics:
        """Return the sums at the network."""
        return self.sums

    def of_neurons(self, index: NDArray) -> Activity:
        """Return what is known of the neurons of these numbers alone."""
        sums = self.sums
        some = replace(sums, gram=sums.gram[np.ix_(index, index)], sums=sums.sums[index], cross=sums.cross[index])
        return Activity(self.active[index], 0, some)


@dataclass(frozen=True, eq=False)
class ReweightedState(State):
    """Where a :class:`Reweighted` stands.

    Attributes
    ----------
    damping : float
        Of the next step of the solver inside.
    curvature : float
        Factor of the curvatures of the quadratics, at least 1.
    left : int or None
        Steps that are left where the rows are few.
    width : float
        Of the mean absolute error, by which kinks are rounded.
    """

    damping: float
    curvature: float = 1.0
    width: float = 0.1
    left: int | None = None


@dataclass(frozen=True)
class Reweighted:
    """A local solver of least squares that lowers another loss (:mod:`anmin.losses`), that of the problem.

    In each iteration every row's loss is replaced by a quadratic at the present predictions. That is a weighted
    least-squares problem, with penalty 2·alpha·n/Σv for the weights v: its output layer is solved for, the solver
    inside takes one step, and the new network is taken if the loss itself has fallen. If not, the curvatures are
    multiplied by four, after enough of which there is nothing left but a short step down the gradient; so the loss
    falls in every iteration, and where no curvature lowers it, it has converged. Where the rows are few
    (:func:`anmin.search.initialisation.rows_are_few`), it takes some steps and no more.

    Parameters
    ----------
    inner : VarPro or MatrixFree

    References
    ----------
    Hunter & Lange, A tutorial on MM algorithms, 2004. Böhning, Multinomial logistic regression algorithm, 1992.
    """

    inner: LevenbergMarquardt

    default_max_iter = None

    def check(self, problem: Problem) -> None:
        """Raise ValueError if the problem has no loss of its own."""
        if problem.loss is None:
            raise ValueError("Reweighted lowers a loss other than the squared one; the problem names none.")

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return the bytes of the solver inside, with the predictions, weights and targets of a quadratic."""
        return self.inner.required_bytes(n_features, n_neurons, n_outputs, n_rows) + 64 * n_rows * (n_outputs + 1)

    def init(self, problem: Problem, network: ReLUNetwork | None, rng: np.random.Generator) -> ReweightedState:
        """Return the state at ``network``, or at the best constant with hyperplanes through the data."""
        assert problem.loss is not None
        network = starting_network(problem, rng) if network is None else network
        surrogate = surrogate_of(problem, problem.loss, network)
        begun = self.inner.begin(surrogate, network.A)
        left = FEW_STEPS if rows_are_few(problem) else None
        state = ReweightedState(**_public(begun), damping=self.inner.damping, left=left)
        state = _shown(problem, network, begun, state)
        return _shown(problem, begun.network, begun, state) if self._lowers(problem, begun, state) else state

    def step(self, problem: Problem, state: State) -> ReweightedState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, ReweightedState)
        assert problem.loss is not None
        curvature, width = state.curvature, state.width
        while state.left != 0 and curvature <= _MOST_CURVATURE:
            surrogate = surrogate_of(problem, problem.loss, state.network, curvature, width)
            begun = replace(self.inner.begin(surrogate, state.network.A), damping=state.damping)
            taken = self.inner.step(surrogate, begun)
            for found in (taken, begun):
                if self._lowers(problem, found, state):
                    return self._taken(problem, found, state, curvature, width)
            curvature, width = 4 * curvature, max(width / 4, _LEAST_WIDTH)
        record = replace(state.record, pattern_changes=0, branch="settled")
        return replace(state, record=record, settled=True)

    def _lowers(self, problem: Problem, found: VarProState, state: State) -> bool:
        return bool(loss_of(problem, found.network) < state.loss)

    def _taken(
        self, problem: Problem, found: VarProState, state: ReweightedState, curvature: float, width: float
    ) -> ReweightedState:
        assert problem.loss is not None
        after = replace(state, damping=found.damping, curvature=max(1.0, curvature / 2), width=width, settled=None)
        after = _shown(problem, found.network, found, after)
        if problem.loss.kinked and state.loss - after.loss < _SLOW * state.loss and width > _LEAST_WIDTH:
            after = replace(after, width=max(width / 4, _LEAST_WIDTH), settled=False)
        return after if after.left is None else replace(after, left=after.left - 1)


def local_solver(problem: Problem) -> LevenbergMarquardt:
    """Return what steps a problem is best solved by: dense ones, or those without matrices where these are cheaper."""
    return MatrixFree(damping=0.1) if Hybrid().cheaper_without_matrix(problem) else VarPro()


def starting_network(problem: Problem, rng: np.random.Generator) -> ReLUNetwork:
    """Return the best constant, with hyperplanes through the data."""
    rows = problem.rows
    assert problem.loss is not None
    A = starting_weights(problem, rng)
    A = A / np.maximum(np.linalg.norm(A, axis=0), np.finfo(np.float64).tiny)
    constant = problem.loss.constant(rows.Y, np.ones(rows.n_rows) if rows.w is None else rows.w)
    return ReLUNetwork(A, np.zeros((A.shape[1], rows.n_outputs)), constant, problem.negative_slope)


def surrogate_of(
    problem: Problem, loss: Loss, network: ReLUNetwork, curvature: float = 1.0, width: float = 0.1
) -> Problem:
    """Return the weighted least-squares problem that stands for a loss near a network.

    Kinks are rounded by ``width`` times the mean absolute error.
    Its loss, times Σv/2 and with a constant added, is n times that of the quadratics at the penalty ``problem.alpha``.
    """
    F = network.predict(problem.rows.X)
    g, h = loss.quadratic(F, problem.rows.Y, width * _mean_error(problem, F))
    return _weighted(problem, F - g / (curvature * h)[:, None], curvature * h)


def informed(problem: Problem, loss: Loss, network: ReLUNetwork, width: float = 0.1) -> Problem:
    """Return a least-squares problem whose Gauss–Newton matrix, times Σv/2, is nearest to that of the loss.

    A row's curvature in all directions is the mean of its eigenvalues, where a step needs the largest
    (:func:`surrogate_of`). Its targets mean nothing.
    """
    F = network.predict(problem.rows.X)
    h = loss.information(F, problem.rows.Y, width * _mean_error(problem, F))
    return _weighted(problem, F, np.maximum(h, np.finfo(np.float64).eps * h.max()))


def _mean_error(problem: Problem, F: NDArray) -> float:
    return float(np.average(np.abs(problem.rows.Y - F).mean(axis=1), weights=problem.rows.w))


def _weighted(problem: Problem, Y: NDArray, v: NDArray) -> Problem:
    """Return the problem with other targets, and weights multiplied by v (N,), at the same penalty of the sum."""
    rows = problem.rows
    v = v if rows.w is None else v * rows.w
    return replace(problem, rows=rows.reweighted(Y, v), alpha=2 * problem.alpha * rows.n / float(v.sum()), loss=None)


def loss_of(problem: Problem, network: ReLUNetwork) -> float:
    """Return the loss of a network on the rows of a problem, with the penalty; infinity where it overflows."""
    assert problem.loss is not None
    rows = problem.rows
    values = problem.loss.values(network.predict(rows.X), rows.Y)
    total = float(values.sum() if rows.w is None else rows.w @ values) / rows.n
    total += problem.alpha * penalty(network.A, network.B, network.b0)
    return total if np.isfinite(total) else np.inf


def _shown(problem: Problem, network: ReLUNetwork, found: VarProState, state: ReweightedState) -> ReweightedState:
    """Return the state at a network, with its loss and error; pattern and damping are as found by a step."""
    assert problem.loss is not None
    rows = problem.rows
    errors: NDArray = np.average((problem.loss.mean(network.predict(rows.X)) - rows.Y) ** 2, axis=0, weights=rows.w)
    mse = float(np.mean(errors if problem.y_scale is None else errors * problem.y_scale**2))
    of_step = found.record
    record = Record(
        loss=loss_of(problem, network),
        mse=mse,
        pattern_changes=found.statistics.flips,
        dead_neurons=int(np.count_nonzero(found.statistics.active == 0)),
        damping=of_step.damping,
        products=of_step.products,
        optimality=of_step.optimality,
        branch="step",
        n_rows=rows.n_rows,
    )
    output = replace(found.statistics.output(network.A), pattern=None)
    seen = Activity(found.statistics.active, found.statistics.flips, output)
    return replace(state, network=network, statistics=seen, loss=record.loss, record=record)


def _public(begun: VarProState) -> dict:
    return {"network": begun.network, "statistics": begun.statistics, "loss": begun.loss, "record": begun.record}
