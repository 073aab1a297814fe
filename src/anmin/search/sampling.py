"""Fits to rows that are too many to hold: most iterations on a sample, the last ones on all of them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from anmin.history import Record, Status
from anmin.network import ReLUNetwork
from anmin.rows.parts import RowsInParts, RowsLostError
from anmin.search.recombination import Recombining
from anmin.solvers.levenberg_marquardt import GIVEN_UP
from anmin.solvers.loop import Solution, check_solvable, solve
from anmin.solvers.problem import Problem, Solver
from anmin.solvers.varpro import VarPro

#: Most visits to all rows in a fit, the first look included.
MOST_PASSES = 15
_TRIALS = 3  # of one step
_SETTLED = 1e-5  # relative decrease of the loss on all rows that ends the fit: the sample has told all else


def sampled(problem: Problem) -> Problem:
    """Return the problem on the sample of its rows that is held; one with rows in memory is returned itself."""
    return replace(problem, rows=problem.rows.sample()) if isinstance(problem.rows, RowsInParts) else problem


def final_solver(solver: Solver) -> Solver:
    """Return what the last iterations, on all rows, are done by: steps with the matrix, each tried a few times."""
    return VarPro(damping=1e-3, most_trials=_TRIALS) if isinstance(solver, Recombining) else solver


def fitted_to_all(
    problem: Problem,
    solver: Solver,
    solution: Solution,
    tol: float,
    *,
    previous: ReLUNetwork | None = None,
    **conditions: Any,
) -> Solution:
    """Return what comes of a network that was fitted to a sample, when it is fitted to all rows.

    From the sample's network on, the steps of :func:`final_solver` visit all rows, once for each trial, until the loss
    settles or the rows have been visited :data:`MOST_PASSES` times. The loss and the network are those of all rows, and
    no step raises the loss. Where the first part of the fit was stopped, one visit finds out its loss.

    Parameters
    ----------
    problem : Problem
        With all rows.
    solver : Solver
        What the sample was fitted by.
    solution : Solution
        What came of it.
    tol : float
    previous : ReLUNetwork, optional
        What a former fit came to. If its loss on all rows is less than that of the sample's network, which takes two
        visits to see, the steps begin there, so that going on from a fit never raises the loss.
    **conditions
        As for :func:`anmin.solvers.solve`.

    Returns
    -------
    Solution
        With the history of both parts; that of the first is of the sample (``n_rows`` says how large it was). If the
        rows cannot be read to the end, the best network until then, and :attr:`Status.ROWS_LOST`.
    """
    rows = problem.rows
    assert isinstance(rows, RowsInParts)
    stopped = solution.status in (Status.INTERRUPTED, Status.STOPPED, Status.MAX_TIME, Status.MAX_ITER)
    earlier = rows.passes - 1  # by other fits to these rows; the first look is every fit's

    def visited_enough(record: Record, network: ReLUNetwork) -> bool:
        return rows.passes - earlier > MOST_PASSES - _TRIALS

    callbacks = [*conditions.pop("callbacks", ()), visited_enough]
    if stopped:
        # One visit is soon made again, and a checkpoint is to go on with the first part.
        conditions |= {"max_time": 0.0, "checkpoint": None}
    conditions.pop("max_iter", None)
    conditions.pop("validation", None)
    try:
        start = solution.network
        if previous is not None and (not stopped or solution.status is Status.MAX_ITER):
            start = _lower(problem, final_solver(solver), start, previous)
        last = solve(
            problem,
            final_solver(solver),
            start=start,
            tol=max(tol, _SETTLED),
            callbacks=callbacks,
            stage="all rows",
            **conditions,
        )
    except KeyboardInterrupt:
        return solution.with_status(Status.INTERRUPTED)
    except RowsLostError as error:
        warnings.warn(str(error), ConvergenceWarning, stacklevel=2)
        return solution.with_status(Status.ROWS_LOST)
    if stopped and last.status is not Status.INTERRUPTED:
        last = last.with_status(solution.status)
    elif last.history[-1].branch == GIVEN_UP or (
        last.status is Status.STOPPED and rows.passes - earlier > MOST_PASSES - _TRIALS
    ):
        last = last.with_status(Status.VISITS_DONE)
    return solution.followed_by(last, other_rows=True)


def _lower(problem: Problem, solver: Solver, *networks: ReLUNetwork) -> ReLUNetwork:
    """Return the network of the least loss on all rows."""
    losses = [solver.init(problem, network, np.random.default_rng(0)).loss for network in networks]
    return networks[int(np.argmin(losses))]


def check_final(problem: Problem, solver: Solver) -> None:
    """Raise ValueError, before any work, if the machine lacks the memory for the last iterations."""
    check_solvable(problem, final_solver(solver))
