"""The one loop: iteration, stopping, the best iterate, time limits, callbacks and history for every solver."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from anmin.blas import threads_for
from anmin.history import History, Record, Status
from anmin.memory import check_memory
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.rows.parts import RowsLostError
from anmin.solvers.problem import TOO_LARGE, PatternSums, Problem, Solver, State
from anmin.statistics import OutputStatistics

Callback = Callable[[Record, ReLUNetwork], bool | None]
_OVER = {Status.CONVERGED, Status.HELD_OUT, Status.NOT_FINITE}  # whatever limits another run may have
#: Iterations without a lower error on held-out rows that end a solve, at least; more if the least took more to find.
PATIENCE = 200


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


class Iterate(NamedTuple):
    """What is kept of an iterate as long as it is the best; its sums are of its pattern, or of its output layer."""

    network: ReLUNetwork
    loss: float
    record: Record
    statistics: PatternSums | OutputStatistics

    def solution(self, status: Status, history: History) -> Solution:
        """Return the solution of a solve of which it is the best iterate."""
        found = self.statistics
        sums = found if isinstance(found, OutputStatistics) else replace(found.output(self.network.A), pattern=None)
        return Solution(self.network, self.loss, status, history, self.record.iteration, sums)


class _Standing(NamedTuple):
    """The number of the iteration done last, where it left the solver, the best iterate, and whether it has settled."""

    iteration: int
    state: State
    best: Iterate
    settled: bool = False


class Progress(NamedTuple):
    """How far a solve has come: all that it needs to go on as if it had never stopped.

    Attributes
    ----------
    state : State or None
        Where the solver stands; None once the solve is over for good.
    solution : Solution
        What the solve would return if it ended here.
    generator : dict or None
        State of the bit generator of ``rng``, from which later solves draw.
    """

    state: State | None
    solution: Solution
    generator: dict[str, Any] | None


class Keeper(Protocol):
    """What keeps the progress of a solve, so that another process can go on with it (:mod:`anmin.checkpoint`)."""

    @property
    def is_due(self) -> bool:
        """Whether progress should be kept again."""
        ...

    def begin(self, stage: str, problem: Problem, solver: Solver) -> Progress | None:
        """Begin the solve of this name, or return how far it had come; the one before it is over for good."""
        ...

    def keep(self, progress: Progress) -> None:
        """Keep the progress of the solve begun last."""
        ...


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
    checkpoint: Keeper | None = None,
    stage: str = "solve",
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
        Held-out rows, in the problem's coordinates, to choose the best iterate by. The solve ends where their error
        has not fallen for ``PATIENCE``, 200, iterations, and for as many as it took to fall to its least.
    callbacks : sequence of callables
        Each is called as ``callback(record, network)`` after every iterate, in the problem's coordinates; a true
        result stops the solve.
    rng : numpy.random.Generator, optional
        Source of the random start.
    begun : float, optional
        Reading of ``time.perf_counter()`` from which ``max_time`` and the seconds of the records count; by default now.
    checkpoint : Keeper, optional
        Where progress is kept, and found: then the solve goes on from there, and the callbacks are called with the
        iterate that it goes on from. A solve that converged is not begun again.
    stage : str
        Name of this solve in the checkpoint.

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
        return _run(
            problem, solver, start, max_iter, tol, max_time, validation, callbacks, rng, clock, checkpoint, stage
        )


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
    checkpoint: Keeper | None,
    stage: str,
) -> Solution:

    def measured(state: State, iteration: int) -> State:
        record = replace(state.record, iteration=iteration, seconds=time.perf_counter() - started)
        if validation is not None and np.isfinite(state.loss):
            record = replace(record, validation_mse=problem.held_out_error(validation, state.network))
        return replace(state, record=record)

    def score(iterate: State | Iterate) -> float:
        return iterate.loss if validation is None else iterate.record.validation_mse

    def reached(status: Status) -> Progress:
        history = History(tuple(records[: at.iteration + 1]))
        return Progress(
            at.state, at.best.solution(status, history), None if rng is None else dict(rng.bit_generator.state)
        )

    stored = None if checkpoint is None else checkpoint.begin(stage, problem, solver)
    if stored is None:
        state = measured(solver.init(problem, start, rng or np.random.default_rng()), 0)
        check_start(state)
        records = [state.record]
        at = _Standing(0, state, _iterate(state))
    else:
        if rng is not None and stored.generator is not None:
            rng.bit_generator.state = stored.generator
        if stored.state is None or stored.solution.status in _OVER:
            return stored.solution
        found = stored.solution
        records = list(found.history)
        at = _Standing(found.n_iter, stored.state, Iterate(found.network, found.loss, records[found.best], found.sums))
    limit = solver.default_max_iter if max_iter is None else max_iter
    status = Status.SCHEDULE_DONE if max_iter is None else Status.MAX_ITER
    following = at.iteration + 1
    try:
        stopped = _call(callbacks, at.state)
        for iteration in count(following) if limit is None else range(following, limit + 1):
            if stopped:
                status = Status.STOPPED
                break
            if max_time is not None and time.perf_counter() - started >= max_time:
                status = Status.MAX_TIME
                break
            before = at.state
            state = measured(solver.step(problem, before), iteration)
            if not np.isfinite(state.loss):
                status = Status.NOT_FINITE
                break
            records.append(state.record)
            # All at once, so that an interrupt leaves what belongs together.
            settled = abs(before.loss - state.loss) <= tol * abs(state.loss)
            at = _Standing(
                iteration,
                state,
                _iterate(state) if score(state) < score(at.best) else at.best,
                settled if state.settled is None else state.settled,
            )
            stopped = _call(callbacks, state)
            if at.settled:
                status = Status.CONVERGED
                break
            least = at.best.record.iteration
            if validation is not None and iteration - least > max(PATIENCE, least):
                status = Status.HELD_OUT
                break
            if checkpoint is not None and checkpoint.is_due:
                checkpoint.keep(reached(Status.INTERRUPTED))
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    except RowsLostError as error:
        warnings.warn(str(error), ConvergenceWarning, stacklevel=2)
        status = Status.ROWS_LOST
    if checkpoint is not None:
        try:
            # An interrupt of the last iteration leaves nothing to go on with.
            checkpoint.keep(reached(Status.CONVERGED if at.settled else status))
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
    return reached(status).solution


def _iterate(state: State) -> Iterate:
    return Iterate(state.network, state.loss, state.record, state.statistics)


def _call(callbacks: Sequence[Callback], state: State) -> bool:
    # All are called, also after one has asked to stop: each sees every iterate.
    answers = [callback(state.record, state.network) for callback in callbacks]
    return any(answers)
