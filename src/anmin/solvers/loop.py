"""The one loop: iteration, stopping, the best iterate, time limits, callbacks and history for every solver."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from anmin.blas import threads_for
from anmin.history import History, Record, Status
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.rows.parts import RowsLostError
from anmin.solvers.memory import check_memory
from anmin.solvers.problem import TOO_LARGE, Problem, Solver, State
from anmin.statistics import OutputStatistics

Callback = Callable[[Record, ReLUNetwork], bool | None]


@dataclass(frozen=True, eq=False)
class Solution:
    """The outcome of a solve.

    Attributes
    ----------
    network : ReLUNetwork
        The best iterate: of least loss, or of least squared error on the validation rows where there are any.
    loss : float
        Its loss.
    status : Status
        How the solve ended.
    history : History
        One record for each iterate, the starting one first.
    best : int
        Iteration of the best iterate.
    sums : OutputStatistics
        The output-layer sums of all rows at its hidden layer.
    """

    network: ReLUNetwork
    loss: float
    status: Status
    history: History
    best: int
    sums: OutputStatistics

    @property
    def n_iter(self) -> int:
        """Number of iterations run."""
        return len(self.history) - 1

    @property
    def score(self) -> float:
        """What the best iterate was chosen by: the squared error on validation rows if there are any, else the loss."""
        record = self.history[self.best]
        return record.loss if np.isnan(record.validation_mse) else record.validation_mse

    def followed_by(self, later: Solution, *, other_rows: bool = False) -> Solution:
        """Return the solution of a solve that went on from this one: its network, with the history of both.

        Its first record is the last one here, and left out, unless it is of ``other_rows``.
        """
        records = later.history[:] if other_rows else later.history[1:]
        shift = self.n_iter + other_rows
        records = tuple(replace(record, iteration=record.iteration + shift) for record in records)
        return replace(later, history=History((*self.history, *records)), best=later.best + shift)

    def with_status(self, status: Status) -> Solution:
        """Return this solution with another account of how it ended."""
        return replace(self, status=status)


def solve(
    problem: Problem,
    solver: Solver,
    *,
    start: ReLUNetwork | None = None,
    max_iter: int | None = None,
    tol: float = 1e-6,
    max_time: float | None = None,
    validation: ArrayRows | None = None,
    callbacks: Sequence[Callback] = (),
    rng: np.random.Generator | None = None,
    begun: float | None = None,
) -> Solution:
    """Run a solver on a problem.

    Parameters
    ----------
    problem : Problem
    solver : Solver
        Settings of a method, such as ``Anmin()``.
    start : ReLUNetwork, optional
        Network to start from, in the problem's coordinates; by default the method's own start.
    max_iter : int, optional
        Largest number of iterations; by default the number that the method prescribes, if it prescribes one.
    tol : float, default 1e-6
        Converged when the loss changes by at most ``tol`` times itself between two iterates.
    max_time : float, optional
        Seconds after which no further iteration begins.
    validation : ArrayRows, optional
        Held-out rows, in the problem's coordinates, to choose the best iterate by.
    callbacks : sequence of callables
        Each is called as ``callback(record, network)`` after every iterate, in the problem's coordinates; a true
        result stops the solve.
    rng : numpy.random.Generator, optional
        Source of the random start.
    begun : float, optional
        Reading of ``time.perf_counter()`` from which ``max_time`` and the seconds of the records count; by default now.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        Before any work, if the solver cannot solve such a problem or the machine lacks the memory.
    KeyboardInterrupt
        Only if interrupted before there is a first network; afterwards an interrupt ends the solve with the best one.
    """
    check_solvable(problem, solver)
    with threads_for((problem.rows.n_features + 1) * problem.n_neurons):
        clock = time.perf_counter() if begun is None else begun
        return _run(problem, solver, start, max_iter, tol, max_time, validation, callbacks, rng, clock)


def check_solvable(problem: Problem, solver: Solver) -> None:
    """Raise ValueError, before any work, if the solver cannot solve such a problem or the machine lacks the memory."""
    rows = problem.rows
    solver.check(problem)
    held = rows.n_rows if rows.in_memory else 0
    required = solver.required_bytes(rows.n_features, problem.n_neurons, rows.n_outputs, held)
    check_memory(required, problem.n_neurons, rows.n_features)


def check_start(state: State) -> None:
    """Raise ValueError if the loss of a starting network is not finite."""
    if not np.isfinite(state.loss):
        raise ValueError(TOO_LARGE)


def _run(
    problem: Problem,
    solver: Solver,
    start: ReLUNetwork | None,
    max_iter: int | None,
    tol: float,
    max_time: float | None,
    validation: ArrayRows | None,
    callbacks: Sequence[Callback],
    rng: np.random.Generator | None,
    started: float,
) -> Solution:

    def measured(state: State, iteration: int) -> State:
        record = replace(state.record, iteration=iteration, seconds=time.perf_counter() - started)
        if validation is not None and np.isfinite(state.loss):
            network = state.network
            output = validation.output_statistics(network.A, network.negative_slope)
            record = replace(record, validation_mse=problem.mse(output, network))
        return replace(state, record=record)

    def score(state: State) -> float:
        return state.loss if validation is None else state.record.validation_mse

    state = measured(solver.init(problem, start, rng or np.random.default_rng()), 0)
    check_start(state)
    best, records = state, [state.record]
    limit = solver.default_max_iter if max_iter is None else max_iter
    status = Status.SCHEDULE_DONE if max_iter is None else Status.MAX_ITER
    try:
        stopped = _call(callbacks, state)
        for iteration in count(1) if limit is None else range(1, limit + 1):
            if stopped:
                status = Status.STOPPED
                break
            if max_time is not None and time.perf_counter() - started >= max_time:
                status = Status.MAX_TIME
                break
            previous = state
            state = measured(solver.step(problem, state), iteration)
            if not np.isfinite(state.loss):
                status = Status.NOT_FINITE
                break
            records.append(state.record)
            if score(state) < score(best):
                best = state
            stopped = _call(callbacks, state)
            settled = abs(previous.loss - state.loss) <= tol * abs(state.loss)
            if settled if state.settled is None else state.settled:
                status = Status.CONVERGED
                break
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    except RowsLostError as error:
        warnings.warn(str(error), ConvergenceWarning, stacklevel=2)
        status = Status.ROWS_LOST
    sums = replace(best.statistics.output(best.network.A), pattern=None)
    return Solution(best.network, best.loss, status, History(tuple(records)), best.record.iteration, sums)


def _call(callbacks: Sequence[Callback], state: State) -> bool:
    # All are called, also after one has asked to stop: each sees every iterate.
    answers = [callback(state.record, state.network) for callback in callbacks]
    return any(answers)
